package booking

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// A purchase is what one pass comes to: its admission's row, and the hold that the
// row points to. The pass may hold, give back and hold again until it is spent; each
// hold is made once and ends once:
//
//	      hold           confirm, until its time and grace are over
//	none ──────► live ───────────────────────────────────────────► confirmed, pass spent
//	             │  ▲
//	             │  └─ extend, once
//	             ├─ release; leave, which spends the pass ────────► released
//	             ├─ its time and grace are over (sweeper only) ───► expired
//	             └─ its rows contradict each other (sweeper only) ► aside, for an operator
//
// What is drawn is all there is: moves lists it, and every change of a hold's state goes
// through end. Payment that takes its time will stand between live and confirmed.
const (
	live      = "live"
	confirmed = "confirmed"
	released  = "released"
	expired   = "expired"
	aside     = "aside"
)

// moves are the states that a hold may go to.
var moves = map[string][]string{live: {confirmed, released, expired, aside}}

// errLost is an act that came too late: someone else was first, or time is over. It
// never leaves the package.
var errLost = errors.New("someone else was first")

// errAlone is an act that can't be decided among others: a row that it needs is locked
// by a stranger. It is run again by itself, and waits for that row.
var errAlone = errors.New("a row is locked by somebody else")

// wish is what an act asks for.
type wish int

const (
	toHold wish = iota
	toConfirm
	toRelease
	toLeave
	toExtend
)

// act is one visitor's wish, and what became of it.
type act struct {
	kind wish
	pass token.Pass
	key  Key         // under which it was asked, if any
	id   string      // of the admission
	hold seat.HoldID // which one to confirm, release or extend; of toHold: the id it gets
	now  time.Time   // on the seats' clock, when it was asked

	seats    []seat.ID     // of toHold, sorted
	payment  string        // of toConfirm
	captured bool          // of toConfirm: there is no money to be captured
	longer   time.Duration // of toExtend

	// What became of it, written by who decides.
	got       holdRow
	fresh     bool   // of toHold: got is new
	reference string // of toConfirm
	err       error
}

// decide is what an act comes to, by rows that nobody else can change meanwhile: what it
// came to before under its key, or else by the rule, and then its key is kept.
func (t *table) decide(a *act) error {
	if t.held[a.id] {
		return errAlone
	}
	if a.key.word == "" {
		return t.rule(a)
	}
	if repeated, err := t.repeat(a); repeated {
		return err
	}
	err := t.rule(a)
	t.keep(a, err)
	return err
}

// rule is the purchase's: it changes rows and notes the facts, or returns why not and
// changes nothing.
func (t *table) rule(a *act) error {
	p := t.admissions[a.id]
	switch a.kind {
	case toHold:
		return t.decideHold(a, p)
	case toLeave:
		return t.decideLeave(a, p)
	}
	h := t.holds[a.hold]
	if h == nil || h.Admission != a.id {
		return seat.ErrNoHold
	}
	switch a.kind {
	case toConfirm:
		return t.decideConfirm(a, p, h)
	case toRelease:
		switch {
		case h.State == confirmed || h.State == aside:
			return seat.ErrHoldEnded
		case h.State != live:
			return nil // done already
		}
		return t.giveBack(a, p, h, released)
	}
	return t.decideExtend(a, p, h)
}

