package cadence

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"waitroom/internal/room"
)

// load is a second in which every word cost 10 µs of a tick of 1 s.
func load(visitors, told int) Load {
	return Load{Work: time.Duration(told) * 10 * time.Microsecond, Tick: time.Second, Visitors: visitors, Told: told}
}

// A story is a mode, seconds of load one after another, and what the plan is then.
type second struct {
	times int
	load  Load
	step  int // after all of them
	stays int // how many of them the step before stood, if it changed
}

func TestNext(t *testing.T) {
	const m = time.Millisecond
	busy := func(fill time.Duration) Load { return Load{Work: fill, Tick: time.Second, Visitors: 1000, Told: 1000} }
	for _, c := range []struct {
		name  string
		mode  Mode
		story []second
	}{
		{"exact below half of the tick", Auto, []second{{100, load(49_999, 49_999), 0, 0}}},
		{"near from half of the tick on, after three ticks", Auto, []second{{3, load(50_000, 50_000), 1, 2}}},
		{"two ticks are not three", Auto, []second{{2, load(90_000, 90_000), 0, 0}, {1, load(10, 10), 0, 0}, {2, load(50_000, 50_000), 0, 0}}},
		{"near stays though it halves the work", Auto, []second{{3, load(50_000, 50_000), 1, 2}, {100, load(50_000, 15_000), 1, 0}}},
		{"near stays inside the band", Auto, []second{{3, load(50_000, 50_000), 1, 2}, {100, load(35_000, 10_000), 1, 0}}},
		{"exact below the band, after ten ticks", Auto, []second{{3, load(50_000, 50_000), 1, 2}, {10, load(34_000, 10_000), 0, 9}, {100, load(34_000, 34_000), 0, 0}}},
		{"a crowd that stands still is weighed whole", Auto, []second{{3, load(60_000, 15_000), 1, 2}, {100, load(60_000, 15_000), 1, 0}}},
		{"a few words say nothing of a crowd", Auto, []second{{100, Load{Work: 10 * m, Tick: time.Second, Visitors: 50_000, Told: 99}, 0, 0}}},
		{"a longer beat when near does not fit", Auto, []second{{3, busy(950 * m), 1, 2}, {10, busy(950 * m), 2, 9}, {10, busy(950 * m), 3, 9}, {10, busy(950 * m), 4, 9}, {100, busy(950 * m), 4, 0}}},
		{"at once when two sweeps are near the latest", Auto, []second{{3, busy(1600 * m), 1, 2}, {3, busy(1600 * m), 2, 2}, {3, busy(1600 * m), 3, 2}, {3, busy(1600 * m), 4, 2}}},
		{"back one by one", Auto, []second{{12, busy(1600 * m), 4, 2}, {10, busy(600 * m), 3, 9}, {20, busy(600 * m), 3, 0}, {10, busy(550 * m), 2, 9}, {20, busy(550 * m), 2, 0}, {10, busy(450 * m), 1, 9}}},
		{"newcomers stay refused inside the band", Auto, []second{{12, busy(1600 * m), 4, 2}, {100, busy(760 * m), 4, 0}}},
		{"forced exact refuses newcomers when it does not fit", Exact, []second{{100, busy(890 * m), 0, 0}, {3, busy(900 * m), 1, 2}, {100, busy(760 * m), 1, 0}, {10, busy(740 * m), 0, 9}}},
		{"forced near stays with an idle node", Near, []second{{100, load(10, 10), 0, 0}}},
		{"forced near has the longer beats too", Near, []second{{11, busy(950 * m), 1, 0}}},
		{"nothing to do", Auto, []second{{100, Load{}, 0, 0}}},
	} {
		k := NewController(c.mode)
		for i, s := range c.story {
			before := k.Plan().Step
			for n := range s.times {
				p := k.Next(s.load)
				if n < s.stays && p.Step != before {
					t.Errorf("%s, part %d: got step %d after %d ticks, want %d still", c.name, i, p.Step, n+1, before)
				}
			}
			if got := k.Plan().Step; got != s.step {
				t.Errorf("%s, part %d: got step %d, want %d", c.name, i, got, s.step)
			}
		}
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		mode   Mode
		step   int
		spares bool
		beat   time.Duration
		refuse bool
	}{
		{Auto, 0, false, 6 * time.Second, false},
		{Auto, 1, true, 6 * time.Second, false},
		{Auto, 2, true, 8 * time.Second, false},
		{Auto, 3, true, 10 * time.Second, false},
		{Auto, 4, true, 10 * time.Second, true},
		{Exact, 0, false, 6 * time.Second, false},
		{Exact, 1, false, 6 * time.Second, true},
		{Near, 0, true, 6 * time.Second, false},
		{Near, 3, true, 10 * time.Second, true},
		{"", 1, true, 6 * time.Second, false},
	} {
		p := planAt(c.mode, c.step)
		if p.Step != c.step || p.Spares != c.spares || p.Beat != c.beat || p.Refuse != c.refuse {
			t.Errorf("%s, step %d: got %+v, want %+v", c.mode, c.step, p, c)
		}
	}
}

