package booking

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"waitroom/internal/sqldb"
)

// freshFor is for how long a moment shows that a booker runs: each second one of them
// writes, and a look may come half a second late, miss a turn for another half, and wait
// for a slow disk. Longer, and the clock of those who were stopped is taken over.
const freshFor = 4 * time.Second

// moment is what bookers have of the seats' clock in common: the newest one that any of
// them has seen pass. The zero value: none has.
type moment struct {
	SeatsMS int64 `db:"seats_ms"`
	ThereMS int64 `db:"there_ms"` // the database's clock at it
}

func (m moment) at() time.Time { return time.UnixMilli(m.SeatsMS) }

// age is how long ago it was, if the database's clock was not set since.
func (m moment) age(theirs time.Time) time.Duration { return theirs.Sub(time.UnixMilli(m.ThereMS)) }

// fresh reports whether a booker wrote it just now, so that one runs, or did until now.
// A clock of the database that was set makes it stale, until the next one is written.
func (m moment) fresh(theirs time.Time) bool {
	age := m.age(theirs)
	return m != moment{} && age >= -warnSkew && age <= freshFor
}

// apart is how far the clock of those who wrote it is ahead of the database's.
func (m moment) apart() time.Duration { return m.at().Sub(time.UnixMilli(m.ThereMS)) }

// moments is the table of it, which has one row.
type moments struct{ store *Store }

func (m moments) read(ctx context.Context) (was moment, err error) {
	err = m.store.db.GetContext(ctx, &was, "SELECT seats_ms, there_ms FROM seats_clock WHERE id = 1")
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return was, err
}

// now is the seats' clock for a command that is no booker: that of those who run, by their
// newest moment; this machine's, where none does.
func (m moments) now(ctx context.Context) (time.Time, error) {
	newest, err := m.read(ctx)
	if err != nil || newest == (moment{}) {
		return time.Now(), err
	}
	theirs, err := m.store.db.Now(ctx)
	if err != nil || !newest.fresh(theirs) {
		return time.Now(), err
	}
	return newest.at().Add(newest.age(theirs)), nil
}

// write replaces what was read; if somebody did so first, theirs stays. So a process that
// stood still between the two writes nothing that is old.
func (m moments) write(ctx context.Context, was, is moment) error {
	if was == (moment{}) {
		_, err := m.store.db.Write(ctx, "INSERT INTO seats_clock (id, seats_ms, there_ms) VALUES (1, ?, ?)", is.SeatsMS, is.ThereMS)
		if sqldb.IsDuplicate(err) {
			return nil
		}
		return err
	}
	_, err := m.store.db.Write(ctx, "UPDATE seats_clock SET seats_ms = ?, there_ms = ? WHERE id = 1 AND seats_ms = ? AND there_ms = ?",
		is.SeatsMS, is.ThereMS, was.SeatsMS, was.ThereMS)
	return err
}
