package booking

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"waitroom/internal/seat"
)

// The model of one room, with time in it: what each act may answer, given its own
// moment of the seats' clock, and what it changes. A history of acts by several
// clients is right when one order exists in which each act happened at one moment
// between its call and its return and each answer is one that the model allows.
//
// Holds are known by slots: every Hold that was granted, or may have been, has one of
// its own. An act whose outcome is unknown has no return: it stands anywhere after its
// call, and at the very end when it never happened, where no one sees what it changes.

// Bounds of a history: small, so that everybody meets, and so that porcupine needs
// milliseconds.
const (
	modelSeats     = 5
	modelFirst     = 4 // that are there from the beginning; the others are added
	modelPasses    = 10
	modelHolds     = 40 // slots
	modelProcesses = 2
)

// The states of a slot.
const (
	slotNone = iota // not granted yet
	slotLive
	slotConfirmed
	slotReleased
	slotExpired
)

// world is a state of the model. Slots are counted from 1; 0 is none.
type world struct {
	seats  [modelSeats]uint8 // the slot that holds or booked it
	passes [modelPasses]struct {
		hold, booking uint8
		spent         bool
	}
	holds [modelHolds + 1]struct {
		state    uint8
		extended bool
		until    int32 // ms, as all times here
	}
	added   bool    // the seats after modelFirst
	blocked seatSet // by an operator
	// The counter's rev: what it may be, as confirms may share a transaction. One look
	// at it says which it is.
	rev struct {
		least, most uint8
		shared      bool // the last change was a confirm: the next may be of the same transaction
	}
	// The room's next line: whether it was told of, and which processes know it.
	opened bool
	knows  [modelProcesses]bool
}

// start is the room as it was made.
func start() (w world) {
	w.rev.least, w.rev.most = 1, 1
	return w
}

// there are the seats that the room has.
func (w *world) there() seatSet {
	if w.added {
		return 1<<modelSeats - 1
	}
	return 1<<modelFirst - 1
}

// forSale are those that are not blocked.
func (w *world) forSale() seatSet { return w.there() &^ w.blocked }

// taken are those that somebody holds or has booked.
func (w *world) taken() (set seatSet) {
	for i, by := range w.seats {
		if by != 0 {
			set |= 1 << i
		}
	}
	return set
}

// left is how many of them are for sale and not booked.
func (w *world) left() (n uint8) {
	for i, by := range w.seats {
		if w.forSale().has(i) && (by == 0 || w.holds[by].state != slotConfirmed) {
			n++
		}
	}
	return n
}

// raise is a change of the counter: by a confirm, which may share its transaction, or not.
func (w *world) raise(confirm bool) {
	if !confirm || !w.rev.shared {
		w.rev.least++
	}
	w.rev.most++
	w.rev.shared = confirm
}

// seatSet is a set of seats, one bit each.
type seatSet uint8

func (s seatSet) has(i int) bool { return s&(1<<i) != 0 }

// Kinds of acts, as they were answered. One call may be several acts: a refusal that
// names three taken seats says of each that it was taken at some moment of the call.
const (
	actHeld        = "hold: held"
	actStands      = "hold: stands"      // the pass has this very hold
	actOpen        = "hold: other open"  // the pass has another one
	actLapsed      = "hold: lapsed"      // the pass has one whose time and grace are over
	actSpent       = "hold: pass spent"  //
	actTaken       = "hold: seat taken"  // of one seat
	actWasFree     = "hold: seat free"   // of one seat that a refusal does not name
	actIdle        = "hold: pass idle"   // of a pass that was refused for the seats only
	actConfirmed   = "confirm: booked"   //
	actNotBooked   = "confirm: ended"    //
	actReleased    = "release: done"     //
	actNotReleased = "release: booked"   //
	actLeft        = "leave: done"       //
	actExtended    = "extend: done"      //
	actTwice       = "extend: twice"     //
	actNotExtended = "extend: ended"     //
	actExpired     = "expire: ended one" //
	actVisit       = "visit"
	actMap         = "map"
	actBlocked     = "block: done"          //
	actNotBlocked  = "block: seats taken"   // all that are are named
	actNoBlock     = "block: no such seat"  //
	actUnblocked   = "unblock: done"        //
	actAbsent      = "hold: no such seat"   // of one seat
	actOldPass     = "hold: old pass"       // the process knows the room's next line
	actNotOld      = "hold: pass not old"   // of an old pass that was not refused for it
	actAdded       = "seats: added"         //
	actThere       = "seats: there already" //
	actCounted     = "stock: looked at"     //
	actTold        = "stock: told"          //
	actNextLine    = "line: next one"       // is told of
	actReadLine    = "line: read"           // by a process
	actKnownLine   = "line: known"          // by it, from now on
)

// input is that of one operation.
type input struct {
	kind    string
	pass    int
	seats   seatSet
	slot    uint8
	now     int32
	unknown bool // nothing was answered
	process int  // that did it
}

