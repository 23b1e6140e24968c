package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
)

// Bounds of the table's statements.
const (
	// batchRows are read, published and deleted at once: 600 KB.
	batchRows = 1000
	// addRows are written by one INSERT at most, 6 values each: below SQLite's 32,766.
	addRows = 1000
	// countMost is how far the depth is counted, some 20 ms. A deeper table is this deep.
	countMost = 100_000
	// goneMost is how many rows may be left out by their ids, published and not deleted or
	// without a dead letter, before no more are read.
	goneMost = 2 * batchRows
	// payloadMost is more than any fact has. A larger row is nobody's fact, and Kafka
	// refuses a record of 1 MB.
	payloadMost = 512 << 10
)

// errUndeleted is a table from which nothing can be deleted. To publish on would be to
// publish the same facts again and again.
var errUndeleted = errors.New("published facts cannot be deleted")

// Add writes facts in the transaction of what they tell, in one statement.
func Add(ctx context.Context, tx *sqlx.Tx, records ...events.Record) error {
	for some := range slices.Chunk(records, addRows) {
		args := make([]any, 0, 6*len(some))
		for _, r := range some {
			headers, err := json.Marshal(r.Headers)
			if err != nil {
				return err
			}
			// Never NULL: a record without a key has an empty one.
			key, value := append([]byte{}, r.Key...), append([]byte{}, r.Value...)
			args = append(args, r.Topic, int64(events.Spread(r.Key)), key, headers, value, at(r).UnixMilli())
		}
		values := strings.Repeat(", (?, ?, ?, ?, ?, ?)", len(some))[2:]
		if _, err := tx.ExecContext(ctx, "INSERT INTO facts (topic, spread, msg_key, headers, payload, at_ms) VALUES "+values, args...); err != nil {
			return err
		}
	}
	return nil
}

// at is a fact's own time.
func at(r events.Record) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, r.Headers["ce_time"]); err == nil {
		return t
	}
	return time.Now()
}

// rows are those that wait in a lane, those of where alone: a condition that begins with
// AND, or nothing.
type rows struct{ lane, where string }

// fact is a row on its way.
type fact struct {
	id     int64
	record events.Record
	broken error // why the row can't be read: record is its dead letter
}

// table is one of the tables with facts: "facts" or, for those of an older booker,
// "outbox".
type table struct {
	db   *sqldb.DB
	name string
	twin *table // the other one of the same database; set once
	rows func(ctx context.Context, limit int, of []rows) ([]fact, error)

	mu   sync.Mutex
	gone map[int64]bool // published and not deleted, since somebody holds the row; guarded by mu
	// later are rows that can't be read and whose dead letters could not be published;
	// guarded by mu, tried again with the next look.
	later map[int64]bool
}

func newTable(db *sqldb.DB) *table {
	t := &table{db: db, name: "facts", gone: map[int64]bool{}, later: map[int64]bool{}}
	t.rows = t.readFacts
	return t
}

// read reads the lowest ids of rows, in order, but those that are gone or put off. It is one
// statement.
func (t *table) read(ctx context.Context, limit int, of ...rows) ([]fact, error) {
	t.mu.Lock()
	out := append(slices.Sorted(maps.Keys(t.gone)), slices.Sorted(maps.Keys(t.later))...)
	t.mu.Unlock()
	if len(out) >= goneMost {
		return nil, errUndeleted
	}
	if len(out) > 0 {
		for i := range of {
			of[i].where += " AND id NOT IN (" + joined(out) + ")"
		}
	}
	list, err := t.rows(ctx, limit, of)
	if err != nil {
		return nil, t.doubt(err)
	}
	return list, nil
}

type factRow struct {
	ID      int64  `db:"id"`
	Topic   string `db:"topic"`
	Key     []byte `db:"msg_key"`
	Headers []byte `db:"headers"`
	Payload []byte `db:"payload"`
}

// byLane has the optimizer read a lane by its key: it is told nothing of how many rows
// the others have.
func byLane(d sqldb.Dialect) string {
	if d == sqldb.SQLite {
		return "facts INDEXED BY facts_lane"
	}
	return "facts FORCE INDEX (facts_lane)"
}

func (t *table) readFacts(ctx context.Context, limit int, of []rows) ([]fact, error) {
	query, args := selectFacts(t.db.Dialect, limit, of)
	var found []factRow
	if err := t.db.SelectContext(ctx, &found, query, args...); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b factRow) int { return cmp.Compare(a.ID, b.ID) })
	list := make([]fact, min(len(found), limit))
	for i := range list {
		list[i] = found[i].fact()
	}
	return list, nil
}

// selectFacts is one statement, so it is one look: see the package's comment. It finds up
// to limit rows of each.
func selectFacts(d sqldb.Dialect, limit int, of []rows) (query string, args []any) {
	var parts []string
	for i, r := range of {
		part := "SELECT id, topic, msg_key, headers, payload FROM " + byLane(d) + " WHERE lane = ?" + r.where + " ORDER BY id LIMIT ?"
		if len(of) > 1 {
			part = fmt.Sprintf("SELECT * FROM (%s) AS part%d", part, i)
		}
		parts = append(parts, part)
		args = append(args, r.lane, limit)
	}
	return strings.Join(parts, " UNION ALL "), args
}

