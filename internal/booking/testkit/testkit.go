// Package testkit is what the tests of booking share with bookingtest, which they can't
// import since it imports booking: databases, passes, a clock and a Kafka that can be away.
package testkit

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
)

// Noon is when the clock of the tests stands still.
var Noon = time.UnixMilli(1_800_000_000_000)

// SQLite names a new database of the test.
func SQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "shop.db") }

// Each runs a test on SQLite, and on MySQL or MariaDB when there is one.
func Each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("mysql", func(t *testing.T) { test(t, testenv.MySQL(t)) })
}

// Open opens a database and closes it with the test.
func Open(t testing.TB, dsn string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Clock is a seats' clock that the test moves. Until it is set it is the machine's.
type Clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu; zero: the machine's
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Now()
	}
	return c.at
}

// Set moves the clock to a moment, where it stands.
func (c *Clock) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// Epoch is the line's of every pass.
var Epoch = room.NewEpoch()

// Pass is a pass for "gig" that no one has used, good for ten minutes.
func Pass() token.Pass {
	return token.Pass{
		Admission: room.Admission{Room: "gig", Epoch: Epoch, Number: 1, Visitor: room.NewVisitorID()},
		Expires:   Noon.Add(10 * time.Minute),
	}
}

// IDs splits "A-1 A-2".
func IDs(s string) (list []seat.ID) {
	for f := range strings.FieldsSeq(s) {
		list = append(list, seat.ID(f))
	}
	return list
}

// Partitions is how many each topic of a Queue has.
const Partitions = 8

// Queue stands for Kafka: it keeps what is published, and can be away, or one of its
// partitions can.
type Queue struct {
	mu      sync.Mutex
	records []events.Record
	err     error
	sick    map[int]error
}

// NewQueue is one that takes everything.
func NewQueue() *Queue { return &Queue{sick: map[int]error{}} }

// Publish implements outbox.Publisher.
func (q *Queue) Publish(_ context.Context, records []events.Record) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	var part events.Unpublished
	for i, r := range records {
		if err := q.sick[PartitionOf(string(r.Key))]; err != nil {
			part.Failed, part.Err = append(part.Failed, i), err
			continue
		}
		q.records = append(q.records, r)
	}
	if part.Err != nil {
		return &part
	}
	return nil
}

// Partitions implements outbox.Publisher.
func (q *Queue) Partitions(context.Context, string) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Partitions, q.err
}

// PartitionOf is where a key goes.
func PartitionOf(key string) int { return int(events.Spread([]byte(key)) % Partitions) }

// Sicken has one partition answer err; nil: it works.
func (q *Queue) Sicken(partition int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sick[partition] = err
}

// Fail has every publish answer err; nil: it works.
func (q *Queue) Fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
}

// All is what was published.
func (q *Queue) All() []events.Record {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.records)
}

// Kind is "held" of waitroom.bookings.held.v1; it fails when the record is not one
// that the admitter would understand.
func Kind(t testing.TB, r events.Record) string {
	t.Helper()
	if r.Headers["ce_type"] == events.TypeStock {
		return "stock"
	}
	b, err := events.DecodeBooking(r.Headers, r.Value)
	if err != nil {
		t.Fatalf("fact %s: %v", r.Value, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.Type, "waitroom.bookings."), ".v1")
}
