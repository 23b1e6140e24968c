package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
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

// Whatever the line and the load do, no connection that reads is left in silence for
// longer than the beat it was told last: visitors, their second tabs, onlookers.
func TestNobodyIsSilentForLongerThanAnnounced(t *testing.T) {
	for _, mode := range []cadence.Mode{cadence.Auto, cadence.Near} {
		for seed := range uint64(1) {
			t.Run(fmt.Sprint(mode, seed), func(t *testing.T) {
				inBubbleWith(t, Config{Cadence: mode}, func(b *bench) {
					sessions, sinks := b.join(1000)
					// second tabs and lookers-on
					for i := 0; i < 100; i++ {
						tab := &fakeSink{}
						if _, err := b.hub.Return(b.Context(), show, sessions[i*10].epoch, sessions[i*10].place, tab); err != nil {
							b.Fatal(err)
						}
						sinks = append(sinks, tab)
					}
					for range 50 {
						s := &fakeSink{}
						b.hub.Watch(show, s)
						sinks = append(sinks, s)
					}
					var stop sync.WaitGroup
					end := time.Now().Add(2 * time.Minute)
					stop.Go(func() {
						rng := rand.New(rand.NewPCG(seed, 1))
						for time.Now().Before(end) {
							b.line.set(func() {
								b.line.hangs = 0
								switch rng.IntN(4) {
								case 0:
									b.line.hangs = time.Second
								case 1:
									b.line.hangs = time.Duration(rng.IntN(1000)) * time.Millisecond
								}
							})
							time.Sleep(time.Duration(rng.IntN(8000)) * time.Millisecond)
						}
						b.line.set(func() { b.line.hangs = 0 })
					})
					stop.Go(func() {
						rng := rand.New(rand.NewPCG(seed, 2))
						for time.Now().Before(end) {
							w := time.Duration(rng.IntN(2500)) * time.Millisecond
							for range rng.IntN(30) {
								b.hub.load(w, 50000, 50000)
								time.Sleep(time.Second)
							}
						}
					})
					stop.Go(func() {
						rng := rand.New(rand.NewPCG(seed, 3))
						for time.Now().Before(end) {
							b.line.admit(rng.IntN(3))
							time.Sleep(time.Second)
						}
					})
					stop.Wait()
					b.pass(15 * time.Second)
					worst := map[int64]time.Duration{}
					for _, s := range sinks {
						s.mu.Lock()
						var last time.Time
						beat := int64(0)
						for _, m := range s.heard {
							if !last.IsZero() && beat > 0 {
								if gap := m.At.Sub(last); gap > worst[beat] {
									worst[beat] = gap
								}
							}
							last = m.At
							if m.BeatMS > 0 {
								beat = m.BeatMS
							}
						}
						s.mu.Unlock()
					}
					for beat, gap := range worst {
						if gap > time.Duration(beat)*time.Millisecond {
							t.Errorf("beat %d: silence of %s", beat, gap)
						}
					}
				})
			})
		}
	}
}
