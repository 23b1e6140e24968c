package hub

import (
	"testing"
	"time"
)

// A room that rests and changes is read at once, and its ticks keep their own phase all the
// same: a change in all rooms at one moment, as of a fence, must not have them all tick
// together from then on. In one that goes on changing there is one tick a second, which
// reads.
func TestAChangeKeepsTheRoomsPhase(t *testing.T) {
	for _, offset := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, 800 * time.Millisecond} {
		t.Run(offset.String(), func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.pass(offset)
				b.join(3)
				b.pass(3 * moves)
				r, _ := b.hub.find(show)
				phase := func() time.Duration { return time.Duration(r.next.Load()) % PositionTick }
				before := phase()
				reads := b.line.count("snapshot")
				b.line.set(func() { b.line.seq++; b.line.setGone(b.line.seq) })
				b.pass(PositionTick + TurnTick)
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
				ticks := r.positions.number
				for range seconds {
					b.line.set(func() { b.line.seq++; b.line.setGone(b.line.seq) })
					b.pass(PositionTick)
				}
				if got := b.line.count("snapshot") - reads; got < seconds-2 || got > seconds+2 {
					b.Errorf("got %d reads in %d s of changes, want one a second", got, seconds)
				}
				if got := int(r.positions.number - ticks); got > seconds+2 {
					b.Errorf("got %d ticks in %d s of changes, want one a second", got, seconds)
				}
				if got := phase(); got != before {
					b.Errorf("after %d s of changes: got ticks at %s of a second, want %s", seconds, got, before)
				}
			})
		})
	}
}
