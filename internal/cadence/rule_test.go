package cadence

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"waitroom/internal/room"
)

// planAt is the plan of one step of a mode.
func planAt(m Mode, at int) Plan {
	c := NewController(m)
	c.at = at
	return c.Plan()
}

// Far, 200/s: a change of 2 % is 1,000 of 50,000 and takes 5 s, so the gap of four
// ticks is what counts, and visitor 49,997 has its turn at tick 3.
func TestDue(t *testing.T) {
	const at200 = 200_000
	quiet := Visitor{Number: 49_997, Position: 50_000, Last: 50_000, Silent: 1000, Beat: 6000}
	with := func(change func(*Visitor)) Visitor {
		v := quiet
		change(&v)
		return v
	}
	moved := with(func(v *Visitor) { v.Position = 49_800 })
	for _, c := range []struct {
		name    string
		step    int
		outflow int64
		tick    uint32
		visitor Visitor
		want    bool
	}{
		{"exact: moved", 0, at200, 1, moved, true},
		{"exact: moved back", 0, at200, 1, with(func(v *Visitor) { v.Position = 50_001 }), true},
		{"exact: not moved", 0, at200, 1, quiet, false},
		{"exact: not moved, its turn", 0, at200, 3, quiet, false},
		{"exact: not moved, 3.499 s", 0, at200, 1, with(func(v *Visitor) { v.Silent = 3499 }), false},
		{"exact: not moved, 3.5 s", 0, at200, 1, with(func(v *Visitor) { v.Silent = 3500 }), true},
		{"exact: no position", 0, at200, 1, with(func(v *Visitor) { v.Position = 0 }), false},
		{"exact: no position, 3.5 s", 0, at200, 1, with(func(v *Visitor) { v.Position, v.Silent = 0, 3500 }), true},
		{"far: nothing told yet", 1, at200, 1, with(func(v *Visitor) { v.Last = 0 }), true},
		{"far: moved by less than 2 %", 1, at200, 1, with(func(v *Visitor) { v.Position = 49_001 }), false},
		{"far: moved by 2 %", 1, at200, 1, with(func(v *Visitor) { v.Position = 49_000 }), true},
		{"far: moved back by 2 %", 1, at200, 1, with(func(v *Visitor) { v.Position = 51_000 }), true},
		{"far: its turn", 1, at200, 3, moved, true},
		{"far: its turn, not moved", 1, at200, 3, quiet, true},
		{"far: 3.5 s", 1, at200, 1, with(func(v *Visitor) { v.Silent = 3500 }), true},
		{"far: no position, its turn", 1, at200, 3, with(func(v *Visitor) { v.Position = 0 }), false},
		{"near: 24,000 ahead at 200/s", 1, at200, 1, with(func(v *Visitor) { v.Position, v.Last = 24_001, 24_002 }), true},
		{"near: not moved", 1, at200, 3, with(func(v *Visitor) { v.Position, v.Last = 24_001, 24_001 }), false},
		{"far: 24,001 ahead at 200/s", 1, at200, 2, with(func(v *Visitor) { v.Position, v.Last = 24_002, 24_003 }), false},
		{"near: 1,000 ahead, outflow unknown", 1, 0, 1, with(func(v *Visitor) { v.Position, v.Last = 1001, 1002 }), true},
		{"far: 1,001 ahead, outflow unknown", 1, 0, 1, with(func(v *Visitor) { v.Position, v.Last = 1002, 1003 }), false},
		{"near: 1,000 ahead at 1/s", 1, 1000, 1, with(func(v *Visitor) { v.Position, v.Last = 1001, 1002 }), true},
		{"near: everybody at an outflow beyond all rates", 1, 1 << 62, 1, with(func(v *Visitor) { v.Position, v.Last = 1<<26, 1<<26+1 }), true},
		{"longest gap: moved by 4 %", 3, at200, 1, with(func(v *Visitor) { v.Position, v.Beat = 48_000, 10_000 }), false},
		{"longest gap: moved by a twelfth", 3, at200, 1, with(func(v *Visitor) { v.Position, v.Beat = 45_833, 10_000 }), true},
		{"longest gap: turn of a shorter one", 3, at200, 7, with(func(v *Visitor) { v.Position, v.Beat = 49_800, 10_000 }), false},
		{"longest gap: its turn", 3, at200, 3, with(func(v *Visitor) { v.Position, v.Beat = 49_800, 10_000 }), true},
		{"longest gap: 7.499 s", 3, at200, 1, with(func(v *Visitor) { v.Silent, v.Beat = 7499, 10_000 }), false},
		{"longest gap: 7.5 s", 3, at200, 1, with(func(v *Visitor) { v.Silent, v.Beat = 7500, 10_000 }), true},
		{"longest gap, but told the shortest: 3.5 s", 3, at200, 1, with(func(v *Visitor) { v.Silent = 3500 }), true},
		{"shortest gap, but told the longest: 3.5 s", 1, at200, 1, with(func(v *Visitor) { v.Silent, v.Beat = 3500, 10_000 }), true},
		{"told no beat at all", 0, at200, 1, with(func(v *Visitor) { v.Beat = 0 }), true},
	} {
		r := planAt(Auto, c.step).Rule(c.outflow, c.tick)
		if got := r.Due(c.visitor); got != c.want {
			t.Errorf("%s: got %v for %+v, want %v", c.name, got, c.visitor, c.want)
		}
	}
}