// decideHold holds all of the seats or none.
func (t *table) decideHold(a *act, p *admissionRow) error {
	if p == nil {
		return errAlone // its row was not there, and could not be made now
	}
	if p.SpentMS != 0 {
		return seat.ErrPassSpent
	}
	if p.Hold != "" {
		has := t.holds[seat.HoldID(p.Hold)]
		switch {
		case has != nil && has.State == aside: // stays as it is, and keeps nobody from another
		case has == nil || has.State != live:
			return broken("pass %s points to hold %s, which is not live", a.id, p.Hold)
		case has.Seats != joined(a.seats):
			return seat.ErrHoldOpen
		case t.rules.lapsed(*has, a.now):
			return seat.ErrHoldEnded // the sweeper is about to end it
		default:
			a.got = *has
			return nil
		}
	}
	if t.rules.past(a.pass) {
		return seat.ErrEpoch
	}
	var unknown, taken []seat.ID
	var amount int64
	var currency string
	locked := false
	for _, id := range a.seats {
		s := t.seats[key{a.pass.Room, id}]
		switch {
		case s == nil:
			unknown = append(unknown, id)
		case s.State != seat.Free:
			taken = append(taken, id)
		case s.locked:
			locked = true
		case s.Amount == 0: // costs nothing, in any currency, also one that a hand wrote
		case s.Check() != nil: // added by hand, as the next, or the sum might not fit
			return broken("seat %s of room %s: %s", id, a.pass.Room, s.Check())
		case currency != "" && s.Currency != currency:
			return broken("seats %s of room %s cost two currencies", joined(a.seats), a.pass.Room)
		default:
			amount, currency = amount+s.Amount, s.Currency
		}
	}
	switch {
	case len(unknown) == len(a.seats) && t.bare[a.pass.Room]:
		return seat.ErrNoRoom
	case len(unknown) > 0:
		return fmt.Errorf("%w: %s", seat.ErrUnknown, joined(unknown))
	case len(taken) > 0:
		return &seat.TakenError{Seats: taken}
	case locked:
		return errAlone
	}
	until := a.now.Add(t.rules.Hold)
	if a.pass.Expires.Before(until) {
		until = a.pass.Expires
	}
	h := &holdRow{ID: a.hold, Admission: a.id, Room: a.pass.Room, Seats: joined(a.seats), State: live,
		UntilMS: until.UnixMilli(), Amount: amount, Currency: currency}
	for _, id := range a.seats {
		t.move(h.Room, id, seat.Held, h.ID)
	}
	t.holds[h.ID], t.made = h, append(t.made, h)
	p.Hold = string(h.ID)
	t.changed(p)
	t.tell(holdFact(events.TypeHeld, *h, a.now))
	a.got, a.fresh = *h, true
	return nil
}

// decideConfirm books the seats and spends the pass. errLost: the hold has ended, or
// its time and grace are over.
func (t *table) decideConfirm(a *act, p *admissionRow, h *holdRow) error {
	if p == nil || p.SpentMS != 0 || p.Hold != string(h.ID) || h.State != live || t.rules.lapsed(*h, a.now) {
		return errLost
	}
	if err := t.owns(h); err != nil {
		return err
	}
	for _, id := range h.seats() {
		t.move(h.Room, id, seat.Booked, h.ID)
	}
	t.end(h, confirmed, a.now)
	p.Hold, p.Booking, p.SpentMS = "", string(h.ID), a.now.UnixMilli()
	t.changed(p)
	t.booked = append(t.booked, sold{hold: h, act: a})
	t.tell(holdFact(events.TypeConfirmed, *h, a.now))
	t.tell(finishedFact(a.pass.Admission, a.now))
	a.got = *h
	return nil
}

// decideLeave ends the visit: the live hold is released, the pass spent.
func (t *table) decideLeave(a *act, p *admissionRow) error {
	if p == nil {
		return errAlone
	}
	if p.SpentMS != 0 {
		return nil // done already
	}
	h := t.holds[seat.HoldID(p.Hold)]
	switch {
	case p.Hold == "" || h != nil && h.State == aside: // what was set aside stays as it is
	case h == nil || h.State != live:
		return broken("pass %s points to hold %s, which is not live", a.id, p.Hold)
	default:
		if err := t.giveBack(a, p, h, released); err != nil {
			return err
		}
	}
	p.SpentMS = a.now.UnixMilli()
	t.changed(p)
	t.tell(finishedFact(a.pass.Admission, a.now))
	return nil
}

// decideExtend gives a live hold more time.
func (t *table) decideExtend(a *act, p *admissionRow, h *holdRow) error {
	if p == nil || p.Hold != string(h.ID) {
		return seat.ErrHoldEnded
	}
	if err := a.extend(h); err != nil {
		return err
	}
	t.moved(h)
	a.got = *h
	return nil
}

// extend gives a hold more time, once, while it lasts, and never more than its pass has.
// What a visitor is offered is what it would give.
func (a *act) extend(h *holdRow) error {
	switch {
	case h.State != live || h.UntilMS < a.now.UnixMilli():
		return seat.ErrHoldEnded
	case h.Extended != 0 || a.longer <= 0:
		return seat.ErrExtended
	}
	h.UntilMS = max(h.UntilMS, min(h.UntilMS+a.longer.Milliseconds(), a.pass.Expires.UnixMilli()))
	h.Extended = 1
	return nil
}

