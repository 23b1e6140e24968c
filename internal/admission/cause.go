package admission

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

// Why a room admits nobody, beside room's stops: what rounds find themselves.
const (
	causeAway       room.Stop = "away"       // Redis is out of reach
	causeRecovering room.Stop = "recovering" // the line knows less than we do
	causeUnknown    room.Stop = "unknown"    // deleted; the registry will say so
	causeError      room.Stop = "error"
)

// admitting stands for the stops of a room that is well: it waits for credit,
// or for somebody to come.
const admitting room.Stop = "admitting"

// hold is how long a new cause must last to be logged. A full shop frees a slot
// now and then, so its rounds stop for cap, rate and cap again: each is a
// change, none is news.
const hold = time.Second

// cause keeps why a room admits nobody: at once in the metrics, in the log once
// per change. Owned by the goroutine of its rounds.
type cause struct {
	name    room.Name
	log     *zap.Logger
	metrics *metrics

	metric room.Stop // the one whose gauge is 1; "" for none
	logged room.Stop
	now    room.Stop
	reason error
	since  time.Time
}

func newCause(name room.Name, log *zap.Logger, m *metrics) *cause {
	return &cause{name: name, log: log, metrics: m, logged: admitting, now: admitting}
}

// stopped notes why a round stopped.
func (c *cause) stopped(stop room.Stop) {
	c.metrics.rounds.WithLabelValues(string(c.name), string(stop)).Inc()
	switch stop {
	case room.StopRate, room.StopMore, room.StopEmpty:
		stop = admitting
	}
	c.note(stop, nil)
}

// failed notes that a round did not come about.
func (c *cause) failed(err error) {
	stop := causeError
	switch {
	case errors.Is(err, room.ErrAway), errors.Is(err, context.DeadlineExceeded):
		stop = causeAway
	case errors.Is(err, room.ErrRecovering):
		stop = causeRecovering
	case errors.Is(err, room.ErrUnknown), errors.Is(err, room.ErrEpoch):
		stop = causeUnknown
	}
	c.metrics.rounds.WithLabelValues(string(c.name), string(stop)).Inc()
	c.note(stop, err)
}

func (c *cause) note(stop room.Stop, reason error) {
	if stop != c.now {
		c.now, c.since = stop, time.Now()
	}
	c.reason = reason
	if c.metric != stop {
		if c.metric != "" {
			c.metrics.stopped.DeleteLabelValues(string(c.name), string(c.metric))
		}
		c.metric = ""
		if stop != admitting {
			c.metric = stop
			c.metrics.stopped.WithLabelValues(string(c.name), string(stop)).Set(1)
		}
	}
	if stop == c.logged || time.Since(c.since) < hold {
		return
	}
	before := c.logged
	c.logged = stop
	fields := []zap.Field{zap.String("cause", string(stop)), zap.String("before", string(before))}
	if c.reason != nil {
		fields = append(fields, zap.Error(c.reason))
	}
	switch stop {
	case admitting:
		c.log.Info("room admits again", fields...)
	case room.StopOutbox:
		c.log.Error("room admits nobody: the outbox is too deep, Kafka does not take admissions", fields...)
	case causeAway, causeRecovering, causeUnknown, causeError:
		c.log.Warn("room admits nobody", fields...)
	default:
		c.log.Info("room admits nobody", fields...)
	}
}
