package hub

import (
	"testing"
	"time"
)

// A room that rests and changes is read at once, and its ticks keep their own phase all the
// same: a change in all rooms at one moment, as of a fence, must not have them all tick
// together from then on. In one that goes on changing there is one tick a second, which
// reads, and a change is told within a second all the same.
func TestAChangeKeepsTheRoomsPhase(t *testing.T) {
	for _, offset := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, 800 * time.Millisecond} {
		t.Run(offset.String(), func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.pass(offset)
				sessions, sinks := b.join(3)
				b.pass(3 * moves)
				r, _ := b.hub.find(show)
				phase := func() time.Duration { return time.Duration(r.next.Load()) % PositionTick }
				ticked := func() uint32 {
					for !r.telling.CompareAndSwap(false, true) { // a tick is under way
						b.pass(time.Millisecond)
					}
					defer r.telling.Store(false)
					return r.positions.number
				}
				before := phase()
				reads := b.line.count("snapshot")
				b.line.set(func() { b.line.seq++; b.line.setGone(b.line.seq) })
				for range 11 {
					b.pass(TurnTick)
					if gap := time.Duration(r.next.Load()) - b.hub.now(); gap > PositionTick+TurnTick/2 {
						b.Errorf("the next tick is %s away: a tick beside the phase put it off", gap)
					}
				}
				if got := b.line.count("snapshot") - reads; got < 1 {
					b.Error("a change is not read within a second")
				}
				b.pass(3 * PositionTick)
				if got := phase(); got != before {
					b.Errorf("got ticks at %s of a second, want %s as before the change", got, before)
				}
				if got := b.line.count("snapshot") - reads; got > 3 {
					b.Errorf("got %d reads for one change, want three at most", got)
				}
				const seconds = 20
				reads = b.line.count("snapshot")
				ticks := ticked()
				for range seconds {
					b.line.set(func() { b.line.seq++; b.line.setGone(b.line.seq) })
					b.pass(PositionTick)
				}
				if got := b.line.count("snapshot") - reads; got < seconds-2 || got > seconds+2 {
					b.Errorf("got %d reads in %d s of changes, want one a second", got, seconds)
				}
				if got := int(ticked() - ticks); got > seconds+2 {
					b.Errorf("got %d ticks in %d s of changes, want one a second", got, seconds)
				}
				b.pass(PositionTick - offset + TurnTick/2) // just after a pulse, which so cannot tell it
				sinks[2].take()
				b.line.set(func() { b.line.remove(sessions[1].place) }) // on another node
				b.pass(PositionTick + TurnTick)
				if heard := sinks[2].take(); len(heard) == 0 || heard[len(heard)-1].Position != 2 {
					b.Errorf("a leave in a room that goes on changing: got %+v, want position 2 within a second", heard)
				}
				if got := phase(); got != before {
					b.Errorf("after %d s of changes: got ticks at %s of a second, want %s", seconds, got, before)
				}
			})
		})
	}
}
