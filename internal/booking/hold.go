package booking

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// Hold holds all of the seats for the pass, or none; seats are sorted, as
// seat.Ask returns them. fresh is false when the pass has this very hold already,
// which is then the answer. Otherwise the errors are a *seat.TakenError, or
// seat.ErrUnknown, ErrNoRoom, ErrHoldOpen, ErrHoldEnded, ErrPassSpent.
func (s *Store) Hold(ctx context.Context, pass token.Pass, seats []seat.ID, now time.Time) (h seat.Hold, fresh bool, err error) {
	until := now.Add(s.rules.Hold)
	if pass.Expires.Before(until) {
		until = pass.Expires
	}
	row := holdRow{
		ID: seat.NewHoldID(), Admission: pass.Admission.String(), Room: pass.Room,
		Seats: joined(seats), State: live, UntilMS: until.UnixMilli(),
	}
	for range raceTries {
		err = s.take(ctx, row, now)
		if err == nil {
			return row.hold(), true, nil
		}
		if !errors.Is(err, errLost) {
			return seat.Hold{}, false, err
		}
		h, err = s.standing(ctx, pass, row, now)
		if !errors.Is(err, errLost) {
			return h, false, err
		}
	}
	return seat.Hold{}, false, fmt.Errorf("%w: one pass is used from too many places", sqldb.ErrAway)
}

// take is the transaction of a hold. errLost: the pass is unknown, is spent or
// has a live hold.
func (s *Store) take(ctx context.Context, row holdRow, now time.Time) error {
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		// One live hold per pass, and who has the row has the pass to itself.
		err := change(ctx, tx, 1, "UPDATE admissions SET hold = ? WHERE id = ? AND spent_ms = 0 AND hold = ''", row.ID, row.Admission)
		if err != nil {
			return err
		}
		seats := row.seats()
		err = change(ctx, tx, len(seats), "UPDATE seats SET state = ?, hold = ? WHERE room = ? AND id IN (?) AND state = ?",
			seat.Held, row.ID, row.Room, seats, seat.Free)
		if errors.Is(err, errLost) {
			return inTheWay(ctx, tx, row)
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO holds ("+holdColumns+", ended_ms) VALUES (?, ?, ?, ?, ?, ?, 0)",
			row.ID, row.Admission, row.Room, row.Seats, row.State, row.UntilMS)
		if err != nil {
			return err
		}
		return fact(ctx, tx, holdFact(events.TypeHeld, row, now))
	})
}

// inTheWay says why the seats could not all be held. It reads inside the
// transaction: the seats that were free carry this hold, so every other one that
// exists was taken, whatever happened to it since.
func inTheWay(ctx context.Context, tx *sqlx.Tx, row holdRow) error {
	asked := row.seats()
	query, args, err := sqlx.In("SELECT id, hold FROM seats WHERE room = ? AND id IN (?)", row.Room, asked)
	if err != nil {
		return err
	}
	var found []struct {
		ID   seat.ID     `db:"id"`
		Hold seat.HoldID `db:"hold"`
	}
	if err := tx.SelectContext(ctx, &found, query, args...); err != nil {
		return err
	}
	if len(found) < len(asked) {
		if len(found) == 0 {
			var n int
			err := tx.GetContext(ctx, &n, "SELECT COUNT(*) FROM stock WHERE room = ?", row.Room)
			if err != nil {
				return err
			}
			if n == 0 {
				return seat.ErrNoRoom
			}
		}
		unknown := asked
		for _, f := range found {
			unknown = slices.DeleteFunc(unknown, func(id seat.ID) bool { return id == f.ID })
		}
		return fmt.Errorf("%w: %s", seat.ErrUnknown, joined(unknown))
	}
	taken := &seat.TakenError{}
	for _, f := range found {
		if f.Hold != row.ID {
			taken.Seats = append(taken.Seats, f.ID)
		}
	}
	slices.Sort(taken.Seats)
	return taken
}

// standing answers a pass that could not begin a hold: with the hold it has, if
// that is what was asked for. errLost: the pass is free to try again.
func (s *Store) standing(ctx context.Context, pass token.Pass, asked holdRow, now time.Time) (seat.Hold, error) {
	a, err := s.admission(ctx, asked.Admission)
	if errors.Is(err, sql.ErrNoRows) {
		if err := s.begin(ctx, pass, now); err != nil {
			return seat.Hold{}, err
		}
		return seat.Hold{}, errLost
	}
	if err != nil {
		return seat.Hold{}, err
	}
	if a.SpentMS != 0 {
		return seat.Hold{}, seat.ErrPassSpent
	}
	if a.Hold == "" {
		return seat.Hold{}, errLost
	}
	has, err := s.hold(ctx, pass, seat.HoldID(a.Hold))
	if errors.Is(err, seat.ErrNoHold) || (err == nil && has.State != live) {
		return seat.Hold{}, errLost // it ended between the two reads
	}
	switch {
	case err != nil:
		return seat.Hold{}, err
	case has.Seats != asked.Seats:
		return seat.Hold{}, seat.ErrHoldOpen
	case s.lapsed(has, now):
		return seat.Hold{}, seat.ErrHoldEnded // the sweeper is about to end it
	}
	return has.hold(), nil
}

