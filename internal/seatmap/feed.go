package seatmap

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/sqldb"
)

const (
	// feedRows is how many rows of the log one statement reads: a few hundred bytes
	// each as a rule, 8 MB at worst. A full read is followed by another at once.
	feedRows = 1000
	// gapFor is how long an id that was passed over is asked for again: until its
	// transaction can no longer be committed, and the read after that. Behind the log that
	// writes facts and then the room's counter, the one row for which it may have to wait.
	gapFor = sqldb.CommitWait + readLimit
	// maxGaps bounds the ids asked for again, the nearest stay: several hundred
	// transactions under way, more than a database takes at once. On a cluster that
	// gives ids in steps most gaps are none, and the bound makes gapFor shorter. What is
	// lost so is found by the whole read of a room.
	maxGaps = 1000
)

// logRow is one transaction's changes of one room.
type logRow struct {
	ID      int64     `db:"id"`
	Room    room.Name `db:"room"`
	Changes string    `db:"changes"`
}

// feed reads the log, each row once, in the order of ids as far as they are there:
// ids are given before they are committed, so a lower one may appear after a higher
// one was read. The ids between are kept and asked for again. Used by one goroutine
// at a time.
type feed struct {
	db    *sqldb.DB
	known bool // at is where the log was read to
	at    int64
	gaps  map[int64]time.Duration // ids passed over, and when, as age had it
	read  time.Time               // when the last read that succeeded began
	// age is how long the log is read. While it can't be, not more than freshFor goes by:
	// a server that stood still, stood still with every transaction.
	age time.Duration
	// checked is when the log's end was last compared with at.
	checked time.Time
}

// start goes to the log's end; what is there now is not read. Transactions that are
// under way have ids not far from it, so these are gaps.
func (f *feed) start(ctx context.Context) error {
	began := time.Now()
	end, err := f.end(ctx)
	if err != nil {
		return err
	}
	var there []int64
	from := max(0, end-maxGaps)
	if err := f.db.SelectContext(ctx, &there, "SELECT id FROM seat_log WHERE id > ? AND id <= ?", from, end); err != nil {
		return err
	}
	f.known, f.at, f.read, f.gaps = true, end, began, map[int64]time.Duration{}
	slices.Sort(there)
	for _, id := range there {
		f.skip(from, id)
		from = id
	}
	return nil
}

// end is the greatest id of the log; 0: it is empty.
func (f *feed) end(ctx context.Context) (id int64, err error) {
	err = f.db.GetContext(ctx, &id, "SELECT COALESCE(MAX(id), 0) FROM seat_log")
	return id, err
}

// skip notes the ids between two as gaps.
func (f *feed) skip(from, to int64) {
	for id := max(from+1, to-maxGaps); id < to; id++ {
		f.gaps[id] = f.age
	}
}

// next reads what has come since the last read, at most feedRows rows.
func (f *feed) next(ctx context.Context) (rows []logRow, more bool, err error) {
	began := time.Now()
	age := f.age + min(began.Sub(f.read), freshFor)
	maps.DeleteFunc(f.gaps, func(_ int64, since time.Duration) bool { return age-since > gapFor })
	asked := slices.Sorted(maps.Keys(f.gaps))
	if over := len(asked) - maxGaps; over > 0 {
		for _, id := range asked[:over] {
			delete(f.gaps, id)
		}
		asked = asked[over:]
	}
	query, args := "SELECT id, room, changes FROM seat_log WHERE id > ? ORDER BY id LIMIT ?", []any{f.at, feedRows}
	if len(asked) > 0 {
		query, args, err = sqlx.In("SELECT id, room, changes FROM seat_log WHERE id > ? OR id IN (?) ORDER BY id LIMIT ?", f.at, asked, feedRows)
		if err != nil {
			return nil, false, err
		}
	}
	if err := f.db.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, false, err
	}
	f.read, f.age = began, age
	for _, r := range rows {
		delete(f.gaps, r.ID)
		if r.ID > f.at {
			f.skip(f.at, r.ID)
			f.at = r.ID
		}
	}
	return rows, len(rows) == feedRows, nil
}
