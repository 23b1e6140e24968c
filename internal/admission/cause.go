package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

// admitting stands for the stops of a room that is well: it waits for credit,
// or for somebody to come.
const admitting room.Stop = "admitting"

// hold is how long a new cause must last to be logged. A full shop frees a slot
// now and then, so its rounds stop for cap, rate and cap again: each is a
// change, none is news.
const hold = time.Second

// lasting is a cause that counts once it has lasted hold.
type lasting struct {
	now, kept        room.Stop
	since, keptSince time.Time // when each began
}

// note takes what is so at the moment; changed says that it counts from now on.
func (l *lasting) note(stop room.Stop, at time.Time) (changed bool) {
	if stop != l.now {
		l.now, l.since = stop, at
	}
	if l.now == l.kept || at.Sub(l.since) < hold {
		return false
	}
	l.kept, l.keptSince = l.now, l.since
	return true
}

// cause keeps why a room admits nobody: at once in the metrics, in the log once
// per change, in the process's sign of life with its time. Owned by whoever
// holds the worker.
type cause struct {
	name    room.Name
	log     *zap.Logger
	metrics *metrics
	board   *board

	metric room.Stop // the one whose gauge is 1; "" for none
	logged lasting   // rate, more and empty are one: nobody stands still
	outage *outage.Log
}

func newCause(name room.Name, log *zap.Logger, m *metrics, b *board) *cause {
	return &cause{name: name, log: log, metrics: m, board: b, logged: lasting{now: admitting, kept: admitting},
		outage: outage.New(outage.Config{Log: log, Hold: hold, Down: "room admits nobody", Up: "rounds come about again"})}
}

// stopped notes a round and why it stopped.
func (c *cause) stopped(ctx context.Context, round room.Round) {
	c.metrics.rounds.WithLabelValues(string(c.name), string(round.Stop)).Inc()
	c.holds(ctx, round)
}

// holds notes that the line is still as a round found it.
func (c *cause) holds(ctx context.Context, round room.Round) {
	c.outage.Note(ctx, nil)
	stop := round.Stop
	c.board.round(round, time.Now())
	switch stop {
	case room.StopRate, room.StopMore, room.StopEmpty:
		stop = admitting
	}
	c.note(stop)
}

// failed notes that a round did not come about. The log is the outage's: it tells
// the cause, another one that follows, and rounds that fail now and then.
func (c *cause) failed(ctx context.Context, err error) {
	stop := room.StopError
	switch {
	case room.Retryable(err):
		stop = room.StopAway
	case errors.Is(err, room.ErrRecovering):
		stop = room.StopRecovering
	case errors.Is(err, room.ErrUnknown), errors.Is(err, room.ErrEpoch):
		stop = room.StopUnknown
	}
	c.board.failed(stop, err, time.Now())
	c.metrics.rounds.WithLabelValues(string(c.name), string(stop)).Inc()
	c.outage.Note(ctx, fmt.Errorf("%s: %w", stop, err))
	c.note(stop)
}

func (c *cause) note(stop room.Stop) {
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
	before := c.logged.kept
	if !c.logged.note(stop, time.Now()) {
		return
	}
	fields := []zap.Field{zap.String("cause", string(stop)), zap.String("before", string(before))}
	switch stop {
	case admitting:
		c.log.Info("room admits again", fields...)
	case room.StopOutbox:
		c.log.Error("room admits nobody: the outbox is too deep, Kafka does not take admissions", fields...)
	case room.StopAway, room.StopRecovering, room.StopUnknown, room.StopError: // logged by the outage
	default:
		c.log.Info("room admits nobody", fields...)
	}
}
