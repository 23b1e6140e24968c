package sweep

import (
	"maps"
	"testing"
	"time"
)

// A node's sign tells how old its positions are: an outage must not look like
// calm.
func TestSignsTellStaleness(t *testing.T) {
	inBubble(t, func(b *bench) {
		if got := b.crowds.Signs(); len(got) != 0 {
			b.Errorf("got %+v before anybody came, want nothing", got)
		}
		_, sinks := b.join(3)
		b.pass(5*PositionTick + PositionTick/2)
		got := b.crowds.Signs()
		if len(got) != 1 || got[0].Room != show || got[0].Visitors != 3 || got[0].Epoch != "aaaaaaaa" {
			b.Fatalf("got %+v, want 3 visitors of the room", got)
		}
		if got[0].StaleMS > PositionTick.Milliseconds() {
			b.Errorf("got positions of %d ms ago, want at most a tick", got[0].StaleMS)
		}
		b.line.set(func() { b.line.away = true })
		b.pass(time.Minute)
		if got := b.crowds.Signs(); got[0].StaleMS < 59_000 || got[0].StaleMS > 62_000 {
			b.Errorf("got positions of %d ms ago after a minute without the line, want a minute", got[0].StaleMS)
		}
		for _, v := range maps.Clone(b.crowds.rooms[show].visits) {
			for _, s := range sinks {
				v.Part(s)
			}
		}
		if got := b.crowds.Signs(); len(got) != 0 {
			b.Errorf("got %+v once everybody left, want nothing", got)
		}
	})
}
