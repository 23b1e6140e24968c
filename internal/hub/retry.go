package hub

import (
	"context"
	"errors"
	"time"

	"waitroom/internal/room"
)

// definite reports that the line answered: asking again would not help.
func definite(err error) bool {
	for _, known := range []error{room.ErrUnknown, room.ErrDeleted, room.ErrEpoch, room.ErrRecovering, room.ErrClosed, room.ErrSoldOut,
		room.ErrFull, room.ErrSpent, room.ErrActive, room.ErrMemory, room.ErrStaleBatch} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// patiently tries an act that may be repeated until the line answers or the
// visitor's patience is over; repeated tells that an earlier try may have taken
// effect. What the line did not answer is ErrAway.
func patiently[T any](ctx context.Context, r *roomHub, act string, try func(context.Context) (T, error)) (answer T, repeated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 400*time.Millisecond) {
		one, done := context.WithTimeout(ctx, readLimit)
		answer, err = try(one)
		done()
		if err == nil || definite(err) {
			return answer, repeated, err
		}
		r.hub.metrics.failed(act, err)
		repeated = true
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return answer, repeated, room.ErrAway
		}
	}
}