// answer is the output of one operation, where it says more than the kind of the act.
type answer struct {
	until   int32             // of the hold, as told
	hold    uint8             // visit: the live one
	booking uint8             // visit
	spent   bool              // visit
	seats   [modelSeats]uint8 // map: 'f', 'h', 'b' or 'x'; 0: not there
	changed int               // block, unblock: how many seats
	taken   seatSet           // block: in the way
	stock   stockSeen
	next    bool // line: it is the next one
}

// stockSeen is what a look at the counter, or a fact, says.
type stockSeen struct{ rev, left, seats uint8 }

// slotFacts is what never changes of a slot.
type slotFacts struct {
	pass  int
	seats seatSet
}

// roomModel is the model of one history.
type roomModel struct {
	hold, grace, extend int32
	expires             [modelPasses]int32
	slots               [modelHolds + 1]slotFacts
}

var hashSeed = maphash.MakeSeed()

func (m *roomModel) porcupine() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return start() },
		Step: func(state, in, out any) (bool, any) {
			w := state.(world)
			ok := m.step(&w, in.(input), out.(answer))
			return ok, w
		},
		Hash:              func(state any) uint64 { return maphash.Comparable(hashSeed, state.(world)) },
		DescribeOperation: func(in, out any) string { return m.describe(in.(input), out.(answer)) },
	}
}

// step reports whether an act may be answered so in w, and changes w. An act without
// an answer does what it would do, or nothing.
func (m *roomModel) step(w *world, a input, o answer) bool {
	ok := m.may(w, a, o)
	if ok {
		m.apply(w, a, o)
	}
	return ok || a.unknown
}

// until is the deadline of a hold made at now.
func (m *roomModel) until(pass int, now int32) int32 { return min(now+m.hold, m.expires[pass]) }

// lapsed reports whether the time and the grace of a slot are over.
func (m *roomModel) lapsed(w *world, slot uint8, now int32) bool {
	return w.holds[slot].until+m.grace < now
}

// may is the rules.
func (m *roomModel) may(w *world, a input, o answer) bool {
	p, h := w.passes[a.pass], w.holds[a.slot]
	switch a.kind {
	case actHeld: // all of them free, for a pass with nothing
		if p.spent || p.hold != 0 || h.state != slotNone || a.seats&^w.forSale() != 0 || !a.unknown && o.until != m.until(a.pass, a.now) {
			return false
		}
		for i, by := range w.seats {
			if a.seats.has(i) && by != 0 {
				return false
			}
		}
		return true
	case actStands:
		return !p.spent && p.hold == a.slot && h.state == slotLive && m.slots[a.slot].seats == a.seats &&
			h.until == o.until && !m.lapsed(w, a.slot, a.now)
	case actOpen:
		return p.hold != 0 && m.slots[p.hold].seats != a.seats
	case actLapsed:
		return p.hold != 0 && m.lapsed(w, p.hold, a.now)
	case actSpent:
		return p.spent
	case actIdle:
		return !p.spent && p.hold == 0
	case actTaken, actWasFree:
		if a.seats&^w.there() != 0 {
			return false
		}
		for i, by := range w.seats {
			if a.seats.has(i) && (by != 0 || w.blocked.has(i)) != (a.kind == actTaken) {
				return false
			}
		}
		return true
	case actConfirmed: // a repeat of it may answer the same
		return h.state == slotConfirmed || h.state == slotLive && !m.lapsed(w, a.slot, a.now)
	case actNotBooked:
		return h.state != slotLive || m.lapsed(w, a.slot, a.now)
	case actReleased: // a repeat is done already, also when the sweeper was first
		return h.state != slotConfirmed && h.state != slotNone
	case actNotReleased:
		return h.state == slotConfirmed
	case actLeft:
		return true
	case actExtended:
		return h.state == slotLive && !h.extended && h.until >= a.now && (a.unknown || o.until == m.longer(w, a))
	case actTwice:
		return h.extended
	case actNotExtended: // the grace is for who pays, not for who thinks
		return h.state != slotLive || h.until < a.now
	case actExpired:
		return h.state == slotLive && m.lapsed(w, a.slot, a.now)
	case actVisit:
		return p.spent == o.spent && p.hold == o.hold && p.booking == o.booking &&
			(o.hold == 0 || w.holds[o.hold].until == o.until)
	case actMap:
		for i, by := range w.seats {
			want := byte('f')
			switch {
			case !w.there().has(i):
				want = 0
			case w.blocked.has(i):
				want = 'x'
			case by == 0:
			case w.holds[by].state == slotConfirmed:
				want = 'b'
			default:
				want = 'h'
			}
			if o.seats[i] != want {
				return false
			}
		}
		return true
	case actBlocked:
		return a.seats&^w.there() == 0 && a.seats&w.taken() == 0 && (a.unknown || o.changed == (a.seats&^w.blocked).count())
	case actNotBlocked:
		return a.seats&^w.there() == 0 && o.taken != 0 && o.taken == a.seats&w.taken()
	case actNoBlock:
		return a.seats&^w.there() != 0
	case actUnblocked:
		return a.seats&^w.there() == 0 && (a.unknown || o.changed == (a.seats&w.blocked).count())
	case actAbsent:
		return a.seats&w.there() == 0
	case actOldPass, actNotOld:
		return w.knows[a.process] == (a.kind == actOldPass)
	case actAdded, actThere:
		return w.added == (a.kind == actThere)
	case actCounted, actTold:
		return o.stock.left == w.left() && int(o.stock.seats) == w.forSale().count() &&
			o.stock.rev >= w.rev.least && o.stock.rev <= w.rev.most
	case actReadLine:
		return w.opened == o.next
	case actNextLine, actKnownLine:
		return true
	}
	panic("no such act: " + a.kind)
}

