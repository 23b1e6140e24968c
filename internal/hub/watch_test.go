package hub

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// Nobody who reads is ever left in silence for longer than was promised: not who
// waits, nor who was admitted, is inside, is over or never had a place, neither
// while the line moves nor while it hangs.
func TestSilenceIsBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1500)
		b.line.admit(4)
		b.pass(2 * TurnTick)
		for _, v := range sessions[:2] {
			if err := v.Claim(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		if err := sessions[5].Leave(b.Context()); err != nil {
			b.Fatal(err)
		}
		watcher := &fakeSink{}
		b.hub.Watch(show, watcher)
		sinks = append(sinks, watcher)
		for _, hangs := range []time.Duration{0, readLimit, 2 * readLimit, 0} {
			b.line.set(func() { b.line.hangs = hangs })
			b.pass(40 * time.Second)
		}
		end := time.Now()
		for i, s := range sinks {
			at := s.heard[0].At
			for _, m := range append(s.heard, message{At: end}) {
				if gap := m.At.Sub(at); gap > BeatMost {
					b.Fatalf("visitor %d: got a silence of %s before %q, want at most %s", i, gap, m.Type, BeatMost)
				}
				at = m.At
			}
		}
		if got := sinks[100].heard[0].BeatMS; got != BeatMost.Milliseconds() {
			b.Errorf("joined: got beat_ms %d, want %d", got, BeatMost.Milliseconds())
		}
		if got := watcher.heard[0].BeatMS; got != BeatMost.Milliseconds() {
			b.Errorf("who has no place: got beat_ms %d, want %d", got, BeatMost.Milliseconds())
		}
	})
}

// Who was refused hears how the room stands, and joins on the same connection
// once it opens.
func TestWhoWasRefusedHearsTheReopening(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, others := b.join(1)
		s := &fakeSink{}
		b.line.set(func() { b.line.conf.State, b.line.denied = room.Closed, room.ErrClosed })
		b.pass(2 * PositionTick)
		if v, err := b.hub.Join(b.Context(), show, s); v != nil || !errors.Is(err, room.ErrClosed) {
			b.Fatalf("got %v, %v, want closed", v, err)
		}
		v := b.hub.Watch(show, s)
		if !v.Placeless() || !v.Over() {
			b.Errorf("got placeless %v, over %v, want both: it has no place and may join", v.Placeless(), v.Over())
		}
		b.pass(30 * time.Second)
		heard := types(s.take())
		if len(heard) < 6 || len(heard) > 10 || slices.ContainsFunc(heard, func(h string) bool { return h != "room closed" }) {
			b.Errorf("got %v in 30 s, want closed with each beat", heard)
		}
		b.line.set(func() { b.line.conf.State, b.line.denied = room.Open, nil })
		b.pass(PositionTick + PositionTick/2)
		if got := types(s.take()); !slices.Equal(got, []string{"room open"}) {
			b.Errorf("got %v, want the reopening within a tick", got)
		}
		now, err := b.hub.Join(b.Context(), show, s)
		if err != nil {
			b.Fatal(err)
		}
		v.Detach(s)
		b.pass(PositionTick + PositionTick/2)
		if got := types(s.take()); !slices.Equal(got, []string{"room open", "position"}) {
			b.Errorf("got %v, want room and position of the new place", got)
		}
		now.Detach(s)
		for _, v := range []*fakeSink{others[0]} {
			b.hub.rooms[show].sessions[v.place()].Detach(v)
		}
		if !b.hub.empty(show) {
			b.Error("the room is kept awake by nobody")
		}
	})
}

// place is the visitor of the place that was given.
func (s *fakeSink) place() (v room.VisitorID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.heard {
		if m.Type == wire.Joined {
			var epoch string
			fmt.Sscan(m.Place, &epoch, &v)
		}
	}
	return v
}

// A line made anew ends places, not those who look on; a deleted room ends both.
func TestWhoLooksOnStaysUntilTheRoomIsGone(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(1)
		s := &fakeSink{}
		b.hub.Watch(show, s)
		b.pass(PositionTick)
		s.take()
		b.line.set(func() {
			b.line.conf.Epoch, b.line.seq, b.line.queue, b.line.gone = "bbbbbbbb", 0, nil, nil
		})
		b.pass(2 * PositionTick)
		if got := types(s.take()); slices.ContainsFunc(got, func(h string) bool { return h != "room open" }) {
			b.Errorf("got %v, want nothing but the room's state", got)
		}
		if got := types(sinks[0].take()); !slices.Contains(got, "error place_other_epoch") {
			b.Errorf("got %v, want that the place is of an older line", got)
		}
		b.line.set(func() { b.line.listed = false })
		b.pass(2 * PositionTick)
		if got := types(s.take()); !slices.Equal(got[max(0, len(got)-2):], []string{"error room_deleted", "close 4501"}) {
			b.Errorf("got %v, want room_deleted and its close code", got)
		}
		if v := b.hub.Watch(show, &fakeSink{}); v != nil {
			b.Errorf("got a watch of a deleted room")
		}
	})
}

