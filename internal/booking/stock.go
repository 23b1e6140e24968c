package booking

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/outbox"
	"waitroom/internal/room"
)

// Bounds of what is told of a stock.
const (
	stockEvery = time.Second // a stock that changes is told so often at most, apart from its end
	// stockAgain is how often one that does not change is told again: a Redis that lost its
	// last seconds may have lost what it was told in them.
	stockAgain  = time.Minute
	stockRooms  = 500             // told in one look
	stockFaults = 5               // rooms that can't be told before a look ends
	stockLimit  = 2 * time.Second // of telling one, whose row a stranger may have locked
)

// stockRow is the counter of one room. Seats are those that are not blocked: so what is left
// is right for an older booker too, which knows of no blocked ones. Rev goes up in every
// transaction that changes seats or booked; what was told last is told_*.
type stockRow struct {
	Room     room.Name  `db:"room"`
	Seats    int64      `db:"seats"`
	Booked   int64      `db:"booked"`
	Rev      int64      `db:"rev"`
	ToldRev  int64      `db:"told_rev"`
	ToldLeft int64      `db:"told_left"` // -1: never told
	ToldMS   int64      `db:"told_ms"`
	Epoch    room.Epoch `db:"epoch"` // of the line that was told
}

const stockColumns = "room, seats, booked, rev, told_rev, told_left, told_ms, epoch"

func (r stockRow) left() int64 { return r.Seats - r.Booked }

// count adds to the counters of the rooms in which seats were booked, and returns what
// the line is to be told at once: while the row is locked, one transaction sees the last
// seat go.
func (t *table) count(ctx context.Context, now time.Time) (told []events.Record, err error) {
	booked, by := map[room.Name]int{}, map[room.Name]room.Epoch{}
	for _, b := range t.booked {
		booked[b.hold.Room] += len(b.hold.seats())
		by[b.hold.Room] = b.act.pass.Epoch
	}
	for _, name := range sorted(booked) {
		n := booked[name]
		result, err := t.tx.ExecContext(ctx, "UPDATE stock SET booked = booked + ?, rev = rev + 1 WHERE room = ? AND booked + ? <= seats", n, name, n)
		if err != nil {
			return nil, err
		}
		if matched, err := result.RowsAffected(); err != nil || matched != 1 {
			return nil, broken("more seats booked than room %s has (%v)", name, err)
		}
		var row stockRow
		if err := t.tx.GetContext(ctx, &row, "SELECT "+stockColumns+" FROM stock WHERE room = ?", name); err != nil {
			return nil, err
		}
		if row.left() > 0 {
			continue // the loop tells
		}
		epoch := t.rules.epoch(name, by[name])
		told = append(told, events.EncodeBooking(events.Booking{
			Type: events.TypeSoldOut, StockRev: row.Rev,
			// An operator may add seats, so a room can sell out again with more.
			ID:   string(name) + "." + string(epoch) + "." + strconv.FormatInt(row.Seats, 10) + "." + events.TypeSoldOut,
			Room: name, Epoch: epoch, AtMS: now.UnixMilli(),
		}))
		fact, err := t.store.tellStock(ctx, t.tx, row, epoch, now)
		if err != nil {
			return nil, err
		}
		told = append(told, fact)
	}
	return told, nil
}

// tellStock notes in the row, which the transaction has locked, what the fact that it
// returns tells.
func (s *Store) tellStock(ctx context.Context, tx *sqlx.Tx, row stockRow, epoch room.Epoch, now time.Time) (events.Record, error) {
	_, err := tx.ExecContext(ctx, "UPDATE stock SET told_rev = ?, told_left = ?, told_ms = ?, epoch = ? WHERE room = ?",
		row.Rev, row.left(), now.UnixMilli(), epoch, row.Room)
	return events.EncodeStock(events.Stock{Room: row.Room, Epoch: epoch, Rev: row.Rev, Left: row.left(), Seats: row.Seats, AtMS: now.UnixMilli()}), err
}

// recount changes how many seats of a room are for sale, and tells the line at once when
// none is left any more, or some are again.
func (s *Store) recount(ctx context.Context, tx *sqlx.Tx, name room.Name, by int, now time.Time) error {
	if by == 0 {
		return nil
	}
	if err := change(ctx, tx, "UPDATE stock SET seats = seats + ?, rev = rev + 1 WHERE room = ?", by, name); err != nil {
		return err
	}
	var row stockRow
	if err := tx.GetContext(ctx, &row, "SELECT "+stockColumns+" FROM stock WHERE room = ?", name); err != nil {
		return err
	}
	if row.left() < 0 {
		return broken("room %s has more seats booked than it has", name)
	}
	epoch := s.rules.epoch(name, row.Epoch)
	if row.left() > 0 && row.left() != int64(by) || epoch == "" {
		return nil // the loop tells
	}
	fact, err := s.tellStock(ctx, tx, row, epoch, now)
	if err != nil {
		return err
	}
	return outbox.Add(ctx, tx, fact)
}

// TellStock tells the stocks that changed since they were told, each at most once per
// stockEvery, and again when a room has a new line, which knows nothing yet, and each
// stockAgain. A room of which no line is known waits for one. It says how many it told.
func (s *Store) TellStock(ctx context.Context, now time.Time) (told int, err error) {
	var rows []stockRow
	// One row per room: a small table, read as it is.
	if err := s.db.SelectContext(ctx, &rows, "SELECT "+stockColumns+" FROM stock"); err != nil {
		return 0, err
	}
	var errs []error
	for _, r := range rows {
		if told == stockRooms {
			break
		}
		epoch := s.rules.epoch(r.Room, "")
		if epoch == "" || r.Seats == 0 && r.Rev == 0 {
			continue // without seats that ever were; where all are blocked, none is left
		}
		gap := stockEvery
		if r.ToldRev == r.Rev && r.ToldLeft == r.left() && r.Epoch == epoch {
			gap = stockAgain
		}
		if now.Sub(time.UnixMilli(r.ToldMS)).Abs() < gap {
			continue
		}
		done := false
		one, cancel := context.WithTimeout(ctx, stockLimit)
		err := s.tx(one, func(tx *sqlx.Tx) error {
			done = false
			// An older booker changes the counts without raising the rev.
			result, err := tx.ExecContext(one, `UPDATE stock SET rev = rev + CASE WHEN told_rev = rev AND told_left >= 0 AND told_left <> seats - booked THEN 1 ELSE 0 END
				WHERE room = ? AND told_rev = ? AND told_left = ? AND told_ms = ? AND epoch = ?`, r.Room, r.ToldRev, r.ToldLeft, r.ToldMS, r.Epoch)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil || n == 0 {
				return err // another booker told it
			}
			var row stockRow
			if err := tx.GetContext(one, &row, "SELECT "+stockColumns+" FROM stock WHERE room = ?", r.Room); err != nil {
				return err
			}
			if row.Rev == 0 { // of before there were revisions
				row.Rev = 1
				if _, err := tx.ExecContext(one, "UPDATE stock SET rev = 1 WHERE room = ?", r.Room); err != nil {
					return err
				}
			}
			fact, err := s.tellStock(one, tx, row, epoch, now)
			if err != nil {
				return err
			}
			done = true
			return outbox.Add(one, tx, fact)
		})
		cancel()
		if err != nil { // the next room's row may be free
			errs = append(errs, fmt.Errorf("room %s: %w", r.Room, err))
			if ctx.Err() != nil || len(errs) == stockFaults {
				break
			}
		}
		if done {
			told++
		}
	}
	return told, errors.Join(errs...)
}
