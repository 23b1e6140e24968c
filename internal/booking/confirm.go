package booking

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// Booking is a confirmed hold.
type Booking struct {
	Hold    seat.HoldID
	Seats   []seat.ID
	payment string
}

// confirm books the seats of a live hold, spends the pass and writes what
// follows, in one transaction. errLost: the hold has ended, or its time and
// grace are over.
func (s *Store) confirm(ctx context.Context, pass token.Pass, h holdRow, payment string, now time.Time) error {
	ms := now.UnixMilli()
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		err := change(ctx, tx, 1, "UPDATE admissions SET hold = '', booking = ?, spent_ms = ? WHERE id = ? AND spent_ms = 0 AND hold = ?",
			h.ID, ms, h.Admission, h.ID)
		if err != nil {
			return err
		}
		err = change(ctx, tx, 1, "UPDATE holds SET state = ?, ended_ms = ? WHERE id = ? AND state = ? AND until_ms >= ?",
			confirmed, ms, h.ID, live, now.Add(-s.rules.Grace).UnixMilli())
		if err != nil {
			return err
		}
		seats := h.seats()
		err = change(ctx, tx, len(seats), "UPDATE seats SET state = ? WHERE room = ? AND id IN (?) AND state = ? AND hold = ?",
			seat.Booked, h.Room, seats, seat.Held, h.ID)
		if err != nil {
			return broken(err, "a live hold does not hold its seats")
		}
		for _, id := range seats {
			_, err := tx.ExecContext(ctx, "INSERT INTO booked_seats (room, seat, hold) VALUES (?, ?, ?)", h.Room, id, h.ID)
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO bookings (hold, admission, room, payment, booked_ms, captured_ms) VALUES (?, ?, ?, ?, ?, 0)",
			h.ID, h.Admission, h.Room, payment, ms)
		if err != nil {
			return err
		}
		if err := fact(ctx, tx, holdFact(events.TypeConfirmed, h, now)); err != nil {
			return err
		}
		if err := fact(ctx, tx, finishedFact(pass.Admission, now)); err != nil {
			return err
		}
		return count(ctx, tx, pass, len(seats), now)
	})
}

// count adds to the room's counter of bookings. It comes last, since every
// confirm of the room meets in that row, and it finds the last booking: while
// the row is locked, one transaction sees booked reach seats.
func count(ctx context.Context, tx *sqlx.Tx, pass token.Pass, booked int, now time.Time) error {
	err := change(ctx, tx, 1, "UPDATE stock SET booked = booked + ? WHERE room = ? AND booked + ? <= seats", booked, pass.Room, booked)
	if err != nil {
		return broken(err, "more seats booked than the room has")
	}
	var stock struct {
		Seats  int64 `db:"seats"`
		Booked int64 `db:"booked"`
	}
	if err := tx.GetContext(ctx, &stock, "SELECT seats, booked FROM stock WHERE room = ?", pass.Room); err != nil {
		return err
	}
	if stock.Booked < stock.Seats {
		return nil
	}
	return fact(ctx, tx, events.Booking{
		Type: events.TypeSoldOut,
		// An operator may add seats, so a room can sell out again with more.
		ID:   string(pass.Room) + "." + string(pass.Epoch) + "." + strconv.FormatInt(stock.Seats, 10) + "." + events.TypeSoldOut,
		Room: pass.Room, Epoch: pass.Epoch, AtMS: now.UnixMilli(),
	})
}

// booking reads the booking that came of a hold.
func (s *Store) booking(ctx context.Context, h holdRow) (b Booking, found bool, err error) {
	b = Booking{Hold: h.ID, Seats: h.seats()}
	err = s.db.GetContext(ctx, &b.payment, "SELECT payment FROM bookings WHERE hold = ?", h.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return Booking{}, false, nil
	}
	return b, err == nil, err
}

// captured notes that the money of a booking was taken.
func (s *Store) captured(ctx context.Context, hold seat.HoldID, now time.Time) error {
	_, err := s.db.Write(ctx, "UPDATE bookings SET captured_ms = ? WHERE hold = ? AND captured_ms = 0", now.UnixMilli(), hold)
	return err
}

// owed is a booking whose money was authorised and not yet taken.
type owed struct {
	Hold    seat.HoldID `db:"hold"`
	Room    room.Name   `db:"room"`
	Payment string      `db:"payment"`
}

// uncaptured lists at most limit bookings made before a moment, the oldest first.
func (s *Store) uncaptured(ctx context.Context, before time.Time, limit int) (list []owed, err error) {
	err = s.db.SelectContext(ctx, &list, "SELECT hold, room, payment FROM bookings WHERE captured_ms = 0 AND booked_ms < ? ORDER BY booked_ms LIMIT ?",
		before.UnixMilli(), limit)
	return list, err
}

// Visit is what a pass has come to.
type Visit struct {
	Spent   bool
	Hold    *seat.Hold // the live one
	Booking *Booking
}

// Visit reads the state of a pass, so that a page that was loaded again resumes.
// A pass never used is a Visit without anything; nothing is written.
func (s *Store) Visit(ctx context.Context, pass token.Pass) (v Visit, err error) {
	a, err := s.admission(ctx, pass.Admission.String())
	if errors.Is(err, sql.ErrNoRows) {
		return Visit{}, nil
	}
	if err != nil {
		return Visit{}, err
	}
	v.Spent = a.SpentMS != 0
	id := a.Hold
	if id == "" {
		id = a.Booking
	}
	if id == "" {
		return v, nil
	}
	h, err := s.hold(ctx, pass, seat.HoldID(id))
	switch {
	case errors.Is(err, seat.ErrNoHold): // kept no longer
		return v, nil
	case err != nil:
		return Visit{}, err
	case h.State == live:
		held := h.hold()
		v.Hold = &held
	case h.State == confirmed:
		v.Spent = true // it may have been confirmed between the two reads
		v.Booking = &Booking{Hold: h.ID, Seats: h.seats()}
	}
	return v, nil
}
