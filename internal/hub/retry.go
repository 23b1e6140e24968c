package hub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"waitroom/internal/room"
)

// failed counts a call to the line without an answer, and logs what becomes of it;
// nil is a call that was answered. Every call of this package goes through here, so
// no cause is swallowed.
func (h *Hub) failed(ctx context.Context, call string, err error) {
	switch {
	case room.Retryable(err):
		h.metrics.line.WithLabelValues(call).Inc()
		h.away.Note(ctx, err)
	case room.Fault(err):
		h.metrics.line.WithLabelValues(call).Inc()
		h.faults.Note(ctx, fmt.Errorf("%s: %w", call, err))
	default: // an answer
		h.away.Note(ctx, nil)
	}
}

// outcome is what a visitor hears of an error: of a fault, which the log names, that
// the line is away; it asks again by itself.
func outcome(err error) error {
	if room.Fault(err) || errors.Is(err, context.Canceled) {
		return room.ErrAway
	}
	return err
}

// patiently tries an act that may be repeated until the line answers or the
// visitor's patience is over; repeated tells that an earlier try may have taken
// effect. What the line did not answer is ErrAway; a fault is not tried again.
func patiently[T any](ctx context.Context, r *roomHub, act string, try func(context.Context) (T, error)) (answer T, repeated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 400*time.Millisecond) {
		one, done := context.WithTimeout(ctx, readLimit)
		answer, err = try(one)
		done()
		r.hub.failed(ctx, act, err)
		if !room.Retryable(err) {
			return answer, repeated, outcome(err)
		}
		repeated = true
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return answer, repeated, room.ErrAway
		}
	}
}
