package hub

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

const (
	// relistEvery is how long a room has been gone from the registry, or since the last try,
	// when it is listed again. An operator's delete unlists a room some milliseconds before
	// its tombstone is there.
	relistEvery = 5 * time.Second
	// maxRestores is how many rooms a node restores in a second, each with a logo of 32 KB
	// at most: a registry of 1,000 rooms is back in 15 s, by one node alone.
	maxRestores = 100
)

// restore tells the line what this node remembers of it: a line that is there changes by it
// only where it has lost something, and the registry lists it again. lost: the registry
// lost it. The directory's word on the registry calls it, so once a second at most; one call
// at a time. It reports whether there was something to tell.
func (r *roomHub) restore(lost bool) bool {
	saved, _ := r.remembers()
	by := r.view.caller()
	if saved.Conf == nil || saved.Epoch() != by.Epoch || !lost && saved.Event.Rev == 0 {
		r.eventDue.Store(false)
		return false
	}
	if !r.restoring.CompareAndSwap(false, true) {
		return false
	}
	r.hub.spawn(func() {
		defer r.restoring.Store(false)
		ctx, cancel := context.WithTimeout(r.ctx, readLimit)
		defer cancel()
		err := r.hub.line.Recreate(ctx, r.name, by, saved)
		r.hub.failed(ctx, "recreate", err)
		switch {
		case err == nil && lost:
			r.hub.log.Warn("the registry lost the room, which is listed again",
				zap.String("room", string(r.name)), zap.String("epoch", string(by.Epoch)))
		case room.Retryable(err), errors.Is(err, context.Canceled):
			return // it is told again
		}
		r.eventDue.Store(false)
	})
	return true
}