// A second join on a connection is a return: once more what was told, one
// connection, one place.
func TestSecondJoinIsAReturn(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(2)
		b.pass(PositionTick + PositionTick/2)
		v, s := sessions[0], sinks[0]
		for _, step := range []struct {
			name string
			do   func()
			want []string
		}{
			{"waiting", func() {}, []string{"joined", "room open", "position"}},
			{"admitted", func() { b.line.admit(1); b.pass(2 * TurnTick); s.take() }, []string{"joined", "room open", "admitted"}},
			{"inside", func() { _ = v.Claim(b.Context()); s.take() }, []string{"joined", "room open", "pass"}},
		} {
			step.do()
			s.mu.Lock()
			s.heard = nil
			s.mu.Unlock()
			if again, err := v.Again(b.Context(), s); err != nil || again != v {
				b.Fatal(err)
			}
			b.pass(PositionTick)
			s.mu.Lock()
			got := types(s.heard)
			s.mu.Unlock()
			if !slices.Equal(got, step.want) {
				b.Errorf("%s: got %v, want %v", step.name, got, step.want)
			}
			if len(v.sinks) != 1 {
				b.Errorf("%s: got %d connections, want one", step.name, len(v.sinks))
			}
		}
	})
}

// Only a registry that lists something tells a stranger's name from a room that
// may have been lost.
func TestWhatARegistryCanTell(t *testing.T) {
	inBubble(t, func(b *bench) {
		ask := func(name room.Name) error {
			b.Helper()
			b.pass(registryGap)
			_, err := b.hub.Join(b.Context(), name, &fakeSink{})
			return err
		}
		if err := ask("nowhere"); !errors.Is(err, room.ErrUnknown) {
			b.Errorf("a name never listed: got %v, want unknown", err)
		}
		b.line.set(func() { b.line.listed = false })
		b.pass(2 * PositionTick)
		if err := ask("nowhere"); !errors.Is(err, room.ErrRecovering) {
			b.Errorf("an empty registry: got %v, want recovering", err)
		}
		if err := ask(show); !errors.Is(err, room.ErrRecovering) {
			b.Errorf("a room that an empty registry lists no more: got %v, want recovering", err)
		}
		b.line.set(func() { b.line.others = []room.Name{"other"} })
		b.pass(2 * PositionTick)
		if err := ask(show); !errors.Is(err, room.ErrDeleted) {
			b.Errorf("a room that was listed: got %v, want deleted", err)
		}
		if err := ask("nowhere"); !errors.Is(err, room.ErrUnknown) {
			b.Errorf("a name never listed: got %v, want unknown", err)
		}
		b.line.set(func() { b.line.away = true })
		b.pass(PositionTick)
		if err := ask("young"); !errors.Is(err, room.ErrRecovering) {
			b.Errorf("a registry that can't be read any more: got %v, want recovering", err)
		}
		b.line.set(func() { b.line.away = false })
		// Somebody else's look was before the room was made.
		b.pass(registryGap)
		_, _ = b.hub.Join(b.Context(), "stranger", &fakeSink{})
		b.pass(registryGap / 2)
		b.line.set(func() { b.line.others = append(b.line.others, "young") })
		b.pass(registryGap)
		_, _ = b.hub.Join(b.Context(), "young", &fakeSink{}) // the fake has no such line
		b.hub.mu.Lock()
		if b.hub.rooms["young"] == nil {
			b.Error("a room made since the last look: got none, want it found")
		}
		b.hub.mu.Unlock()
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFakeLine()
		f.away = true
		c := New(f, fakeSigner{}, "", zap.NewNop(), prometheus.NewRegistry())
		if _, err := c.Join(t.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrAway) {
			t.Errorf("before Run: got %v, want away", err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = c.Run(t.Context()) }() // ends with the test's context
		synctest.Wait()
		if _, err := c.Join(t.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrRecovering) {
			t.Errorf("a registry never read: got %v, want recovering", err)
		}
		c.mu.Lock()
		for i := range 3 * maxKnown {
			name := room.Name(fmt.Sprintf("r%d", i))
			c.known[name] = struct{}{}
			c.order = append(c.order, name)
		}
		c.mu.Unlock()
		f.set(func() { f.away = false })
		time.Sleep(2 * PositionTick)
		synctest.Wait()
		c.mu.Lock()
		if len(c.known) != maxKnown || len(c.order) != maxKnown {
			t.Errorf("got %d names remembered, want %d", len(c.known), maxKnown)
		}
		c.mu.Unlock()
		t.Cleanup(func() { <-ended })
	})
}
