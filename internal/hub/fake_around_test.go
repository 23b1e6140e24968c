package hub

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"waitroom/internal/room"
)

// What stands around the fake line in a story: each changes one thing of it.

// slowStands holds back the first answer to a look-up.
type slowStands struct {
	*fakeLine
	once   sync.Once
	ask    chan struct{} // closed when the first look-up has its answer
	answer chan struct{} // the test closes it to let that through
}

func (s *slowStands) Stands(ctx context.Context, name room.Name, places []room.Place) ([]room.Stand, error) {
	stands, err := s.fakeLine.Stands(ctx, name, places)
	s.once.Do(func() {
		close(s.ask)
		<-s.answer
	})
	return stands, err
}

// slowStones takes its time to find a tombstone.
type slowStones struct{ *fakeLine }

func (s slowStones) Deleted(ctx context.Context, name room.Name) (bool, error) {
	time.Sleep(PositionTick / 2)
	return s.fakeLine.Deleted(ctx, name)
}

// registryLine is the fake with what Recreate does to a registry: it lists the room, unless
// that was deleted.
type registryLine struct{ *fakeLine }

func (l registryLine) Recreate(ctx context.Context, name room.Name, by room.Caller, saved room.Saved) error {
	if err := l.fakeLine.Recreate(ctx, name, by, saved); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deleted {
		return room.ErrDeleted
	}
	l.unlisted = false
	return nil
}

// deafToRecreate answers no Recreate.
type deafToRecreate struct{ *fakeLine }

func (l deafToRecreate) Recreate(ctx context.Context, name room.Name, by room.Caller, saved room.Saved) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.call("recreate"), errNet)
}

// eventLine is a line with an event, of its first epoch.
type eventLine struct {
	registryLine
	event room.Event
}

func (l eventLine) EventRevs(_ context.Context, names []room.Name) (map[room.Name]room.EventRev, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.whole {
		return nil, nil
	}
	revs := map[room.Name]room.EventRev{}
	for _, name := range names {
		rev := room.EventRev{Epoch: l.conf.Epoch}
		if l.conf.Epoch == "aaaaaaaa" {
			rev.Rev = l.event.Rev
		}
		revs[name] = rev
	}
	return revs, nil
}

func (l eventLine) Event(context.Context, room.Name) (room.Event, error) { return l.event, nil }

// lossLine is a line with the count of its losses in its pulse.
type lossLine struct {
	followed
	losses *atomic.Int64
}

func (l lossLine) Pulses(ctx context.Context, names []room.Name) ([]room.Pulse, []error) {
	pulses, errs := l.followed.Pulses(ctx, names)
	for i := range pulses {
		pulses[i].Losses = l.losses.Load()
	}
	return pulses, errs
}