// weather is a random load that stays for a while, so that every step is reached.
// It draws from a seed: rapid prefers small numbers, and would draw short calm
// stories.
type weather struct {
	*rand.Rand
	load Load
	left int
}

func drawWeather(t *rapid.T) *weather {
	return &weather{Rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))}
}

var fills = []time.Duration{-1, 0, 1, 100, 300, 340, 360, 490, 510, 700, 740, 760, 890, 910, 1490, 1510, 2500}

func (w *weather) next() Load {
	if w.left == 0 {
		visitors := w.IntN(200_000)
		w.left = 1 + w.IntN(25)
		w.load = Load{Work: fills[w.IntN(len(fills))] * time.Millisecond, Tick: time.Second, Visitors: visitors, Told: w.IntN(visitors + 1)}
	}
	w.left--
	return w.load
}

var drawMode = rapid.SampledFrom([]Mode{Auto, Exact, Near})

// No silence is longer than the beat that the visitor was told, under any load and
// with looks that are up to Latest apart.
func TestBeatIsToldBeforeTheSilence(t *testing.T) {
	reached := map[time.Duration]int{}
	rapid.Check(t, func(t *rapid.T) {
		c := NewController(drawMode.Draw(t, "mode"))
		w := drawWeather(t)
		outflow := w.Int64N(500_000)
		gaps := []int32{1000, 1000, 1000, 1010, 1600, 2500}
		var crowd [12]Visitor
		for tick := range uint32(200) {
			p := c.Next(w.next())
			r := p.Rule(outflow, tick)
			beat := int32(p.Beat / time.Millisecond)
			for i := range crowd {
				v := &crowd[i]
				if v.Number == 0 || w.IntN(100) == 0 { // goes; another one joins and is told the beat
					*v = Visitor{Number: room.Number(w.Int64N(1<<30) + 1), Position: room.Position(w.Int64N(60_000) + 1), Beat: beat}
				}
				v.Silent += gaps[w.IntN(len(gaps))]
				if v.Silent > v.Beat {
					t.Fatalf("tick %d, %+v: got silence beyond the beat it was told", tick, *v)
				}
				now := *v
				switch w.IntN(10) {
				case 0:
					now.Position = 0 // a read without this number
				case 1, 2, 3:
					now.Position = max(1, v.Position-room.Position(w.Int64N(500)))
					v.Position = now.Position
				}
				if !r.Due(now) {
					continue
				}
				reached[time.Duration(v.Silent/1000)*time.Second]++
				if r.Retell(now) {
					v.Beat = beat
				}
				if now.Position > 0 {
					v.Last = now.Position
				}
				v.Silent = 0
			}
		}
	})
	// The property would be empty if nobody was ever silent for long.
	if reached[5*time.Second] == 0 || reached[9*time.Second] == 0 {
		t.Errorf("got these silences, want some of 5 s and of 9 s: %v", reached)
	}
}

// Whatever the load does, the step goes one at a time, up three ticks after any
// change at the earliest and down ten.
func TestNoFlapping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewController(drawMode.Draw(t, "mode"))
		w := drawWeather(t)
		before, since := 0, climb
		for range 400 {
			p := c.Next(w.next())
			since++
			switch p.Step - before {
			case 0:
				continue
			case 1:
				if since < climb {
					t.Fatalf("got step %d %d ticks after the last change, want %d", p.Step, since, climb)
				}
			case -1:
				if since < descend {
					t.Fatalf("got step %d %d ticks after the last change, want %d", p.Step, since, descend)
				}
			default:
				t.Fatalf("got step %d after %d", p.Step, before)
			}
			before, since = p.Step, 0
		}
	})
}

// An idle node is exact again, or at the first step of what was forced, whatever
// was before: at most four steps back of ten ticks.
func TestIdleNodeGoesBack(t *testing.T) {
	highest := 0
	rapid.Check(t, func(t *rapid.T) {
		mode := drawMode.Draw(t, "mode")
		c := NewController(mode)
		w := drawWeather(t)
		for range w.IntN(200) {
			highest = max(highest, c.Next(w.next()).Step)
		}
		for range 4 * descend {
			c.Next(Load{Work: time.Millisecond, Tick: time.Second, Visitors: 200, Told: 200})
		}
		if p := c.Plan(); p.Step != 0 || p.Spares != (mode == Near) || p.Beat != BeatLeast || p.Refuse {
			t.Fatalf("got %+v on an idle node", p)
		}
	})
	if highest != 4 {
		t.Errorf("got step %d as the highest ever left, want 4", highest)
	}
}