// longer is the deadline of a hold that is extended.
func (m *roomModel) longer(w *world, a input) int32 {
	return min(w.holds[a.slot].until+m.extend, m.expires[m.slots[a.slot].pass])
}

// apply is what an act changes that may happen.
func (m *roomModel) apply(w *world, a input, o answer) {
	p, h := &w.passes[a.pass], &w.holds[a.slot]
	switch a.kind {
	case actHeld:
		p.hold, h.state, h.until = a.slot, slotLive, m.until(a.pass, a.now)
		for i := range w.seats {
			if a.seats.has(i) {
				w.seats[i] = a.slot
			}
		}
	case actConfirmed:
		if h.state == slotLive {
			h.state = slotConfirmed
			w.raise(true)
			p.hold, p.booking, p.spent = 0, a.slot, true
		}
	case actReleased:
		if h.state == slotLive {
			m.end(w, a.slot, slotReleased)
		}
	case actLeft:
		if p.hold != 0 {
			m.end(w, p.hold, slotReleased)
		}
		p.spent = true
	case actExtended:
		h.until, h.extended = m.longer(w, a), true
	case actExpired:
		m.end(w, a.slot, slotExpired)
	case actAdded:
		w.added = true
		w.raise(false)
	case actBlocked:
		if a.seats&^w.blocked != 0 {
			w.blocked |= a.seats
			w.raise(false)
		}
	case actUnblocked:
		if a.seats&w.blocked != 0 {
			w.blocked &^= a.seats
			w.raise(false)
		}
	case actCounted, actTold:
		w.rev.least, w.rev.most, w.rev.shared = o.stock.rev, o.stock.rev, false
	case actNextLine:
		w.opened = true
	case actKnownLine:
		w.knows[a.process] = o.next
	}
}

// end frees what a live slot holds.
func (m *roomModel) end(w *world, slot, state uint8) {
	w.holds[slot].state = state
	w.passes[m.slots[slot].pass].hold = 0
	for i, by := range w.seats {
		if by == slot {
			w.seats[i] = 0
		}
	}
}

func (m *roomModel) describe(a input, o answer) string {
	text := fmt.Sprintf("%s pass %d", a.kind, a.pass)
	if a.seats != 0 {
		text += " seats " + a.seats.String()
	}
	if a.slot != 0 {
		text += fmt.Sprintf(" hold %d", a.slot)
	}
	text += fmt.Sprintf(" now %d", a.now)
	switch {
	case a.unknown:
		text += " → ?"
	case a.kind == actVisit:
		text += fmt.Sprintf(" → spent %t hold %d until %d booking %d", o.spent, o.hold, o.until, o.booking)
	case a.kind == actCounted || a.kind == actTold:
		text += fmt.Sprintf(" → rev %d: %d of %d left", o.stock.rev, o.stock.left, o.stock.seats)
	case a.kind == actBlocked || a.kind == actUnblocked || a.kind == actNotBlocked:
		text += fmt.Sprintf(" → %d, in the way %s", o.changed, o.taken)
	case a.kind == actReadLine || a.kind == actKnownLine:
		text += fmt.Sprintf(" process %d → the next: %t", a.process, o.next)
	case a.kind == actOldPass || a.kind == actNotOld:
		text += fmt.Sprintf(" process %d", a.process)
	case a.kind == actMap:
		text += " → " + string(o.seats[:])
	case o.until != 0:
		text += fmt.Sprintf(" → until %d", o.until)
	}
	return text
}

func (s seatSet) count() int { return bits.OnesCount8(uint8(s)) }

func (s seatSet) ids() (list []seat.ID) {
	for i := range modelSeats {
		if s.has(i) {
			list = append(list, modelSeat(i))
		}
	}
	return list
}

func (s seatSet) String() string { return joined(s.ids()) }

// modelSeat names seat i: one row, in the order of seat.Ask.
func modelSeat(i int) seat.ID { return seat.ID(fmt.Sprintf("A-%d", i+1)) }

// setOf is the set of some seats of the model; ok is false when one is none of it.
func setOf(list []seat.ID) (set seatSet, ok bool) {
	for _, id := range list {
		i := slices.IndexFunc([]int{0, 1, 2, 3, 4}, func(i int) bool { return modelSeat(i) == id })
		if i < 0 || set.has(i) {
			return set, false
		}
		set |= 1 << i
	}
	return set, true
}

// written is a whole history, one line per operation in the order of their calls.
func (m *roomModel) written(ops []porcupine.Operation) string {
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&b, "%3d %8d..%-8d %s\n", o.ClientId, o.Call/1000, o.Return/1000, m.describe(o.Input.(input), o.Output.(answer)))
	}
	return b.String()
}