// The gap is the time that a change of 2 % takes, so a turn is no frame more.
func TestGapFollowsTheOutflow(t *testing.T) {
	turns := func(p room.Position, outflow int64) (n int) {
		for tick := range uint32(12) { // a multiple of the gaps 3 and 4
			r := planAt(Auto, 1).Rule(outflow, tick)
			if r.Due(Visitor{Number: 7, Position: p, Last: p, Silent: 1000, Beat: 6000}) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		position room.Position
		outflow  int64
		want     int // in 12 ticks
	}{
		{24_002, 200_000, 4}, // 2 % in 2.4 s
		{30_000, 200_000, 4}, // in 3.0 s
		{30_001, 200_000, 3},
		{1 << 30, 200_000, 3},
		{30_000, 0, 3},
	} {
		if got := turns(c.position, c.outflow); got != c.want {
			t.Errorf("position %d at %d/1000 s: got %d turns in 12 ticks, want %d", c.position, c.outflow, got, c.want)
		}
	}
}

func TestRetell(t *testing.T) {
	const shorter, longer = 6000, 10_000
	for _, c := range []struct {
		name    string
		step    int
		visitor Visitor
		want    bool
	}{
		{"the same", 1, Visitor{Number: 1, Position: 50_000, Beat: shorter}, false},
		{"longer, far", 3, Visitor{Number: 1, Position: 50_000, Beat: shorter}, true},
		{"longer, near", 3, Visitor{Number: 8, Position: 1, Beat: shorter}, false},
		{"longer, no position", 3, Visitor{Beat: shorter}, true},
		{"shorter, far", 1, Visitor{Number: 1, Position: 50_000, Beat: longer}, true},
		{"shorter, no position", 1, Visitor{Beat: longer}, true},
		{"shorter, near, in turn", 1, Visitor{Number: 8, Position: 1, Beat: longer}, true},
		{"shorter, near, not in turn", 1, Visitor{Number: 9, Position: 1, Silent: 1000, Beat: longer}, false},
		{"shorter, near, not in turn, silent", 1, Visitor{Number: 9, Position: 1, Silent: 3500, Beat: longer}, true},
	} {
		r := planAt(Auto, c.step).Rule(0, 8)
		if got := r.Retell(c.visitor); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// A beat that changed reaches everybody whom it concerns with words that were due
// anyway: a longer one before the first silence beyond the old one, a shorter one
// within the longest gap, and never to all near visitors in one tick.
func TestTheBeatGoesRound(t *testing.T) {
	const n, near = 4000, 1001
	crowd := make([]Visitor, n)
	for i := range crowd {
		p := room.Position(i + 1)
		crowd[i] = Visitor{Number: room.Number(i + 1), Position: p, Last: p, Silent: 0, Beat: 6000}
	}
	sweep := func(step int, tick uint32) (told, retold int) {
		r := planAt(Auto, step).Rule(0, tick)
		for i := range crowd {
			v := &crowd[i]
			v.Silent += 1000
			if i < near {
				v.Last = v.Position + 1 // moved since it was told
			}
			if !r.Due(*v) {
				continue
			}
			told++
			if r.Retell(*v) {
				retold++
				v.Beat = int32(planAt(Auto, step).Beat.Milliseconds())
			}
			v.Silent = 0
		}
		return told, retold
	}
	holds := func(beat int32) (far, all int) {
		for i, v := range crowd {
			if v.Beat == beat {
				all++
				if i >= near {
					far++
				}
			}
		}
		return far, all
	}
	tick := uint32(0)
	for range 4 {
		tick++
		sweep(3, tick)
	}
	if far, all := holds(10_000); far != n-near || all != far {
		t.Errorf("a longer beat: got it told to %d far and %d near visitors after 4 ticks, want %d and 0", far, all-far, n-near)
	}
	for i := range crowd[:near] {
		crowd[i].Beat = 10_000 // they joined meanwhile
	}
	for range 8 {
		tick++
		told, retold := sweep(1, tick)
		if most := near/8 + 1 + told - near; retold > most {
			t.Errorf("a shorter beat, tick %d: got it told to %d, want %d at most", tick, retold, most)
		}
	}
	if _, all := holds(6000); all != n {
		t.Errorf("a shorter beat: got it told to %d of %d after 8 ticks", all, n)
	}
}

// A step's gap and beat say the same, and the bounds are those that are told.
func TestLadders(t *testing.T) {
	for mode, ladder := range ladders {
		for at, s := range ladder {
			// The first tick at which the silence is over: ticks are a second apart.
			if want := uint32((s.beat - Latest + time.Second - 1) / time.Second); s.gap != want || s.gap > maxGap {
				t.Errorf("%s, step %d: got a gap of %d ticks, want %d for a beat of %s", mode, at, s.gap, want, s.beat)
			}
			if s.beat < BeatLeast || s.beat > BeatMost || at > 0 && s.beat < ladder[at-1].beat {
				t.Errorf("%s, step %d: got a beat of %s", mode, at, s.beat)
			}
			if last := at == len(ladder)-1; s.full != last {
				t.Errorf("%s, step %d: got newcomers refused: %v, want it at the last step only", mode, at, s.full)
			}
		}
	}
}

// Who is near hears every change at once, in every mode and at every step.
func TestNearHearsEverySecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]Mode{Auto, Exact, Near}).Draw(t, "mode")
		at := rapid.IntRange(0, len(ladders[mode])-1).Draw(t, "step")
		outflow := rapid.Int64Range(0, 10_000_000).Draw(t, "outflow")
		near := max(1000, 120*outflow/1000)
		if mode == Exact {
			near = 1 << 30
		}
		v := Visitor{
			Number:   room.Number(rapid.Int64Range(1, 1<<30).Draw(t, "number")),
			Position: room.Position(rapid.Int64Range(1, near+1).Draw(t, "position")),
			Silent:   rapid.Int32Range(0, 3000).Draw(t, "silent"),
			Beat:     rapid.SampledFrom([]int32{6000, 8000, 10_000}).Draw(t, "beat"),
		}
		v.Last = v.Position + room.Position(rapid.Int64Range(1, 1000).Draw(t, "moved"))
		r := planAt(mode, at).Rule(outflow, rapid.Uint32().Draw(t, "tick"))
		if !r.Due(v) {
			t.Fatalf("%s, step %d: got %+v not due, with %d near", mode, at, v, near)
		}
	})
}