// topicPattern is what Kafka takes as a name.
var topicPattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,100}$`)

func (r factRow) fact() fact {
	record := events.Record{Topic: r.Topic, Key: r.Key, Value: r.Payload}
	err := json.Unmarshal(r.Headers, &record.Headers)
	if err == nil && !topicPattern.MatchString(r.Topic) {
		err = fmt.Errorf("topic %q", r.Topic)
	}
	if err == nil && len(r.Payload) > payloadMost {
		err = fmt.Errorf("a payload of %d bytes", len(r.Payload))
	}
	if err != nil {
		return broken("facts", r.ID, r.Key, r.Payload, err)
	}
	return fact{id: r.ID, record: record}
}

// broken makes a dead letter of a row that can't be read, as it stands there.
func broken(table string, id int64, key, payload []byte, err error) fact {
	err = fmt.Errorf("row %d of %s: %w", id, table, err)
	letter := events.DeadLetter(events.Record{Topic: events.TopicBookings, Key: key, Value: payload[:min(len(payload), payloadMost)], Offset: id}, err)
	letter.Headers["dlq_table"] = table
	return fact{id: id, record: letter, broken: err}
}

// remove deletes facts that Kafka has. What somebody else has locked stays, and is not
// read again meanwhile.
func (t *table) remove(ctx context.Context, ids []int64) error {
	left := map[int64]bool{}
	for _, id := range ids {
		left[id] = true
	}
	removed, err := t.delete(ctx, ids)
	if err != nil {
		return t.doubt(err)
	}
	for _, id := range removed {
		delete(left, id)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.gone, left)
	return nil
}

// doubt forgets which rows of both tables are published, after an error of the database:
// one that took over, and lost its last commits, gives their ids to other facts. To publish
// twice is nothing; to delete what was never published is a fact lost.
func (t *table) doubt(err error) error {
	t.forget()
	t.twin.forget()
	return err
}

func (t *table) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.gone)
}

// delete deletes rows by their keys and returns those that are gone now. The keys are a
// table that is joined: given IN (…), the optimizer may read all rows instead and wait
// for a stranger's. Whose row is locked is skipped.
func (t *table) delete(ctx context.Context, ids []int64) (removed []int64, err error) {
	if t.db.Dialect == sqldb.SQLite {
		_, err := t.db.Write(ctx, "DELETE FROM "+t.name+" WHERE id IN ("+joined(ids)+")")
		if err != nil {
			return nil, err
		}
		return ids, nil
	}
	err = t.db.Tx(ctx, func(tx *sqlx.Tx) error {
		removed = nil
		if err := tx.SelectContext(ctx, &removed, lockByKey(t.name, ids)); err != nil || len(removed) == 0 {
			return err
		}
		_, err := tx.ExecContext(ctx, deleteByKey(t.name, removed))
		return err
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// putOff leaves rows out of the looks until again.
func (t *table) putOff(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.later[id] = true
}

// again takes back what was put off, and deletes what could not be.
func (t *table) again(ctx context.Context) error {
	t.mu.Lock()
	clear(t.later)
	t.mu.Unlock()
	return t.removeGone(ctx)
}

// byKey joins rows by their keys; MariaDB from 10.6 and MySQL from 8.0 know the table.
func byKey(table string, ids []int64) string {
	return "JSON_TABLE('[" + joined(ids) + "]', '$[*]' COLUMNS (id BIGINT PATH '$')) AS k STRAIGHT_JOIN " + table + " AS f ON f.id = k.id"
}

func lockByKey(table string, ids []int64) string {
	return "SELECT f.id FROM " + byKey(table, ids) + " FOR UPDATE SKIP LOCKED"
}

func deleteByKey(table string, ids []int64) string { return "DELETE f FROM " + byKey(table, ids) }

// removeGone deletes what could not be deleted before, and forgets what others deleted.
func (t *table) removeGone(ctx context.Context) error {
	t.mu.Lock()
	ids := slices.Sorted(maps.Keys(t.gone))
	t.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	if _, err := t.delete(ctx, ids); err != nil {
		return t.doubt(err)
	}
	var there []int64
	if err := t.db.SelectContext(ctx, &there, "SELECT id FROM "+t.name+" WHERE id IN ("+joined(ids)+")"); err != nil {
		return t.doubt(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if !slices.Contains(there, id) {
			delete(t.gone, id)
		}
	}
	return nil
}

// last is the greatest id there is, 0 of an empty table; first the lowest.
func (t *table) last(ctx context.Context) (id int64, err error) {
	err = t.db.GetContext(ctx, &id, "SELECT COALESCE(MAX(id), 0) FROM "+t.name)
	return id, err
}

func (t *table) first(ctx context.Context) (id int64, err error) {
	err = t.db.GetContext(ctx, &id, "SELECT COALESCE(MIN(id), 0) FROM "+t.name)
	return id, err
}

// depth is how many facts wait, countMost at most.
func (t *table) depth(ctx context.Context) (n int64, err error) {
	err = t.db.GetContext(ctx, &n, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT id FROM %s LIMIT %d) AS some", t.name, countMost))
	return n, err
}

// oldest is when the first of the facts came about; zero when there is none.
func oldest(ctx context.Context, db *sqldb.DB) (time.Time, error) {
	var ms int64
	err := db.GetContext(ctx, &ms, "SELECT at_ms FROM facts ORDER BY id LIMIT 1")
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return time.UnixMilli(ms), err
}

func joined(ids []int64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")
}