// lapsed reports whether a hold's time and grace are over.
func (s *Store) lapsed(h holdRow, now time.Time) bool {
	return h.UntilMS+s.rules.Grace.Milliseconds() < now.UnixMilli()
}

// Release ends a hold on the visitor's word. Releasing one that was released or
// has expired is done already; a confirmed one is seat.ErrHoldEnded.
func (s *Store) Release(ctx context.Context, pass token.Pass, id seat.HoldID, now time.Time) error {
	h, err := s.hold(ctx, pass, id)
	if err != nil {
		return err
	}
	if h.State == live {
		err := s.resolve(ctx, h, released, now)
		if !errors.Is(err, errLost) {
			return err
		}
		if h, err = s.hold(ctx, pass, id); err != nil {
			return err
		}
	}
	if h.State == confirmed {
		return seat.ErrHoldEnded
	}
	return nil
}

// resolve ends a live hold without a booking: the pass may hold again. errLost:
// it has ended already.
func (s *Store) resolve(ctx context.Context, h holdRow, state string, now time.Time) error {
	return s.tx(ctx, func(tx *sqlx.Tx) error {
		if err := change(ctx, tx, 1, "UPDATE admissions SET hold = '' WHERE id = ? AND hold = ?", h.Admission, h.ID); err != nil {
			return err
		}
		return end(ctx, tx, h, state, now)
	})
}

// end frees the seats of a live hold in a transaction that has the admission's
// row. errLost: the hold has ended already.
func end(ctx context.Context, tx *sqlx.Tx, h holdRow, state string, now time.Time) error {
	err := change(ctx, tx, 1, "UPDATE holds SET state = ?, ended_ms = ? WHERE id = ? AND state = ?", state, now.UnixMilli(), h.ID, live)
	if err != nil {
		return err
	}
	seats := h.seats()
	err = change(ctx, tx, len(seats), "UPDATE seats SET state = ?, hold = '' WHERE room = ? AND id IN (?) AND state = ? AND hold = ?",
		seat.Free, h.Room, seats, seat.Held, h.ID)
	if err != nil {
		return broken(err, "a live hold does not hold its seats")
	}
	typ := events.TypeReleased
	if state == expired {
		typ = events.TypeExpired
	}
	return fact(ctx, tx, holdFact(typ, h, now))
}

// Leave ends the visit: releases the live hold, spends the pass, frees the slot.
// Leaving twice is done already.
func (s *Store) Leave(ctx context.Context, pass token.Pass, now time.Time) error {
	id := pass.Admission.String()
	for range raceTries {
		a, err := s.admission(ctx, id)
		if errors.Is(err, sql.ErrNoRows) {
			if err := s.begin(ctx, pass, now); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if a.SpentMS != 0 {
			return nil
		}
		var h holdRow
		if a.Hold != "" {
			if h, err = s.hold(ctx, pass, seat.HoldID(a.Hold)); errors.Is(err, seat.ErrNoHold) {
				continue
			} else if err != nil {
				return err
			}
		}
		err = s.tx(ctx, func(tx *sqlx.Tx) error {
			err := change(ctx, tx, 1, "UPDATE admissions SET spent_ms = ?, hold = '' WHERE id = ? AND spent_ms = 0 AND hold = ?",
				now.UnixMilli(), id, a.Hold)
			if err != nil {
				return err
			}
			if a.Hold != "" {
				if err := end(ctx, tx, h, released, now); err != nil {
					return broken(err, "a pass points to a hold that has ended")
				}
			}
			return fact(ctx, tx, finishedFact(pass.Admission, now))
		})
		if !errors.Is(err, errLost) {
			return err
		}
	}
	return fmt.Errorf("%w: one pass is used from too many places", sqldb.ErrAway)
}

// Expire ends at most limit holds whose time and grace are over, and says of
// which rooms. One that another sweeper, a confirm or a release ends first is
// skipped; one that fails does not keep the others from ending.
func (s *Store) Expire(ctx context.Context, now time.Time, limit int) (ended []room.Name, err error) {
	before := now.Add(-s.rules.Grace).UnixMilli()
	var over []holdRow
	err = s.db.SelectContext(ctx, &over, "SELECT "+holdColumns+" FROM holds WHERE state = ? AND until_ms < ? ORDER BY until_ms LIMIT ?",
		live, before, limit)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, h := range over {
		err := s.resolve(ctx, h, expired, now)
		switch {
		case err == nil:
			ended = append(ended, h.Room)
		case errors.Is(err, errLost):
		case errors.Is(err, sqldb.ErrAway) || ctx.Err() != nil:
			return ended, errors.Join(append(errs, err)...)
		default:
			errs = append(errs, fmt.Errorf("expire hold %s: %w", h.ID, err))
		}
	}
	return ended, errors.Join(errs...)
}
