package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/outbox"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
	"waitroom/internal/sqldb"
)

// key names a seat among those of all rooms.
type key struct {
	room room.Name
	id   seat.ID
}

type seatRow struct {
	ID    seat.ID     `db:"id"`
	State seat.State  `db:"state"`
	Hold  seat.HoldID `db:"hold"`
	seat.Price

	locked bool // by a stranger, who may be about to take it
}

// sold is a hold on its way to a booking.
type sold struct {
	hold *holdRow
	act  *act
}

// table is the rows that one transaction decides by. It locks them in one order, which
// is that of every transaction of the shop: admissions by id, seats by name, the
// counter of a room last. Who has an admission's row has its holds and their seats too:
// nobody else may change them. So a batch, which takes only rows that nobody has locked,
// waits for no one before it writes the counter, or a second for somebody who is just
// making an admission's row.
type table struct {
	store *Store
	tx    *sqlx.Tx
	rules Rules
	wait  bool // for rows that somebody has locked; else they are passed over

	admissions map[string]*admissionRow
	held       map[string]bool // admissions that are locked by somebody else
	holds      map[seat.HoldID]*holdRow
	seats      map[key]*seatRow
	bare       map[room.Name]bool   // rooms without any seat
	keys       map[string]*usedKeys // of admissions that ask under one

	// What the acts changed, in order of the first change.
	wasAdmission map[string]admissionRow
	wasSeat      map[key]seatRow
	made         []*holdRow
	ended        []*holdRow // or extended; those of made are not in it
	booked       []sold
	facts        []events.Record
	kept         []keyRow
}

func newTable(s *Store, tx *sqlx.Tx, wait bool) *table {
	return &table{store: s, tx: tx, rules: s.rules, wait: wait,
		admissions: map[string]*admissionRow{}, held: map[string]bool{}, holds: map[seat.HoldID]*holdRow{}, seats: map[key]*seatRow{},
		bare: map[room.Name]bool{}, keys: map[string]*usedKeys{}, wasAdmission: map[string]admissionRow{}, wasSeat: map[key]seatRow{}}
}

func (t *table) tell(b events.Booking) { t.facts = append(t.facts, events.EncodeBooking(b)) }

// changed is called before p is written; its fields may have new values already, so what
// it was is what load read.
func (t *table) changed(p *admissionRow) {
	if _, noted := t.wasAdmission[p.ID]; !noted {
		panic("booking: an admission that was not loaded changes") // load notes each
	}
	t.admissions[p.ID] = p
}

// moved notes a hold whose row changes.
func (t *table) moved(h *holdRow) {
	if !slices.Contains(t.made, h) && !slices.Contains(t.ended, h) {
		t.ended = append(t.ended, h)
	}
}

// move gives a seat another state.
func (t *table) move(name room.Name, id seat.ID, to seat.State, by seat.HoldID) {
	k := key{name, id}
	s := t.seats[k]
	if _, noted := t.wasSeat[k]; !noted {
		t.wasSeat[k] = *s
	}
	s.State, s.Hold = to, by
}

// load locks and reads what the acts need.
func (t *table) load(ctx context.Context, acts []*act) error {
	var ids []string
	fresh := map[string]*act{} // of whom the row may be made
	for _, a := range acts {
		ids = append(ids, a.id)
		if a.kind == toHold || a.kind == toLeave {
			fresh[a.id] = a
		}
	}
	if err := t.loadAdmissions(ctx, unique(ids), fresh); err != nil {
		return err
	}
	if err := t.loadKeys(ctx, acts); err != nil {
		return err
	}
	var holds []string
	for _, a := range acts {
		if a.hold != "" && a.kind != toHold {
			holds = append(holds, string(a.hold))
		}
		if used := t.keys[a.id]; used != nil {
			for _, k := range used.rows {
				if k.Word == a.key.word && k.Hold != "" {
					holds = append(holds, string(k.Hold))
				}
			}
		}
	}
	for _, p := range t.admissions {
		if p.Hold != "" {
			holds = append(holds, p.Hold)
		}
	}
	if err := t.loadHolds(ctx, unique(holds)); err != nil {
		return err
	}
	asked := map[room.Name][]string{}
	for _, a := range acts {
		for _, id := range a.seats {
			asked[a.pass.Room] = append(asked[a.pass.Room], string(id))
		}
	}
	if err := t.loadSeats(ctx, asked, seat.Free); err != nil {
		return err
	}
	for _, a := range acts {
		if _, known := t.bare[a.pass.Room]; a.kind != toHold || known || slices.ContainsFunc(a.seats, func(id seat.ID) bool { return t.seats[key{a.pass.Room, id}] != nil }) {
			continue
		}
		var n int
		if err := t.tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM stock WHERE room = ?", a.pass.Room); err != nil {
			return err
		}
		t.bare[a.pass.Room] = n == 0
	}
	return nil
}

