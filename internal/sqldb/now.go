package sqldb

import (
	"context"
	"time"
)

// The clocks, in microseconds since 1970. MySQL's is told in UTC and subtracted: a
// local time names two moments in the hour that summer time ends, and UNIX_TIMESTAMP
// takes one of them. julianday has a millisecond's grain.
const (
	mysqlNow  = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
	sqliteNow = "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
)

// Now is the database's clock. For SQLite that is this machine's.
func (db *DB) Now(ctx context.Context) (time.Time, error) {
	query := mysqlNow
	if db.Dialect == SQLite {
		query = sqliteNow
	}
	var us int64
	if err := db.GetContext(ctx, &us, query); err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(us), nil
}
