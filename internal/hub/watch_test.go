package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/cadence"
	"waitroom/internal/directory"
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
				if gap := m.At.Sub(at); gap > cadence.BeatLeast {
					b.Fatalf("visitor %d: got a silence of %s before %q, want at most %s", i, gap, m.Type, cadence.BeatLeast)
				}
				at = m.At
			}
		}
		if got := sinks[100].heard[0].BeatMS; got != cadence.BeatLeast.Milliseconds() {
			b.Errorf("joined: got beat_ms %d, want %d", got, cadence.BeatLeast.Milliseconds())
		}
		if got := watcher.heard[0].BeatMS; got != cadence.BeatLeast.Milliseconds() {
			b.Errorf("who has no place: got beat_ms %d, want %d", got, cadence.BeatLeast.Milliseconds())
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
		if v.HasPlace() || !v.Over() {
			b.Errorf("got a place %v, over %v, want none and over: it may join", v.HasPlace(), v.Over())
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
			b.hub.rooms[show].roster.sessions[v.place()].Detach(v)
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
		b.line.delete()
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

// Nobody is let in after Run, nor while nobody can say which rooms there are.
func TestNotRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeLine()
		f.away = true
		rooms := directory.New(f, zap.NewNop())
		h := New(Config{}, "node", f, rooms, fakeSigner{}, "", zap.NewNop(), prometheus.NewRegistry())
		ask := func(when string, want error) {
			t.Helper()
			if _, err := h.Join(t.Context(), show, &fakeSink{}); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", when, err, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var loops sync.WaitGroup
		loops.Go(func() { _ = h.Run(ctx) })
		loops.Go(func() { _ = rooms.Run(ctx) })
		synctest.Wait()
		ask("a registry never read", room.ErrRecovering)
		cancel()
		loops.Wait()
		ask("after Run", room.ErrAway)
	})
}
