package cadence

import (
	"slices"
	"time"
)

// Mode is what an operator asks for.
type Mode string

const (
	// Auto tells everybody every second while that fits easily, and else spares
	// far visitors.
	Auto Mode = "auto"
	// Exact tells everybody every second, and refuses newcomers when that does not
	// fit.
	Exact Mode = "exact"
	// Near spares far visitors always.
	Near Mode = "near"
)

// When the step changes. The two bands are wide enough that a step does not bring
// about the load that undoes it, and the counts that one bad second (a
// collection, a neighbour on the machine) changes nothing.
const (
	// half of a tick is what telling everybody may fill: the other half is for
	// joins and turns. Measured against the work of telling everybody, whether or
	// not everybody was told, so the step itself does not move it.
	half = 0.5
	// easy is what it has to fall to again.
	easy = 0.35
	// full is when a sweep does not fit: a tenth of the tick is for the read.
	full = 0.9
	// fits is what it has to fall to again, after the step back as before it.
	fits = 0.75
	// swamped is when nobody waits for a step to show: two such sweeps in a row
	// are near the Latest that beats allow for.
	swamped = 1.5
	// climb is how many ticks in a row have to be over before the next step.
	climb = 3
	// descend is how many have to be under before the step back: more than the
	// longest gap of a step, so that every visitor has spoken under it.
	descend = 10
	// ramp is how long a longer beat needs to show: whoever was told the old one
	// speaks once more under it, eight ticks at most.
	ramp = 8
	// sample is how many words say what one costs; fewer are all overhead.
	sample = 100
)

// step is one way to tell a crowd; the next one on a ladder costs less.
type step struct {
	near  bool          // far visitors are spared
	least int64         // a change of 1/least of a far position is told at once
	gap   uint32        // ticks between two words to a far visitor, at most
	beat  time.Duration // the longest silence: a tick that is Latest behind the last look without a word
	full  bool          // newcomers are refused
}

// all tells everybody every second; sparing are the steps after it. The gap is
// the number of ticks after which beat-Latest has passed.
var (
	all     = step{gap: 4, beat: BeatLeast}
	sparing = []step{
		{near: true, least: 50, gap: 4, beat: BeatLeast},
		{near: true, least: 25, gap: 6, beat: 8 * time.Second},
		{near: true, least: 12, gap: 8, beat: BeatMost},
		{near: true, least: 12, gap: 8, beat: BeatMost, full: true},
	}
	ladders = map[Mode][]step{
		Auto:  slices.Concat([]step{all}, sparing),
		Exact: {all, {gap: 4, beat: BeatLeast, full: true}},
		Near:  sparing,
	}
)

// Load is what one second of a node's sweeps was like, over all its rooms.
type Load struct {
	// Work is how long the sweeps worked: planning and sending, of each the sender
	// that took longest, without pauses and without the read of the line. A line
	// that hangs must not look like a crowd too large.
	Work time.Duration
	// Tick is the time between two sweeps of a room.
	Tick time.Duration
	// Visitors is how many have a connection here.
	Visitors int
	// Told is how many words were offered, taken or not: each is one write.
	Told int
}

// Plan is how to tell visitors until the next one. A Controller makes it.
type Plan struct {
	// Step counts from 0, the first of the mode, for a metric and a log line.
	Step int
	// Spares tells that far visitors hear less often than each second.
	Spares bool
	// Beat is the longest silence from now on: the `beat_ms` of `joined`, and of
	// the room message where Rule.Retell says so.
	Beat time.Duration
	// Refuse newcomers: what can be spared is spared, and the sweep does not fit.
	Refuse bool

	step step
}

// Controller follows the load of one node. It is owned by the goroutine that
// calls Next.
type Controller struct {
	ladder []step
	at     int
	cost   float64 // of one word, in ticks, in the last second that said so
	over   int     // ticks in a row
	under  int     // ticks in a row
	age    int     // ticks since the step changed
}

// NewController starts at the first step of a mode. The zero Mode is Auto.
func NewController(m Mode) *Controller {
	ladder, ok := ladders[m]
	if !ok {
		ladder = ladders[Auto]
	}
	return &Controller{ladder: ladder, age: ramp}
}

// Plan is the plan in force.
func (c *Controller) Plan() Plan {
	s := c.ladder[c.at]
	return Plan{Step: c.at, Spares: s.near, Beat: s.beat, Refuse: s.full, step: s}
}

// Next takes the load of the last second and returns the plan for the next. It
// goes one step at a time: up after `climb` ticks over a bound, down after
// `descend` ticks under a lower one, both counted from the last change. So a step
// is left downwards ten ticks after any change at the earliest, and upwards three.
//
// A second without a good read of the line says nothing: leave it out.
func (c *Controller) Next(l Load) Plan {
	fill := float64(max(0, l.Work)) / float64(max(1, l.Tick))
	if l.Told >= sample {
		c.cost = fill / float64(l.Told)
	}
	c.age++
	c.over, c.under = streak(c.over, c.tooMuch(fill, l.Visitors)), streak(c.under, c.enoughRoom(fill, l.Visitors))
	switch {
	case c.over >= climb:
		c.move(1)
	case c.under >= descend:
		c.move(-1)
	}
	return c.Plan()
}

func (c *Controller) move(by int) { c.at, c.over, c.under, c.age = c.at+by, 0, 0, 0 }

// tooMuch reports that this step costs too much and that there is another one.
func (c *Controller) tooMuch(fill float64, visitors int) bool {
	s := c.ladder[c.at]
	switch {
	case c.at == len(c.ladder)-1:
		return false
	case !s.near && c.ladder[c.at+1].near:
		return c.everybody(fill, visitors) >= half
	case s.near && c.age < ramp && fill < swamped:
		return false
	}
	return fill >= full
}

// enoughRoom reports that the step before this one would do.
func (c *Controller) enoughRoom(fill float64, visitors int) bool {
	if c.at == 0 {
		return false
	}
	s, before := c.ladder[c.at], c.ladder[c.at-1]
	if s.near && !before.near {
		return c.everybody(fill, visitors) < easy
	}
	// At most so much more: near visitors cost the same before and after.
	return fill*float64(s.gap)/float64(before.gap) < fits
}

// everybody is what a sweep would fill that told each visitor something. A crowd
// that stands still costs little, until its room opens and all of it moves.
func (c *Controller) everybody(fill float64, visitors int) float64 {
	return max(fill, c.cost*float64(visitors))
}

func streak(n int, goesOn bool) int {
	if !goesOn {
		return 0
	}
	return n + 1
}