// loadAdmissions locks the rows of passes. One that is not there yet is made for an act
// of fresh: Kafka brings the record, not the permission.
func (t *table) loadAdmissions(ctx context.Context, ids []string, fresh map[string]*act) error {
	read := func(ids []string) (missing []string, err error) {
		if len(ids) == 0 {
			return nil, nil
		}
		var rows []admissionRow
		err = t.query(ctx, &rows, "SELECT id, hold, booking, spent_ms FROM admissions WHERE id IN (?) ORDER BY id"+t.lock(), ids)
		for _, r := range rows {
			t.admissions[r.ID], t.wasAdmission[r.ID] = &r, r
		}
		missing = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return t.admissions[id] != nil })
		return missing, err
	}
	missing, err := read(ids)
	if err != nil || len(missing) == 0 {
		return err
	}
	if t.skips() {
		var there []string
		if err := t.query(ctx, &there, "SELECT id FROM admissions WHERE id IN (?)", missing); err != nil {
			return err
		}
		for _, id := range there {
			t.held[id] = true
		}
		missing = slices.DeleteFunc(missing, func(id string) bool { return t.held[id] })
	}
	missing = slices.DeleteFunc(missing, func(id string) bool { return fresh[id] == nil })
	if len(missing) == 0 {
		return nil
	}
	var args []any
	for _, id := range missing {
		args = append(args, id, 0, fresh[id].now.UnixMilli(), "", "", 0)
	}
	// A row that somebody is just making can't be passed over: it is waited for, a second.
	if t.skips() {
		if _, err := t.tx.ExecContext(ctx, waitLess); err != nil {
			return err
		}
	}
	_, err = t.tx.ExecContext(ctx, t.store.insertNew()+" INTO admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms) VALUES "+
		rows(len(missing), 6), args...)
	if t.skips() {
		if _, err := t.tx.ExecContext(context.WithoutCancel(ctx), waitOn); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	missing, err = read(missing)
	for _, id := range missing {
		t.held[id] = true // somebody made it at the same moment
	}
	return err
}

func (t *table) loadHolds(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	var rows []holdRow
	if err := t.query(ctx, &rows, "SELECT "+holdColumns+" FROM holds WHERE id IN (?)", ids); err != nil {
		return err
	}
	for _, r := range rows {
		t.holds[r.ID] = &r
	}
	return nil
}

// loadSeats reads the seats that were asked for and those of the holds, and locks those
// that were asked for and are in a state. The others are their hold's: who has its
// admission's row has them.
func (t *table) loadSeats(ctx context.Context, asked map[room.Name][]string, in seat.State) error {
	all := map[room.Name][]string{}
	for name, ids := range asked {
		all[name] = append(all[name], ids...)
	}
	for _, h := range t.holds {
		if h.State == live {
			for _, id := range h.seats() {
				all[h.Room] = append(all[h.Room], string(id))
			}
		}
	}
	for _, name := range sorted(all) {
		var rows []seatRow
		err := t.query(ctx, &rows, "SELECT id, state, hold, amount, currency FROM seats WHERE room = ? AND id IN (?)", name, unique(all[name]))
		if err != nil {
			return err
		}
		var free []string
		for _, r := range rows {
			t.seats[key{name, r.ID}] = &r
			if r.State == in && slices.Contains(asked[name], string(r.ID)) {
				free = append(free, string(r.ID))
			}
		}
		if len(free) == 0 || t.lock() == "" {
			continue
		}
		var locked []seatRow
		err = t.query(ctx, &locked, "SELECT id, state, hold, amount, currency FROM seats WHERE room = ? AND id IN (?) AND state = ? ORDER BY id"+t.lock(), name, unique(free), in)
		if err != nil {
			return err
		}
		for _, id := range free {
			t.seats[key{name, seat.ID(id)}].locked = true
		}
		for _, r := range locked {
			t.seats[key{name, r.ID}] = &r
		}
		if !t.wait {
			continue
		}
		// Having waited, what is free no more is somebody's: read whose.
		free = slices.DeleteFunc(free, func(id string) bool { return !t.seats[key{name, seat.ID(id)}].locked })
		if len(free) == 0 {
			continue
		}
		if err := t.query(ctx, &rows, "SELECT id, state, hold, amount, currency FROM seats WHERE room = ? AND id IN (?)", name, free); err != nil {
			return err
		}
		for _, r := range rows {
			r.locked = true
			t.seats[key{name, r.ID}] = &r
		}
	}
	return nil
}