func TestDueAllocatesNothing(t *testing.T) {
	c := NewController(Auto)
	v := Visitor{Number: 1, Position: 50_000, Last: 50_100, Silent: 1000, Beat: 6000}
	due := 0
	if got := testing.AllocsPerRun(100, func() {
		r := c.Next(Load{Work: time.Second, Tick: time.Second, Visitors: 1000, Told: 1000}).Rule(200_000, 1)
		if r.Due(v) {
			due++
		}
	}); got != 0 {
		t.Errorf("got %.1f allocations for a tick, want none", got)
	}
}

func BenchmarkDue(b *testing.B) {
	for _, c := range []struct {
		name string
		step int
		v    Visitor
	}{
		{"exact", 0, Visitor{Number: 1, Position: 50_000, Last: 50_100, Silent: 1000, Beat: 6000}},
		{"near", 1, Visitor{Number: 1, Position: 1_000, Last: 1_100, Silent: 1000, Beat: 6000}},
		{"far", 1, Visitor{Number: 1, Position: 25_000, Last: 25_100, Silent: 1000, Beat: 6000}},
		{"longest gap", 3, Visitor{Number: 1, Position: 50_000, Last: 50_100, Silent: 1000, Beat: 10_000}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := planAt(Auto, c.step).Rule(200_000, 1)
			due := 0
			for b.Loop() {
				c.v.Number++
				if r.Due(c.v) {
					due++
				}
			}
		})
	}
}