// giveBack ends a live hold without a booking: its seats are free, and the pass may
// hold again.
func (t *table) giveBack(a *act, p *admissionRow, h *holdRow, state string) error {
	if p == nil || p.Hold != string(h.ID) || p.SpentMS != 0 {
		return broken("hold %s is live, and its pass %s is spent or does not point to it", h.ID, h.Admission)
	}
	if err := t.owns(h); err != nil {
		return err
	}
	for _, id := range h.seats() {
		t.move(h.Room, id, seat.Free, "")
	}
	t.end(h, state, a.now)
	p.Hold = ""
	t.changed(p)
	typ := events.TypeReleased
	if state == expired {
		typ = events.TypeExpired
	}
	t.tell(holdFact(typ, *h, a.now))
	return nil
}

// end is the only way out of live.
func (t *table) end(h *holdRow, state string, now time.Time) {
	if !slices.Contains(moves[h.State], state) {
		panic(fmt.Sprintf("booking: hold %s from %s to %s", h.ID, h.State, state)) // a rule above let it
	}
	h.State, h.EndedMS = state, now.UnixMilli()
	t.moved(h)
}

// owns returns nil when a live hold has all of its seats, as it must.
func (t *table) owns(h *holdRow) error {
	for _, id := range h.seats() {
		if s := t.seats[key{h.Room, id}]; s == nil || s.State != seat.Held || s.Hold != h.ID {
			return broken("hold %s is live and does not hold seat %s of room %s", h.ID, id, h.Room)
		}
	}
	return nil
}

// errBroken is rows that contradict each other, as a hand in the database leaves them.
var errBroken = errors.New("invariant broken")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBroken, fmt.Sprintf(format, args...))
}

type admissionRow struct {
	ID      string `db:"id"`
	Hold    string `db:"hold"`
	Booking string `db:"booking"`
	SpentMS int64  `db:"spent_ms"`
}

type holdRow struct {
	ID        seat.HoldID `db:"id"`
	Admission string      `db:"admission"`
	Room      room.Name   `db:"room"`
	Seats     string      `db:"seats"`
	State     string      `db:"state"`
	UntilMS   int64       `db:"until_ms"`
	EndedMS   int64       `db:"ended_ms"`
	Amount    int64       `db:"amount"`
	Currency  string      `db:"currency"`
	Extended  int         `db:"extended"`
}

const holdColumns = "id, admission, room, seats, state, until_ms, ended_ms, amount, currency, extended"

func (h holdRow) seats() []seat.ID {
	parts := strings.Split(h.Seats, ",")
	ids := make([]seat.ID, len(parts))
	for i, p := range parts {
		ids[i] = seat.ID(p)
	}
	return ids
}

// hold is a live one as its visitor sees it.
func (r Rules) hold(h holdRow, pass token.Pass) seat.Hold {
	longer := h
	_ = (&act{pass: pass, longer: r.Extend}).extend(&longer) // refused, it has no more time than before
	return seat.Hold{ID: h.ID, Seats: h.seats(), Until: time.UnixMilli(h.UntilMS),
		More: time.Duration(longer.UntilMS-h.UntilMS) * time.Millisecond, Amount: h.Amount, Currency: h.Currency}
}

func joined(seats []seat.ID) string {
	parts := make([]string, len(seats))
	for i, id := range seats {
		parts[i] = string(id)
	}
	return strings.Join(parts, ",")
}

// lapsed reports whether a hold's time and grace are over.
func (r Rules) lapsed(h holdRow, now time.Time) bool {
	return h.UntilMS+r.Grace.Milliseconds() < now.UnixMilli()
}

// holdFact is a fact about a hold. A hold is made once and resolved once, so its
// id and the fact's kind name the fact uniquely.
func holdFact(typ string, h holdRow, now time.Time) events.Booking {
	a, _ := room.ParseAdmission(h.Admission) // a row of ours: written from an Admission
	return events.Booking{
		Type: typ, ID: string(h.ID) + "." + typ, Room: h.Room, Epoch: a.Epoch,
		Admission: h.Admission, Hold: string(h.ID), Seats: h.seats(), AtMS: now.UnixMilli(),
	}
}

// finishedFact says that the slot of an admission is free again. A pass is spent
// once, so the admission names it uniquely.
func finishedFact(a room.Admission, now time.Time) events.Booking {
	return events.Booking{
		Type: events.TypeFinished, ID: a.String() + "." + events.TypeFinished, Room: a.Room, Epoch: a.Epoch,
		Admission: a.String(), AtMS: now.UnixMilli(),
	}
}
