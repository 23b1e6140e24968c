package directory

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/room"
)

// sick is a fake with tombstones on a server that answers late, or never well.
type sick struct {
	*fake
	names map[room.Name]bool // set once
	slow  time.Duration
	err   error
}

func (s *sick) Deleted(ctx context.Context, name room.Name) (bool, error) {
	if !s.names[name] {
		return s.fake.Deleted(ctx, name)
	}
	s.do(func() { s.asked = append(s.asked, name) })
	select {
	case <-time.After(s.slow):
		return false, s.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// heard is what a follower was told of the registry: when, and why it could not be read.
type heard struct {
	mu   sync.Mutex
	at   []time.Time
	errs []error
}

func (h *heard) take() (at []time.Time, errs []error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, errs, h.at, h.errs = h.at, h.errs, nil, nil
	return at, errs
}

// followSick runs a directory over a sick line, in the test's bubble.
func followSick(t *testing.T, s *sick) (d *Directory, h *heard, logs *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	d, h = New(s, zap.New(core)), &heard{}
	d.Follow(func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.at, h.errs = append(h.at, time.Now()), append(h.errs, err)
	}, func(room.Name, time.Time, room.Pulse, error) {})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }() // ends below
	t.Cleanup(func() {
		cancel()
		<-done
	})
	pass(every / 10)
	return d, h, logs
}

// Tombstones that can't be read, because their server is dead or hangs, hold up nobody
// else's: followers hear of the registry each second, a room that was deleted beside them
// is known to be, and the log says what can't be read, once.
func TestTombstonesThatCannotBeRead(t *testing.T) {
	for _, slow := range []time.Duration{0, time.Hour} {
		t.Run(slow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sick{fake: newFake(), names: map[room.Name]bool{}, slow: slow, err: room.ErrAway}
				names := make([]room.Name, maxAsked+5) // more than are asked for in a second
				for i := range names {
					names[i] = room.Name("lost-" + string(rune('a'+i/10)) + string(rune('a'+i%10)))
					s.names[names[i]] = true
					s.create(names[i], room.Event{})
				}
				s.create("show", room.Event{})
				s.create("other", room.Event{})
				d, h, logs := followSick(t, s)
				pass(every)
				s.do(func() {
					for _, name := range names {
						delete(s.rooms, name)
					}
				})
				pass(3 * every)
				h.take()
				s.delete("show") // by an operator, on a server that is well
				pass(5 * every)
				if !d.Deleted("show") {
					t.Error("show was deleted 5 s ago, and nobody here knows")
				}
				at, errs := h.take()
				if len(at) < 4 {
					t.Errorf("followers heard of the registry %d times in 5 s, want it each second", len(at))
				}
				for _, err := range errs {
					if err != nil {
						t.Errorf("got %v, want no error: the registry can be read", err)
					}
				}
				if got := logs.TakeAll(); len(got) != 1 {
					t.Errorf("got %v, want one line about tombstones", got)
				}
			})
		})
	}
}

// A read of the registry that began before another never comes after it: what the later
// one has found stays found.
func TestAnOlderReadNeverComesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sick{fake: newFake()}
		s.create("show", room.Event{})
		d, h, _ := followSick(t, s)
		s.do(func() { s.block = 6 * every / 10 })
		pass(every) // the loop's own look is under way
		s.do(func() { s.block = 0 })
		pass(every / 4)
		s.create("young", room.Event{})
		h.take()
		if err := d.Lookup(t.Context(), "young"); err != nil {
			t.Errorf("got %v, want the room that was made since that look began", err)
		}
		for range 20 {
			pass(every / 20)
			if !d.Has("young") {
				t.Fatal("a room that was found is listed no more: an older read came last")
			}
		}
		if at, _ := h.take(); len(at) == 0 {
			t.Error("no follower was told of the registry in a second")
		}
	})
}
