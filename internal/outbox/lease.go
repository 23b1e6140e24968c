package outbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"waitroom/internal/sqldb"
)

// Bounds of a lease.
const (
	// leaseFor is how long nobody carries after a booker vanished: longer than a publish
	// that fails, 2 s, and the second between two looks after it.
	leaseFor = 4 * time.Second
	// leaseLimit bounds the write of a lease: who hangs on a row that somebody else has
	// locked carries all the same, since nothing depends on a lease.
	leaseLimit = time.Second
)

// lease is what one process at a time has, by the database's clock.
type lease struct {
	db    *sqldb.DB
	name  string
	owner string // this process, for as long as it lives
}

func newLease(db *sqldb.DB, name string) *lease {
	return &lease{db: db, name: name, owner: rand.Text()}
}

// nowMS is the database's clock: in UTC, since an hour of local time comes twice.
func (l *lease) nowMS() string {
	if l.db.Dialect == sqldb.SQLite {
		return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
	}
	return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) DIV 1000)"
}

// take takes the lease, or says again that this process has it. Of somebody else it is
// taken once it is over for polite; given says that nobody has it meanwhile. true without
// a row written: it is nobody's, and somebody hangs on its row.
func (l *lease) take(ctx context.Context, polite time.Duration) (mine, given bool, err error) {
	var row struct {
		Owner   string `db:"owner"`
		UntilMS int64  `db:"until_ms"`
		LeftMS  int64  `db:"left_ms"`
	}
	err = l.db.GetContext(ctx, &row, "SELECT owner, until_ms, until_ms - "+l.nowMS()+" AS left_ms FROM leases WHERE name = ?", l.name)
	if errors.Is(err, sql.ErrNoRows) {
		_, err := l.db.Write(ctx, "INSERT INTO leases (name, owner, until_ms) VALUES (?, ?, "+l.nowMS()+" + ?)", l.name, l.owner, leaseFor.Milliseconds())
		if sqldb.IsDuplicate(err) {
			return false, false, nil
		}
		return err == nil, false, err
	}
	if err != nil {
		return false, false, err
	}
	if row.Owner != l.owner && row.LeftMS > -polite.Milliseconds() {
		return false, row.Owner == "", nil
	}
	limit, cancel := context.WithTimeout(ctx, leaseLimit)
	defer cancel()
	n, err := l.db.Write(limit, "UPDATE leases SET owner = ?, until_ms = "+l.nowMS()+" + ? WHERE name = ? AND owner = ? AND until_ms = ?",
		l.owner, leaseFor.Milliseconds(), l.name, row.Owner, row.UntilMS)
	if err != nil && limit.Err() != nil && ctx.Err() == nil {
		return true, false, nil
	}
	return n == 1, false, err
}

// give gives it back, if this process has it, so that others need not wait.
func (l *lease) give(ctx context.Context) error {
	_, err := l.db.Write(ctx, "UPDATE leases SET owner = '', until_ms = "+l.nowMS()+" WHERE name = ? AND owner = ?", l.name, l.owner)
	return err
}
