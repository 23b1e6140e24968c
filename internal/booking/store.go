package booking

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/outbox"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

//go:embed migrations
var migrations embed.FS

// errLost is a conditional statement that matched no row: someone else was
// first. It never leaves the package.
var errLost = errors.New("someone else was first")

// raceTries bounds how often an act looks again after it lost against another
// act of the same pass. Each time that other act has made progress, so only a
// pass used from many places at once can reach the bound; it gets an ErrAway.
const raceTries = 20

// Rules are what the store enforces beside the SQL.
type Rules struct {
	Hold  time.Duration // how long a hold lasts, if the pass does
	Grace time.Duration // how long after that a confirm is still accepted
}

// Store is seats, holds and bookings in SQL. It is safe for concurrent use, by
// several processes on MySQL.
type Store struct {
	db    *sqldb.DB
	rules Rules
	wrote func() // called after a commit that put facts in the outbox; never blocks
}

// NewStore migrates the database and returns a store on it. The caller closes db.
func NewStore(ctx context.Context, db *sqldb.DB, rules Rules) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := sqldb.Migrate(ctx, db, files); err != nil {
		return nil, err
	}
	return &Store{db: db, rules: rules, wrote: func() {}}, nil
}

// The states of a hold. It leaves live once.
const (
	live      = "live"
	confirmed = "confirmed"
	released  = "released"
	expired   = "expired"
)

type admissionRow struct {
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
}

const holdColumns = "id, admission, room, seats, state, until_ms"

func (h holdRow) seats() []seat.ID {
	parts := strings.Split(h.Seats, ",")
	ids := make([]seat.ID, len(parts))
	for i, p := range parts {
		ids[i] = seat.ID(p)
	}
	return ids
}

func (h holdRow) hold() seat.Hold {
	return seat.Hold{ID: h.ID, Seats: h.seats(), Until: time.UnixMilli(h.UntilMS)}
}

func joined(seats []seat.ID) string {
	parts := make([]string, len(seats))
	for i, id := range seats {
		parts[i] = string(id)
	}
	return strings.Join(parts, ",")
}

// admission reads the row of a pass; sql.ErrNoRows when neither Kafka nor the
// pass has brought it yet.
func (s *Store) admission(ctx context.Context, id string) (a admissionRow, err error) {
	err = s.db.GetContext(ctx, &a, "SELECT hold, booking, spent_ms FROM admissions WHERE id = ?", id)
	return a, err
}

// hold reads a hold of the pass, ended ones too; seat.ErrNoHold when there is none.
func (s *Store) hold(ctx context.Context, pass token.Pass, id seat.HoldID) (h holdRow, err error) {
	err = s.db.GetContext(ctx, &h, "SELECT "+holdColumns+" FROM holds WHERE id = ? AND admission = ?", id, pass.Admission.String())
	if errors.Is(err, sql.ErrNoRows) {
		err = seat.ErrNoHold
	}
	return h, err
}

// change runs a conditional statement and returns errLost when it did not match
// exactly want rows.
func change(ctx context.Context, tx *sqlx.Tx, want int, query string, args ...any) error {
	query, args, err := sqlx.In(query, args...)
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows != int64(want) {
		err = errLost
	}
	return err
}

// broken is for a statement that cannot lose while the invariants hold, since
// the transaction owns the rows: it turns errLost into an error that is seen.
func broken(err error, what string) error {
	if errors.Is(err, errLost) {
		return fmt.Errorf("invariant broken: %s", what)
	}
	return err
}

// tx runs work and tells the publisher when facts were written.
func (s *Store) tx(ctx context.Context, work func(*sqlx.Tx) error) error {
	err := s.db.Tx(ctx, work)
	if err == nil {
		s.wrote()
	}
	return err
}

// fact writes one fact in tx.
func fact(ctx context.Context, tx *sqlx.Tx, b events.Booking) error {
	return outbox.Add(ctx, tx, events.EncodeBooking(b))
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
