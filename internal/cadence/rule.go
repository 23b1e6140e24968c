package cadence

import (
	"math"
	"time"

	"waitroom/internal/room"
)

const (
	// BeatLeast and BeatMost bound the longest silence. Pages take a connection for
	// dead after two of them and 2 s: 14 s, and 22 s on a node that is full.
	BeatLeast = 6 * time.Second
	BeatMost  = 10 * time.Second
	// Latest is the longest time between two looks at a visitor that beats allow
	// for: a sweep is late by 1.5 s while the line hangs.
	Latest = 2500 * time.Millisecond

	// Near are those with at most nearLeast or nearSeconds of outflow ahead: who
	// will be asked in within two minutes, or would be if the rate were raised.
	nearLeast   = 1_000
	nearSeconds = 120
	// maxOutflow is 1,000,000/s in thousandths, above any rate that a room can be
	// set to; beyond it everybody is near, and nothing overflows.
	maxOutflow = 1_000_000_000
	// maxGap is the longest gap of a step, in ticks.
	maxGap = 8
	// allNear is above every position.
	allNear = room.Position(math.MaxInt64)
)

// Visitor is what a node knows of one visitor at a tick.
type Visitor struct {
	Number   room.Number
	Position room.Position // now; 0 when none is known
	Last     room.Position // told last; 0 when none was
	Silent   int32         // milliseconds since it last took a word
	// Beat is the beat_ms that it was told last, in `joined` or a room message that
	// it took; of several connections, the least.
	Beat int32
}

// Rule says whom one sweep of one room tells. It is a value without pointers.
type Rule struct {
	near  room.Position // the last position that hears every second
	least int64         // a change of 1/least is told at once
	gap   uint32        // ticks between two words to a far visitor, at most
	// after holds the last position that changes by 1/least within so many ticks.
	after [maxGap]room.Position
	beat  int32 // milliseconds
	tick  uint32
}

// Rule is how a plan applies to one sweep of one room. outflow is how many leave
// the front of its line per 1,000 s, 0 when nobody knows; tick counts the sweeps
// of the room.
func (p Plan) Rule(outflow int64, tick uint32) Rule {
	r := Rule{near: allNear, gap: p.step.gap, beat: int32(p.Beat.Milliseconds()), tick: tick}
	if !p.step.near {
		return r
	}
	outflow = min(max(0, outflow), maxOutflow)
	r.near = room.Position(max(nearLeast, nearSeconds*outflow/1000)) + 1
	r.least = p.step.least
	for ticks := range r.after {
		r.after[ticks] = room.Position(int64(ticks) * r.least * outflow / 1000)
	}
	return r
}

// Due reports whether v hears its position in this sweep, or, when none is known,
// the room's state. A visitor that was due and did not take the word is due again
// at the next tick at the latest that its beat allows.
func (r *Rule) Due(v Visitor) bool {
	switch {
	case r.Overdue(v.Silent, v.Beat):
		return true
	case v.Position == 0:
		return false
	case v.Position <= r.near:
		return v.Position != v.Last
	}
	// Who was told nothing yet has moved by all of it.
	if change := int64(v.Last - v.Position); change*r.least >= int64(v.Last) || -change*r.least >= int64(v.Last) {
		return true
	}
	// The turn of its number: a crowd that joined in one second, or was told in one
	// tick, would otherwise speak in one tick for ever. The gap is the time that
	// the change takes at this outflow, so a turn falls together with the change,
	// and is no frame more.
	gap := r.gap
	for gap > 1 && v.Position <= r.after[gap-1] {
		gap--
	}
	return (r.tick+uint32(v.Number))%gap == 0
}

// Overdue reports that a word is due because of the silence alone: at the next
// look, which may be Latest away, it could be longer than the beat that the
// visitor was told, or than the beat now.
func (r *Rule) Overdue(silent, beat int32) bool {
	return silent >= min(beat, r.beat)-int32(Latest/time.Millisecond)
}

// Retell reports whether the word that v hears now is to go with a room message
// that carries the plan's beat; where the word is a room message anyway, it is
// that one. A longer beat is for who may be silent for so long: near visitors keep
// the one they know, and never become far. A shorter one is for everybody; who
// speaks each second hears it in turn, so that it is no second frame for all of
// them at once.
func (r *Rule) Retell(v Visitor) bool {
	far := v.Position == 0 || v.Position > r.near
	if v.Beat <= r.beat {
		return v.Beat < r.beat && far
	}
	return far || r.Overdue(v.Silent, v.Beat) || (r.tick+uint32(v.Number))%maxGap == 0
}
