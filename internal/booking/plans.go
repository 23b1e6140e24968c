package booking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
	"waitroom/internal/sqldb"
	"waitroom/internal/venue"
)

// planTries bounds how often an import begins again because somebody else changed the
// room's plan meanwhile: an operator, so once as a rule.
const planTries = 5

// as reports whether the seat is as a plan has it.
func (r planRow) as(p venue.Seat) bool {
	return r.Category == p.Category && r.Unnumbered == p.Unnumbered && r.Price == p.Price
}

// Imported is what an import did, or would do.
type Imported struct {
	Added   int // seats that the room lacked
	Changed int // free or blocked ones that have another category or price now
	Same    int // as the plan has them
	Kept    int // held or booked ones that differ from the plan, and stay as they are
	Removed int // free ones that the plan lacks
	Missing int // others that the plan lacks, which stay
}

// ImportHow says what an import may do.
type ImportHow struct {
	RemoveMissing bool // free seats that the plan lacks go
	DryRun        bool // nothing is written
}

// Import brings the seats of a room to a plan, all or nothing: it adds those that the room
// lacks, and gives those that nobody holds or has booked the plan's category and price. The
// same plan again changes nothing. seat.ErrCurrency: seats that stay cost another currency.
//
// It is one transaction. What it adds nobody waits for, and it comes first; free seats that
// change are locked in the order in which holds lock them, for as long as the rest takes,
// and a hold of one waits for it; the counter comes last, as everywhere, so that confirms
// wait for the commit alone. Nothing keeps a second import from beginning: the counter's
// plan, which goes up with each, says whether the room is still as it was read, and who
// comes second begins again.
func (s *Store) Import(ctx context.Context, name room.Name, plan *venue.Plan, how ImportHow) (done Imported, err error) {
	if how.DryRun {
		var have []planRow
		if err := s.db.SelectContext(ctx, &have, "SELECT "+planColumns+" FROM seats WHERE room = ?", name); err != nil {
			return Imported{}, err
		}
		c := compare(have, plan, how)
		return c.done, c.check(name)
	}
	if _, err = s.db.Write(ctx, s.insertNew()+" INTO stock (room, seats, booked) VALUES (?, 0, 0)", name); err != nil {
		return Imported{}, err
	}
	now, err := moments{s}.now(ctx)
	if err != nil {
		return Imported{}, err
	}
	for range planTries {
		err = s.tx(ctx, func(tx *sqlx.Tx) (err error) {
			done, err = s.importOnce(ctx, tx, name, plan, how, now)
			return err
		})
		if !errors.Is(err, errLost) && !sqldb.IsDuplicate(err) {
			break
		}
		err = fmt.Errorf("%w: the room's plan is being changed by somebody else", sqldb.ErrAway)
	}
	if err != nil {
		return Imported{}, err
	}
	return done, nil
}

