package admission

import (
	"context"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

// lifeEvery is how often the line is asked how its recovery goes, while it recovers.
const lifeEvery = time.Second

// losses tells what a line lost, since when, how many are back, and when admission goes
// on: in the log at the begin and at the end, in the metrics meanwhile. Owned by the
// goroutine of the rounds.
type losses struct {
	name    room.Name
	log     *zap.Logger
	metrics *metrics

	known     bool // seen is a number that the line told
	seen      int64
	recovers  bool
	lookedAt  time.Time
	announced bool // the log says that it began
}

// due says that the line's life has to be read: it noticed another loss, or recovers
// from one. What happened before this process looked is told too, if it is not over.
func (l *losses) due(round room.Round, now time.Time) bool {
	return !l.known || round.Losses != l.seen || l.recovers && now.Sub(l.lookedAt) >= lifeEvery
}

// note takes the line's life as it was read at a moment.
func (l *losses) note(life room.Life, at time.Time) {
	now := time.Now()
	held := max(0, life.HoldUntil.Sub(at))
	if life.HoldUntil.IsZero() {
		held = 0
	}
	recovers, fresh := life.Asking || held > 0, l.known && life.Fences != l.seen
	name := string(l.name)
	l.metrics.losses.WithLabelValues(name).Set(float64(life.Fences))
	lost := 0.0
	if !life.LostAt.IsZero() {
		lost = float64(life.LostAt.UnixMilli()) / 1000
	}
	l.metrics.lostAt.WithLabelValues(name).Set(lost)
	l.metrics.unknown.WithLabelValues(name).Set(float64(life.Lost))
	l.metrics.returned.WithLabelValues(name).Set(float64(life.Restored))
	l.metrics.heldFor.WithLabelValues(name).Set(held.Seconds())

	fields := []zap.Field{zap.Time("since", life.LostAt), zap.Int64("unknown", life.Lost), zap.Int64("back", life.Restored)}
	switch {
	case recovers && life.Lost > 0 && (!l.announced || fresh):
		l.announced = true
		l.log.Warn("the line lost writes: places are being brought back, and admission goes on behind them later",
			append(fields, zap.Time("goes_on", life.HoldUntil))...)
	case !recovers && l.announced:
		l.announced = false
		l.log.Info("places are back: admission goes on for everybody", append(fields, zap.Duration("lasted", at.Sub(life.LostAt)))...)
	case !recovers && (fresh || l.recovers) && life.Lost == 0:
		l.log.Info("redis had begun anew and the line lost nothing", fields[0])
	}
	l.known, l.seen, l.recovers, l.lookedAt = true, life.Fences, recovers, now
}

// recovery reads how a recovery goes, when there is one. A read that fails is made again.
func (r *rounds) recovery(ctx context.Context, round room.Round) {
	// A line that lost writes, or counts from the start, may have been brought back by a
	// process that did not know its event.
	fresh := r.losses.known && round.Losses != r.losses.seen || round.Total < r.total
	r.owes = r.owes || fresh && r.event.Load() != nil
	if !r.losses.due(round, time.Now()) {
		return
	}
	if status, err := r.line.Status(ctx, r.name); err == nil {
		r.losses.note(status.Life, status.Now)
		if status.Conf.Epoch == r.saved.Epoch() && status.Conf.Rev == r.rev {
			r.saved.Life = status.Saved.Life
		}
	}
}
