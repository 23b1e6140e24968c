package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/outbox"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newShop is a shop with an outbox of its own.
func newShop(t testing.TB, dsn string, count int, q outbox.Publisher, reg *prometheus.Registry) (*bookingtest.Shop, *outbox.Outbox) {
	t.Helper()
	return loggedShop(t, dsn, count, q, reg, zap.NewNop())
}

func loggedShop(t testing.TB, dsn string, count int, q outbox.Publisher, reg *prometheus.Registry, log *zap.Logger) (*bookingtest.Shop, *outbox.Outbox) {
	t.Helper()
	var o *outbox.Outbox
	s := bookingtest.New(t, dsn, count, func(p *booking.Parts) {
		o = outbox.New(p.DB, q, p.Now, log, reg)
		p.Wrote = o.Poke
	})
	return s, o
}

// run runs an outbox until the test ends, or stop.
func run(t testing.TB, o *outbox.Outbox, writers <-chan struct{}) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { o.Run(ctx, writers) })
	stop = sync.OnceFunc(func() { cancel(); loop.Wait() })
	t.Cleanup(stop)
	return stop
}

// until polls a fact that a goroutine brings about; the test's own time ends it.
func until(t testing.TB, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !fact(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func isEmpty(t testing.TB, o *outbox.Outbox) func() bool {
	return func() bool {
		n, err := o.Depth(t.Context())
		return err == nil && n == 0
	}
}

// about is a fact of a key.
func about(key, id string) events.Record {
	return events.Record{Topic: events.TopicBookings, Key: []byte(key), Value: []byte(id), Headers: map[string]string{
		"ce_id": id, "ce_type": "waitroom.bookings.later.v9", "ce_time": bookingtest.Noon.UTC().Format(time.RFC3339Nano)}}
}

// add writes facts in a transaction of their own.
func add(t testing.TB, db *sqldb.DB, records ...events.Record) {
	t.Helper()
	if err := db.Tx(t.Context(), func(tx *sqlx.Tx) error { return outbox.Add(t.Context(), tx, records...) }); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Write(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// keyOf is a key of a partition.
func keyOf(partition int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("visitor-%d", i); bookingtest.PartitionOf(key) == partition {
			return key
		}
	}
}

// values are what was published, each once, in the order of the first time.
func values(records []events.Record, of func(events.Record) bool) string {
	var list []string
	seen := map[string]bool{}
	for _, r := range records {
		if v := string(r.Value); of(r) && !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	}
	return strings.Join(list, " ")
}

func all(events.Record) bool { return true }

// buy holds and confirms, and says who did.
func buy(t *testing.T, s *bookingtest.Shop, seats string) string {
	t.Helper()
	p := bookingtest.Pass()
	if _, err := s.Confirm(t.Context(), p, s.MustHold(t, p, seats).ID); err != nil {
		t.Errorf("buy %s: %v", seats, err)
	}
	return string(p.Visitor)
}

func kinds(t *testing.T, records []events.Record) string {
	t.Helper()
	var list []string
	for _, r := range records {
		list = append(list, bookingtest.Kind(t, r))
	}
	return strings.Join(list, " ")
}

// Facts are published in order, deleted after the acknowledgement and not before, and
// counted meanwhile.
func TestOutbox(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q, reg := bookingtest.NewQueue(), prometheus.NewRegistry()
		s, o := newShop(t, dsn, 3, q, reg)
		o.Clock(func() time.Time { return bookingtest.Noon.Add(90 * time.Second) })
		waits := func(depth, oldest float64) {
			t.Helper()
			if err := o.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d, o := metric(t, reg, "waitroom_booker_outbox_depth"), metric(t, reg, "waitroom_booker_outbox_oldest_seconds"); d != depth || o != oldest {
				t.Errorf("outbox: got %v facts, the oldest for %v s, want %v for %v s", d, o, depth, oldest)
			}
		}
		visitor := buy(t, s, "A-1")
		q.Fail(errors.New("kafka is away"))
		if _, err := o.Step(t.Context()); err != nil {
			t.Errorf("got %v, want no trouble with the table", err)
		}
		if got := metric(t, reg, "waitroom_booker_outbox_stuck_partitions"); got != 1 {
			t.Errorf("got %v stuck partitions, want 1", got)
		}
		waits(3, 90)
		q.Fail(nil)
		run(t, o, nil)
		until(t, "an empty table", isEmpty(t, o))
		until(t, "the figures of it", func() bool {
			return metric(t, reg, "waitroom_booker_outbox_depth") == 0 && metric(t, reg, "waitroom_booker_outbox_oldest_seconds") == 0 &&
				metric(t, reg, "waitroom_booker_outbox_stuck_partitions") == 0
		})
		for _, r := range q.All() {
			if string(r.Key) != visitor || r.Topic != events.TopicBookings {
				t.Errorf("got %s with key %s, want %s with key %s", r.Topic, r.Key, events.TopicBookings, visitor)
			}
		}
		if got, want := kinds(t, q.All()), "held confirmed finished"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// What is published is what was written, to the byte: a fact of a kind and with fields
// that this version does not know, of another topic.
func TestStoredBytes(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		s, o := newShop(t, dsn, 0, q, prometheus.NewRegistry())
		want := events.Record{Topic: "waitroom.payments", Key: []byte{0, 'k', 0xff}, Value: []byte("{\"later\":\"\x00\xff'\\ü\"}"),
			Headers: map[string]string{"ce_type": "later.v2", "traceparent": "00-\"é'"}}
		bare := events.Record{Topic: "waitroom.payments"}
		add(t, s.DB, want, bare)
		run(t, o, nil)
		until(t, "both", func() bool { return len(q.All()) == 2 })
		got := q.All()[0]
		if got.Topic != want.Topic || string(got.Key) != string(want.Key) || string(got.Value) != string(want.Value) || fmt.Sprint(got.Headers) != fmt.Sprint(want.Headers) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// Rows of the table that an older booker writes are carried as they stand there.
func TestOlderBookersRows(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		s, o := newShop(t, dsn, 0, q, prometheus.NewRegistry())
		p := bookingtest.Pass()
		body := `{"id":"x.finished","room":"gig","epoch":"` + string(bookingtest.Epoch) + `","admission":"` + p.Admission.String() + `","at_ms":7,"later":1}`
		write(t, s.DB, "INSERT INTO outbox (type, body) VALUES (?, ?)", events.TypeFinished, body)
		run(t, o, nil)
		until(t, "an empty table", isEmpty(t, o))
		got := q.All()
		if len(got) != 1 || string(got[0].Value) != body || string(got[0].Key) != string(p.Visitor) || got[0].Headers["ce_id"] != "x.finished" {
			t.Errorf("got %v, want the row as it was written", got)
		}
	})
}

// An id that was given early and committed late is published though a higher one
// has been.
func TestOutboxLateCommit(t *testing.T) {
	q := bookingtest.NewQueue()
	s, o := newShop(t, bookingtest.SQLite(t), 1, q, prometheus.NewRegistry())
	for _, id := range []int{7, 5, 6} {
		write(t, s.DB, "INSERT INTO facts (id, topic, spread, msg_key, headers, payload, at_ms) VALUES (?, 'waitroom.bookings', 0, x'', CAST('{}' AS BLOB), CAST(? AS BLOB), 0)", id, fmt.Sprint(id))
		if n, err := o.Step(t.Context()); n != 1 || err != nil {
			t.Errorf("id %d: got %d, %v, want 1 published", id, n, err)
		}
	}
	if got := values(q.All(), all); got != "7 5 6" {
		t.Errorf("got %s, want all three", got)
	}
}

// A partition without a leader holds back its own keys, in their order, and no others.
func TestStuckPartition(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q, reg := bookingtest.NewQueue(), prometheus.NewRegistry()
		core, logs := observer.New(zapcore.WarnLevel)
		s, o := loggedShop(t, dsn, 0, q, reg, zap.New(core))
		const sick = 3
		q.Sicken(sick, errors.New("partition 3 has no leader"))
		var some []events.Record
		var want string
		for i := range 1500 { // more than one batch, so that they fill the table's beginning
			some = append(some, about(keyOf(sick), fmt.Sprint("s", i)))
			want += fmt.Sprint(" s", i)
		}
		add(t, s.DB, some...)
		run(t, o, nil)
		until(t, "the stuck partition", func() bool { return metric(t, reg, "waitroom_booker_outbox_stuck_partitions") == 1 })
		add(t, s.DB, about(keyOf(sick), "last"), about(keyOf(4), "a"), about(keyOf(5), "b"), about(keyOf(4), "c"))
		o.Poke()
		until(t, "the facts of the others", func() bool { return values(q.All(), all) == "a b c" })
		until(t, "those of the stuck one left alone", func() bool { n, err := o.Depth(t.Context()); return n == 1501 && err == nil })
		if n := logs.FilterMessageSnippet("cannot be published").Len(); n != 1 {
			t.Errorf("got %d lines about it, want one", n)
		}
		q.Sicken(sick, nil)
		until(t, "an empty table", isEmpty(t, o))
		if got := values(q.All(), func(r events.Record) bool { return string(r.Key) == keyOf(sick) }); got != strings.TrimSpace(want)+" last" {
			t.Errorf("got %.200s…, want them in their order", got)
		}
	})
}

// A row that can't be read is set aside and in nobody's way, also while its dead letter
// can't be written.
func TestUnreadableRow(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q, reg := bookingtest.NewQueue(), prometheus.NewRegistry()
		core, logs := observer.New(zapcore.ErrorLevel)
		s, o := loggedShop(t, dsn, 0, q, reg, zap.New(core))
		insert := "INSERT INTO facts (topic, spread, msg_key, headers, payload, at_ms) VALUES "
		const sick = 2
		write(t, s.DB, insert+"('waitroom.bookings', 0, ?, ?, ?, 0)", []byte(keyOf(sick)), []byte("{no json"), []byte("<script>"))
		write(t, s.DB, insert+"('no'' topic', 0, ?, ?, ?, 0)", []byte(keyOf(sick)), []byte("{}"), []byte("x"))
		write(t, s.DB, insert+"('waitroom.bookings', 0, ?, ?, ?, 0)", []byte(keyOf(sick)), []byte("{}"), []byte(strings.Repeat("x", 600<<10)))
		write(t, s.DB, "INSERT INTO outbox (type, body) VALUES ('x', 'no json')")
		q.Sicken(sick, errors.New("no leader"))
		add(t, s.DB, about(keyOf(4), "good"))
		run(t, o, nil)
		good := func() string {
			return values(q.All(), func(r events.Record) bool { return r.Topic == events.TopicBookings })
		}
		until(t, "the good one", func() bool { return good() == "good" })
		q.Sicken(sick, nil)
		until(t, "an empty table", isEmpty(t, o))
		if got := good(); got != "good" {
			t.Errorf("got %s among the facts, want the good one only", got)
		}
		until(t, "four dead letters", func() bool { return metric(t, reg, "waitroom_booker_facts_unreadable_total") == 4 })
		text := values(q.All(), func(r events.Record) bool { return r.Topic == "waitroom.bookings.dlq" && r.Headers["dlq_error"] != "" })
		if !strings.Contains(text, "<script>") || !strings.Contains(text, "no json") {
			t.Errorf("got %.100s, want the rows as they were", text)
		}
		for _, want := range []string{"row 1 of facts", "row 2 of facts", "row 3 of facts", "row 1 of outbox"} {
			found := false
			for _, e := range logs.All() {
				found = found || strings.Contains(fmt.Sprint(e.ContextMap()["error"]), want)
			}
			if !found {
				t.Errorf("no line names %s", want)
			}
		}
	})
}