// write brings what the acts changed into the database. Each statement says what it
// expects to find; what does not is errBroken, and nothing is changed.
func (t *table) write(ctx context.Context, now time.Time) error {
	for _, step := range []func(context.Context) error{t.writeAdmissions, t.writeSeats, t.writeHolds, t.writeBookings} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := t.writeLog(ctx, now); err != nil {
		return err
	}
	if err := t.writeKeys(ctx, now); err != nil {
		return err
	}
	if err := t.writeFacts(ctx, t.facts); err != nil {
		return err
	}
	// Every confirm of a room meets in the counter's row, so it comes last.
	told, err := t.count(ctx, now)
	if err != nil {
		return err
	}
	return t.writeFacts(ctx, told)
}

func (t *table) writeFacts(ctx context.Context, facts []events.Record) error {
	if len(facts) == 0 {
		return nil
	}
	return outbox.Add(ctx, t.tx, facts...)
}

func (t *table) writeAdmissions(ctx context.Context) error {
	var was []admissionRow
	for _, id := range sorted(t.wasAdmission) {
		if *t.admissions[id] != t.wasAdmission[id] {
			was = append(was, t.wasAdmission[id])
		}
	}
	if len(was) == 0 {
		return nil
	}
	u := update{of: "id"}
	for _, w := range was {
		p := t.admissions[w.ID]
		u.row(w.ID, p.Hold, p.Booking, p.SpentMS, w.Hold)
	}
	return u.run(ctx, t.tx, "admissions", []string{"hold", "booking", "spent_ms"}, []string{"hold"}, "spent_ms = 0")
}