func (s *Store) importOnce(ctx context.Context, tx *sqlx.Tx, name room.Name, plan *venue.Plan, how ImportHow, now time.Time) (done Imported, err error) {
	var read int64 // before the seats: what is changed after it is found at the end
	if err := tx.GetContext(ctx, &read, "SELECT plan FROM stock WHERE room = ?", name); err != nil {
		return done, err
	}
	var have []planRow
	if err := tx.SelectContext(ctx, &have, "SELECT "+planColumns+" FROM seats WHERE room = ?", name); err != nil {
		return done, err
	}
	c := compare(have, plan, how)
	if err := c.check(name); err != nil {
		return done, err
	}
	for chunk := range slices.Chunk(c.add, seatRows) {
		args := make([]any, 0, 6*len(chunk))
		for _, p := range chunk {
			args = append(args, name, p.ID, seat.Free, "", p.Amount, p.Currency, p.Category, p.Unnumbered)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO seats (room, id, state, hold, amount, currency, category, unnumbered) VALUES "+rows(len(chunk), 8), args...)
		if err != nil {
			return done, err
		}
	}
	for chunk := range slices.Chunk(c.touch, seatRows) {
		if err := s.touch(ctx, tx, name, &c, chunk); err != nil {
			return done, err
		}
	}
	if len(c.add) == 0 && c.done.Changed+c.done.Removed == 0 {
		return c.done, nil
	}
	if err := c.check(name); err != nil { // of what was found locked
		return done, err
	}
	if err := seatmap.LogPlan(ctx, tx, name, now); err != nil {
		return done, err
	}
	if err := change(ctx, tx, "UPDATE stock SET plan = plan + 1 WHERE room = ? AND plan = ?", name, read); err != nil {
		return done, err
	}
	return c.done, s.recount(ctx, tx, name, c.done.Added-c.done.Removed, now)
}

// target is what becomes of a seat that the room has.
type target struct {
	id     seat.ID
	remove bool
	to     venue.Seat // unless it is removed
	is     planRow
}

// comparison is how a room differs from a plan.
type comparison struct {
	add   []venue.Seat // by name
	touch []target     // by name, which is how transactions lock seats
	done  Imported     // as if nobody holds any of touch until they are locked

	seats      int            // that there will be
	currencies map[string]int // of how many seats that cost something
}

// compare says how a room differs from a plan. It changes nothing.
func compare(have []planRow, plan *venue.Plan, how ImportHow) comparison {
	c := comparison{currencies: map[string]int{}}
	exists := make(map[seat.ID]planRow, len(have)) // at most seat.MaxPerRoom
	for _, r := range have {
		exists[r.ID] = r
		c.counted(r.Price, 1)
	}
	c.seats = len(have)
	for _, p := range plan.Seats {
		r, there := exists[p.ID]
		delete(exists, p.ID)
		switch {
		case !there:
			c.add = append(c.add, p)
			c.done.Added++
			c.seats++
			c.counted(p.Price, 1)
		case r.as(p):
			c.done.Same++
		case r.taken():
			c.done.Kept++
		default:
			c.touch = append(c.touch, target{id: r.ID, to: p, is: r})
			c.done.Changed++
			c.counted(r.Price, -1)
			c.counted(p.Price, 1)
		}
	}
	for id, r := range exists {
		if !how.RemoveMissing || r.State != seat.Free {
			c.done.Missing++
			continue
		}
		c.touch = append(c.touch, target{id: id, remove: true, is: r})
		c.done.Removed++
		c.seats--
		c.counted(r.Price, -1)
	}
	slices.SortFunc(c.touch, func(a, b target) int { return cmp.Compare(a.id, b.id) })
	return c
}

func (c *comparison) counted(p seat.Price, by int) {
	if p.Currency != "" {
		c.currencies[p.Currency] += by
	}
}

// stays notes that a seat of touch has become somebody's: it stays as it is.
func (c *comparison) stays(t target) {
	c.counted(t.is.Price, 1)
	if t.remove {
		c.done.Removed, c.done.Missing, c.seats = c.done.Removed-1, c.done.Missing+1, c.seats+1
		return
	}
	c.done.Changed, c.done.Kept = c.done.Changed-1, c.done.Kept+1
	c.counted(t.to.Price, -1)
}

// check refuses what a room may not become.
func (c *comparison) check(name room.Name) error {
	var list []string
	for _, currency := range sorted(c.currencies) {
		if n := c.currencies[currency]; n > 0 {
			list = append(list, fmt.Sprintf("%d would cost %s", n, currency))
		}
	}
	if len(list) > 1 {
		return fmt.Errorf("%w: of those of %s %s", seat.ErrCurrency, name, strings.Join(list, ", "))
	}
	if c.seats > seat.MaxPerRoom {
		return fmt.Errorf("seats: a room has at most %d, %s would have %d", seat.MaxPerRoom, name, c.seats)
	}
	return nil
}

// touch locks some seats and changes or removes those that nobody has meanwhile.
func (s *Store) touch(ctx context.Context, tx *sqlx.Tx, name room.Name, c *comparison, chunk []target) error {
	ids := make([]seat.ID, len(chunk))
	for i, t := range chunk {
		ids[i] = t.id
	}
	found, err := s.lockSeats(ctx, tx, name, ids)
	if err != nil {
		return err
	}
	var remove []seat.ID
	to := map[venue.Seat][]seat.ID{} // what a seat becomes, without its name
	for _, t := range chunk {
		r, there := found[t.id]
		switch {
		case !there || !r.taken() && !r.as(venue.Seat{Category: t.is.Category, Unnumbered: t.is.Unnumbered, Price: t.is.Price}):
			return errLost // another import was here
		case r.taken() || t.remove && r.State != seat.Free:
			c.stays(t)
		case t.remove:
			remove = append(remove, t.id)
		default:
			t.to.ID = ""
			to[t.to] = append(to[t.to], t.id)
		}
	}
	for p, ids := range to {
		err := matched(ctx, tx, len(ids), "UPDATE seats SET category = ?, unnumbered = ?, amount = ?, currency = ? WHERE room = ? AND id IN (?)",
			p.Category, p.Unnumbered, p.Amount, p.Currency, name, ids)
		if err != nil {
			return err
		}
	}
	if len(remove) == 0 {
		return nil
	}
	return matched(ctx, tx, len(remove), "DELETE FROM seats WHERE room = ? AND id IN (?)", name, remove)
}
