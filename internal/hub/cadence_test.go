package hub

import (
	"errors"
	"slices"
	"testing"
	"time"

	"waitroom/internal/cadence"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// Far visitors hear less often, each time the exact position of that tick; near ones
// every second; nobody is silent for longer than was announced.
func TestFarVisitorsHearLessOften(t *testing.T) {
	const n, near, seconds = 6000, 1000, 40
	frames := map[cadence.Mode][2]int{} // of the near and of the far
	for _, mode := range []cadence.Mode{cadence.Exact, cadence.Near} {
		inBubbleWith(t, Config{Cadence: mode}, func(b *bench) {
			_, sinks := b.join(n)
			b.pass(2 * PositionTick)
			for _, s := range sinks {
				s.take()
			}
			for range seconds {
				b.line.admit(1)
				b.pass(PositionTick)
			}
			var count [2]int
			for i, s := range sinks[seconds:] {
				for _, w := range s.wrong {
					b.Error(w)
				}
				far := 0
				if i > near {
					far = 1
				}
				heard := slices.DeleteFunc(s.take(), func(m message) bool { return m.Type != wire.Position })
				count[far] += len(heard)
				for j := 1; j < len(heard); j++ {
					if gap := heard[j].At.Sub(heard[j-1].At); gap > cadence.BeatLeast {
						b.Fatalf("visitor %d: got a silence of %s, want at most %s", i+seconds, gap, cadence.BeatLeast)
					}
				}
			}
			frames[mode] = count
		})
	}
	exact, spared := frames[cadence.Exact], frames[cadence.Near]
	if spared[0] < exact[0]*95/100 {
		t.Errorf("near visitors: got %d frames, want every second as before: %d", spared[0], exact[0])
	}
	if spared[1] > exact[1]/3 {
		t.Errorf("far visitors: got %d frames, want less than a third of %d", spared[1], exact[1])
	}
}

// A node whose work does not fit its second spares far visitors, then says so with a
// longer beat, then takes no newcomers; places come back all the while, and when the
// work fits again everything is as before.
func TestAFullNode(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, _ := b.join(3)
		b.pass(PositionTick)
		work := func(d time.Duration, seconds int) {
			for range seconds {
				b.hub.load(d, 50_000, 50_000)
				b.pass(PositionTick)
			}
		}
		work(600*time.Millisecond, 5)
		if p := b.hub.plan(); !p.Spares || p.Refuse || b.logs.FilterMessageSnippet("cadence").Len() != 1 {
			b.Errorf("at 0.6 of the tick: got %+v and %v, want far visitors spared, and one line of it", p, b.logs.All())
		}
		work(2*time.Second, 20)
		if !b.hub.Full() {
			b.Fatal("at twice the tick: got a node that is not full")
		}
		if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrOverloaded) {
			b.Errorf("a newcomer: got %v, want overloaded", err)
		}
		back := &fakeSink{}
		if _, err := b.hub.Return(b.Context(), show, sessions[0].epoch, sessions[0].place, back); err != nil {
			b.Errorf("a place: got %v, want it let in", err)
		}
		b.pass(10 * PositionTick)
		longer := slices.ContainsFunc(back.take(), func(m message) bool { return m.BeatMS == cadence.BeatMost.Milliseconds() })
		if !longer {
			b.Error("got no longer beat announced by a full node")
		}
		work(10*time.Millisecond, 60)
		if p := b.hub.plan(); p.Spares || b.hub.Full() {
			b.Errorf("once the work fits: got %+v, want everybody every second", p)
		}
	})
}