func (t *table) writeSeats(ctx context.Context) error {
	byRoom := map[room.Name][]seat.ID{}
	for k, was := range t.wasSeat {
		if *t.seats[k] != was {
			byRoom[k.room] = append(byRoom[k.room], k.id)
		}
	}
	for _, name := range sorted(byRoom) {
		ids := byRoom[name]
		slices.Sort(ids)
		u := update{of: "id"}
		for _, id := range ids {
			was, is := t.wasSeat[key{name, id}], t.seats[key{name, id}]
			u.row(id, is.State, is.Hold, was.State, was.Hold)
		}
		if err := u.run(ctx, t.tx, "seats", []string{"state", "hold"}, []string{"state", "hold"}, "room = ?", name); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) writeHolds(ctx context.Context) error {
	if len(t.made) > 0 {
		var args []any
		for _, h := range t.made {
			args = append(args, h.ID, h.Admission, h.Room, h.Seats, h.State, h.UntilMS, h.EndedMS, h.Amount, h.Currency, h.Extended)
		}
		if _, err := t.tx.ExecContext(ctx, "INSERT INTO holds ("+holdColumns+") VALUES "+rows(len(t.made), 10), args...); err != nil {
			return err
		}
	}
	if len(t.ended) == 0 {
		return nil
	}
	slices.SortFunc(t.ended, func(a, b *holdRow) int { return strings.Compare(string(a.ID), string(b.ID)) })
	u := update{of: "id"}
	for _, h := range t.ended {
		u.row(h.ID, h.State, h.UntilMS, h.EndedMS, h.Extended)
	}
	return u.run(ctx, t.tx, "holds", []string{"state", "until_ms", "ended_ms", "extended"}, nil, "state = 'live'")
}

func (t *table) writeBookings(ctx context.Context) error {
	if len(t.booked) == 0 {
		return nil
	}
	var seats, bookings []any
	n := 0
	for _, b := range t.booked {
		for _, id := range b.hold.seats() {
			seats, n = append(seats, b.hold.Room, id, b.hold.ID), n+1
		}
		var captured int64
		if b.act.captured {
			captured = b.hold.EndedMS
		}
		b.act.reference = seat.NewReference()
		bookings = append(bookings, b.hold.ID, b.hold.Admission, b.hold.Room, b.act.payment, b.hold.EndedMS, captured,
			b.hold.EndedMS+captureAfter.Milliseconds(), b.hold.Amount, b.hold.Currency, b.act.reference)
	}
	if _, err := t.tx.ExecContext(ctx, "INSERT INTO booked_seats (room, seat, hold) VALUES "+rows(n, 3), seats...); err != nil {
		return err
	}
	_, err := t.tx.ExecContext(ctx, "INSERT INTO bookings (hold, admission, room, payment, booked_ms, captured_ms, capture_ms, amount, currency, reference) VALUES "+
		rows(len(t.booked), 10), bookings...)
	return err
}

// writeLog notes which seats changed, for the maps.
func (t *table) writeLog(ctx context.Context, now time.Time) error {
	byRoom := map[room.Name][]seat.Seat{}
	for k, was := range t.wasSeat {
		if is := t.seats[k]; is.State != was.State {
			byRoom[k.room] = append(byRoom[k.room], seat.Seat{ID: k.id, State: is.State})
		}
	}
	for _, name := range sorted(byRoom) {
		if err := seatmap.Log(ctx, t.tx, name, now, byRoom[name]); err != nil {
			return err
		}
	}
	return nil
}

// lock is what a reading statement has at its end; "" on SQLite, where whoever has begun
// is the only one who writes.
func (t *table) lock() string { return t.store.db.ForUpdate(!t.wait) }

func (t *table) skips() bool { return t.lock() != "" && !t.wait }

// query reads rows; lists among args become IN lists.
func (t *table) query(ctx context.Context, dest any, query string, args ...any) error {
	query, args, err := sqlx.In(query, args...)
	if err != nil {
		return err
	}
	return t.tx.SelectContext(ctx, dest, query, args...)
}

// update is one statement that gives each of many rows values of its own.
type update struct {
	of   string // the column that names a row
	keys []any
	vals [][]any
}

func (u *update) row(key any, vals ...any) {
	u.keys, u.vals = append(u.keys, key), append(u.vals, vals)
}

// run sets columns where each row of was is what it was, and the condition holds. A row
// that is not as expected is errBroken: the rows are locked, so nobody can have been first.
func (u *update) run(ctx context.Context, tx *sqlx.Tx, table string, set, was []string, condition string, args ...any) error {
	var text strings.Builder
	var all []any
	choose := func(column int) {
		text.WriteString("CASE " + u.of)
		for i, k := range u.keys {
			text.WriteString(" WHEN ? THEN ?")
			all = append(all, k, u.vals[i][column])
		}
		text.WriteString(" END")
	}
	text.WriteString("UPDATE " + table + " SET ")
	for i, column := range set {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(column + " = ")
		choose(i)
	}
	text.WriteString(" WHERE " + condition + " AND " + u.of + " IN (?" + strings.Repeat(", ?", len(u.keys)-1) + ")")
	all = append(append(all, args...), u.keys...)
	for i, column := range was {
		text.WriteString(" AND " + column + " = ")
		choose(len(set) + i)
	}
	result, err := tx.ExecContext(ctx, text.String(), all...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n != int64(len(u.keys)) {
		return broken("%d of %d rows of %s are as they were read", n, len(u.keys), table)
	}
	return err
}

// rows is "(?, ?), (?, ?)" of n rows.
func rows(n, columns int) string {
	one := "(?" + strings.Repeat(", ?", columns-1) + ")"
	return one + strings.Repeat(", "+one, n-1)
}

func unique(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

func sorted[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// transact decides acts in their order in one transaction. Those that are errAlone are to
// be run by themselves. An error: none of them is decided.
func (s *Store) transact(ctx context.Context, acts []*act, wait bool) error {
	now := acts[0].now
	for _, a := range acts {
		if a.now.After(now) {
			now = a.now
		}
	}
	decided := make([]error, len(acts))
	once := func() error {
		return s.tx(ctx, func(tx *sqlx.Tx) error {
			t := newTable(s, tx, wait)
			if err := t.load(ctx, acts); err != nil {
				return t.contended(err)
			}
			for i, a := range acts {
				a.got, a.fresh = holdRow{}, false
				decided[i] = t.decide(a)
			}
			return t.contended(t.write(ctx, now))
		})
	}
	err := once()
	for i := 1; wait && i < referenceTries && sqldb.IsDuplicate(err); i++ {
		err = once() // with another reference
	}
	if err != nil {
		return err
	}
	for i, a := range acts {
		a.err = decided[i]
	}
	return nil
}

// errContended is a batch that met somebody else's locks after all: its acts are tried one
// by one, and those wait.
var errContended = errors.New("met somebody else's locks")

// contended keeps a batch from being run again as it is, which would keep everybody in it
// waiting for one.
func (t *table) contended(err error) error {
	if err != nil && !t.wait && sqldb.Contended(err) {
		return fmt.Errorf("%w: %s", errContended, err)
	}
	return err
}