// A stranger who vanished holds the row of a fact that was published: the facts around
// it are deleted, and it is not published again and again.
func TestLockedRow(t *testing.T) {
	dsn := testenv.MySQL(t)
	q := bookingtest.NewQueue()
	s, o := newShop(t, dsn, 0, q, prometheus.NewRegistry())
	var some []events.Record
	for i := range 400 {
		some = append(some, about(fmt.Sprint("v", i), fmt.Sprint(i)))
	}
	add(t, s.DB, some...)
	other := bookingtest.Open(t, dsn)
	tx, err := other.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	tx.MustExecContext(t.Context(), "UPDATE facts SET at_ms = 1 WHERE id = 200")
	// One that nobody sees yet must stop nobody either.
	if err := outbox.Add(t.Context(), tx, about("late", "late")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 3 {
		if _, err := o.Step(t.Context()); err != nil {
			t.Errorf("got %v, want the others deleted", err)
		}
	}
	if lasted := time.Since(began); lasted > 3*time.Second { // a wait for a lock is 5 s
		t.Errorf("three steps took %v, want no wait for the stranger", lasted)
	}
	if n, err := o.Depth(t.Context()); n != 1 || err != nil {
		t.Errorf("got %d facts left, %v, want the stranger's", n, err)
	}
	if n := len(q.All()); n != 400 {
		t.Errorf("got %d published, want each once", n)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	run(t, o, nil)
	until(t, "an empty table", isEmpty(t, o))
	if got := values(q.All()[400:], all); got != "late" {
		t.Errorf("got %s after the stranger, want what it wrote", got)
	}
}

// The statements that delete go by the key, however few rows there are.
func TestDeletesByKey(t *testing.T) {
	s, _ := newShop(t, testenv.MySQL(t), 0, bookingtest.NewQueue(), prometheus.NewRegistry())
	var some []events.Record
	for i := range 300 {
		some = append(some, about("v", fmt.Sprint(i)))
	}
	add(t, s.DB, some...)
	var ids []int64
	for i := range int64(90) {
		ids = append(ids, 1+3*i)
	}
	for _, name := range []string{"facts", "outbox"} {
		statements := outbox.Deletes(name, ids)
		if name == "facts" {
			statements = append(statements, outbox.Puts(ids)...)
		}
		for _, statement := range statements {
			rows, err := s.DB.QueryxContext(t.Context(), "EXPLAIN "+statement)
			if err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
			found := false
			for rows.Next() {
				row := map[string]any{}
				if err := rows.MapScan(row); err != nil {
					t.Fatal(err)
				}
				if fmt.Sprintf("%s", row["table"]) == "f" {
					if found = true; fmt.Sprintf("%s", row["type"]) != "eq_ref" {
						t.Errorf("%.60s: got %s, want eq_ref", statement, row["type"])
					}
				}
			}
			if err := rows.Close(); err != nil || !found && name == "facts" {
				t.Errorf("%.60s: %v, found %t", statement, err, found)
			}
		}
	}
}

// Two bookers on one table, with Kafka away now and then: every fact arrives, those of
// one visitor in order apart from repeats, and the table ends empty.
func TestOutboxTwoPublishers(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		one, first := newShop(t, dsn, 60, q, prometheus.NewRegistry())
		other, second := newShop(t, dsn, 0, q, prometheus.NewRegistry())
		run(t, first, nil)
		run(t, second, nil)
		seats, err := one.Store.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		var buyers sync.WaitGroup
		for i := range 20 {
			buyers.Go(func() {
				for _, s := range seats[3*i : 3*i+3] {
					switch i {
					case 5:
						q.Fail(errors.New("away"))
					case 7:
						q.Fail(nil)
					}
					buy(t, []*bookingtest.Shop{one, other}[i%2], string(s.ID))
				}
			})
		}
		buyers.Wait()
		q.Fail(nil)
		until(t, "an empty table", isEmpty(t, first))
		order := map[string][]events.Record{}
		seen := map[string]bool{}
		for _, r := range q.All() {
			if id := r.Headers["ce_id"]; !seen[id] {
				seen[id] = true
				order[string(r.Key)] = append(order[string(r.Key)], r)
			}
		}
		if got := kinds(t, order["gig"]); got != "sold_out stock" {
			t.Errorf("the room: got %q, want sold_out and the stock once", got)
		}
		delete(order, "gig")
		for key, records := range order {
			if got := kinds(t, records); got != "held confirmed finished" {
				t.Errorf("visitor %s: got %q, want held confirmed finished", key, got)
			}
		}
		if len(order) != 60 {
			t.Errorf("got %d visitors, want 60", len(order))
		}
	})
}

// metric is what a gauge or a counter without labels says.
func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
