package booking

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

//go:embed migrations
var migrations embed.FS

// Rules are what the store enforces beside the SQL.
type Rules struct {
	Hold   time.Duration // how long a hold lasts, if the pass does
	Grace  time.Duration // how long after that a confirm is still accepted
	Extend time.Duration // how much longer a hold lasts that is extended; 0: none is

	// Line says which line of a room is the newest that is known, and whether epoch is of
	// an earlier one. Nil: none is known.
	Line func(name room.Name, epoch room.Epoch) (newest room.Epoch, old bool)
}

// past reports whether a pass is of an earlier line than the room has now.
func (r Rules) past(pass token.Pass) bool {
	if r.Line == nil {
		return false
	}
	_, old := r.Line(pass.Room, pass.Epoch)
	return old
}

// epoch is the newest line of a room that is known, or else the one given.
func (r Rules) epoch(name room.Name, other room.Epoch) room.Epoch {
	if r.Line != nil {
		if newest, _ := r.Line(name, other); newest != "" {
			return newest
		}
	}
	return other
}

// Store is seats, holds and bookings in SQL. It is safe for concurrent use, by
// several processes on MySQL.
type Store struct {
	db    *sqldb.DB
	rules Rules
	wrote func() // called after a commit that put facts in the outbox; never blocks
	acts  *gatherer
}

// NewStore migrates the database and returns a store on it. told hears of migrations that
// take their time. The caller closes db.
func NewStore(ctx context.Context, db *sqldb.DB, rules Rules, told ...sqldb.Progress) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := sqldb.Migrate(ctx, db, files, told...); err != nil {
		return nil, err
	}
	s := &Store{db: db, rules: rules, wrote: func() {}}
	most := workers
	if db.Dialect == sqldb.SQLite {
		most = 1 // it has one writer
	}
	s.acts = newGatherer(most, s.transact)
	return s, nil
}

// insertNew begins an INSERT that passes over rows whose key is there.
func (s *Store) insertNew() string {
	if s.db.Dialect == sqldb.SQLite {
		return "INSERT OR IGNORE"
	}
	return "INSERT IGNORE"
}

// Hold holds all of the seats for the pass, or none; seats are sorted, as
// seat.Ask returns them. fresh is false when the pass has this very hold already,
// which is then the answer. Otherwise the errors are a *seat.TakenError, or
// seat.ErrUnknown, ErrNoRoom, ErrHoldOpen, ErrHoldEnded, ErrPassSpent, ErrEpoch.
func (s *Store) Hold(ctx context.Context, pass token.Pass, seats []seat.ID, now time.Time) (h seat.Hold, fresh bool, err error) {
	return s.holdSeats(ctx, pass, Key{}, seats, now)
}

func (s *Store) holdSeats(ctx context.Context, pass token.Pass, key Key, seats []seat.ID, now time.Time) (h seat.Hold, fresh bool, err error) {
	a := &act{kind: toHold, pass: pass, key: key, id: pass.Admission.String(), hold: seat.NewHoldID(), now: now, seats: slices.Clone(seats)}
	if err := s.acts.do(ctx, a); err != nil {
		return seat.Hold{}, false, err
	}
	return s.rules.hold(a.got, pass), a.fresh, nil
}

// Release ends a hold on the visitor's word. Releasing one that was released or
// has expired is done already; a confirmed one is seat.ErrHoldEnded.
func (s *Store) Release(ctx context.Context, pass token.Pass, id seat.HoldID, now time.Time) error {
	return s.release(ctx, pass, Key{}, id, now)
}

func (s *Store) release(ctx context.Context, pass token.Pass, key Key, id seat.HoldID, now time.Time) error {
	return s.acts.do(ctx, &act{kind: toRelease, pass: pass, key: key, id: pass.Admission.String(), hold: id, now: now})
}

// Leave ends the visit: releases the live hold, spends the pass, frees the slot.
// Leaving twice is done already.
func (s *Store) Leave(ctx context.Context, pass token.Pass, now time.Time) error {
	return s.acts.do(ctx, &act{kind: toLeave, pass: pass, id: pass.Admission.String(), now: now})
}

// Extend gives a live hold Rules.Extend more time, once, and never more than its pass
// has. seat.ErrExtended: it had it, or there is none to have; seat.ErrHoldEnded: its time
// is over.
func (s *Store) Extend(ctx context.Context, pass token.Pass, id seat.HoldID, now time.Time) (seat.Hold, error) {
	return s.extend(ctx, pass, Key{}, id, now)
}

func (s *Store) extend(ctx context.Context, pass token.Pass, key Key, id seat.HoldID, now time.Time) (seat.Hold, error) {
	a := &act{kind: toExtend, pass: pass, key: key, id: pass.Admission.String(), hold: id, now: now, longer: s.rules.Extend}
	if err := s.acts.do(ctx, a); err != nil {
		return seat.Hold{}, err
	}
	return s.rules.hold(a.got, pass), nil
}

// hold reads a hold of the pass, ended ones too; seat.ErrNoHold when there is none.
func (s *Store) hold(ctx context.Context, pass token.Pass, id seat.HoldID) (h holdRow, err error) {
	err = s.db.GetContext(ctx, &h, "SELECT "+holdColumns+" FROM holds WHERE id = ? AND admission = ?", id, pass.Admission.String())
	if errors.Is(err, sql.ErrNoRows) {
		err = seat.ErrNoHold
	}
	return h, err
}

// admission reads the row of a pass; sql.ErrNoRows when neither Kafka nor the
// pass has brought it yet.
func (s *Store) admission(ctx context.Context, id string) (a admissionRow, err error) {
	err = s.db.GetContext(ctx, &a, "SELECT id, hold, booking, spent_ms FROM admissions WHERE id = ?", id)
	return a, err
}

// tx runs work and tells the publisher when facts were written.
func (s *Store) tx(ctx context.Context, work func(*sqlx.Tx) error) error {
	err := s.db.Tx(ctx, work)
	if err == nil {
		s.wrote()
	}
	return err
}

// change runs a statement in tx that must match one row.
func change(ctx context.Context, tx *sqlx.Tx, query string, args ...any) error {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows != 1 {
		err = fmt.Errorf("%w: %d rows", errLost, rows)
	}
	return err
}
