package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/outbox"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

// stuckRows is how many facts wait for a partition without a leader: an hour of a small
// sale. WAITROOM_TEST_STUCK=1000000 asks for more.
func stuckRows(t *testing.T) int {
	t.Helper()
	text := os.Getenv("WAITROOM_TEST_STUCK")
	if text == "" {
		return 100_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		t.Fatalf("WAITROOM_TEST_STUCK: got %q, want a number from 1000", text)
	}
	return n
}

// double writes the first fact of the table again, where it waits, until there are n.
func double(t *testing.T, db *sqldb.DB, n int) {
	t.Helper()
	for have := 1; have < n; have = min(2*have, have+50_000) {
		write(t, db, fmt.Sprintf("INSERT INTO facts (topic, spread, msg_key, headers, payload, at_ms, lane) SELECT topic, spread, msg_key, headers, payload, at_ms, lane FROM facts ORDER BY id LIMIT %d", min(have, n-have, 50_000)))
	}
}

// reads is how many rows this connection has read, by key or one after the other.
func reads(t *testing.T, db *sqldb.DB) (sum int) {
	t.Helper()
	var list []struct {
		Name  string `db:"Variable_name"`
		Value int    `db:"Value"`
	}
	if err := db.SelectContext(t.Context(), &list, "SHOW SESSION STATUS LIKE 'Handler_read%'"); err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		sum += one.Value
	}
	return sum
}

// A look costs the same however many facts wait for a partition, and a fresh fact of
// another one leaves at once.
func TestLookBesideStuck(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		s, o := newShop(t, dsn, 0, q, prometheus.NewRegistry())
		const sick = 3
		q.Sicken(sick, errors.New("partition 3 has no leader"))
		n := stuckRows(t)
		add(t, s.DB, about(keyOf(sick), fmt.Sprintf("%0300d", 0)))
		for left := 1; left > 0; { // until it is found stuck
			if _, err := o.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.DB.GetContext(t.Context(), &left, "SELECT COUNT(*) FROM (SELECT id FROM facts WHERE lane = '' LIMIT 1) AS some"); err != nil {
				t.Fatal(err)
			}
		}
		double(t, s.DB, n)
		if s.DB.Dialect == sqldb.MySQL {
			s.DB.SetMaxOpenConns(1) // the one that counts
			before := reads(t, s.DB)
			const looks = 10
			for i := range looks {
				add(t, s.DB, about(keyOf(4), fmt.Sprint("fresh", i)))
				if _, err := o.Step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			// A try of the stuck partition beside them reads a batch.
			if got := (reads(t, s.DB) - before) / looks; got > 3000 {
				t.Errorf("got %d rows read by a look beside %d stuck ones, want them not read", got, n)
			}
			s.DB.SetMaxOpenConns(10)
		}
		run(t, o, nil)
		until(t, "who carries", o.Leads)
		for i := range 20 {
			add(t, s.DB, about(keyOf(5), fmt.Sprint("a", i)))
			began := time.Now()
			until(t, "a fresh fact", func() bool {
				all := q.All()
				return len(all) > 0 && string(all[len(all)-1].Value) == fmt.Sprint("a", i)
			})
			if took := time.Since(began); took > time.Second {
				t.Errorf("got a fresh fact after %v beside %d stuck ones, want a second at most", took, n)
			}
		}
		if depth, err := o.Depth(t.Context()); err != nil || int(depth) < min(n, 100_000) {
			t.Errorf("got %d facts left, %v, want the stuck ones", depth, err)
		}
	})
}

// Every look goes by the key of its lane, and sorts nothing but what it returns.
func TestLooksByLane(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		s, _ := newShop(t, dsn, 0, bookingtest.NewQueue(), prometheus.NewRegistry())
		add(t, s.DB, about("v", "1"))
		double(t, s.DB, 2000)
		for query, args := range outbox.Looks(s.DB.Dialect) {
			explain, used, wrong := "EXPLAIN ", "facts_lane", []string{"filesort", "ALL"}
			if s.DB.Dialect == sqldb.SQLite {
				explain, used, wrong = "EXPLAIN QUERY PLAN ", "SEARCH facts USING", []string{"SCAN facts", "TEMP B-TREE"}
			}
			found, err := s.DB.QueryxContext(t.Context(), explain+query, args...)
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			seen := 0
			for found.Next() {
				row := map[string]any{}
				if err := found.MapScan(row); err != nil {
					t.Fatal(err)
				}
				text := fmt.Sprintf("%s", row)
				if !strings.Contains(text, "facts") { // a part of a union
					continue
				}
				seen++
				if !strings.Contains(text, used) {
					t.Errorf("%s: got %s, want %s", query, text, used)
				}
				for _, no := range wrong {
					if strings.Contains(text, no) {
						t.Errorf("%s: got %s, want no %s", query, text, no)
					}
				}
			}
			if err := found.Close(); err != nil || seen == 0 {
				t.Errorf("%s: %v, %d reads of facts, want some", query, err, seen)
			}
		}
	})
}

// moody is a Publisher of one booker: what does not work for it may work for others.
type moody struct {
	*bookingtest.Queue
	mu         sync.Mutex
	sick       map[int]bool // guarded by mu, as all below
	partitions int          // 0: not known
	took       []string     // what this one published
}

func newMoody(q *bookingtest.Queue) *moody {
	return &moody{Queue: q, sick: map[int]bool{}, partitions: bookingtest.Partitions}
}

func (m *moody) set(partitions int, sick ...int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.partitions = partitions
	clear(m.sick)
	for _, p := range sick {
		m.sick[p] = true
	}
}

func (m *moody) Partitions(context.Context, string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.partitions == 0 {
		return 0, errors.New("nobody knows")
	}
	return m.partitions, nil
}

func (m *moody) Publish(ctx context.Context, records []events.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var part events.Unpublished
	var well []events.Record
	for i, r := range records {
		if m.partitions == 0 || m.sick[int(events.Spread(r.Key)%uint32(m.partitions))] {
			part.Failed, part.Err = append(part.Failed, i), errors.New("no leader")
			continue
		}
		well = append(well, r)
		m.took = append(m.took, string(r.Value))
	}
	if err := m.Queue.Publish(ctx, well); err != nil {
		return err
	}
	if part.Err != nil {
		return &part
	}
	return nil
}

// steps has some bookers step until the table is empty.
func steps(t *testing.T, all ...*outbox.Outbox) {
	t.Helper()
	until(t, "an empty table", func() bool {
		for _, o := range all {
			if _, err := o.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := o.Adopt(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		n, err := all[0].Depth(t.Context())
		return err == nil && n == 0
	})
}

// What one booker found stuck waits for the other one too, with all that comes behind it.
func TestStuckOfAnotherBooker(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		sick, well := newMoody(q), newMoody(q)
		s, first := newShop(t, dsn, 0, sick, prometheus.NewRegistry())
		_, second := newShop(t, dsn, 0, well, prometheus.NewRegistry())
		sick.set(bookingtest.Partitions, 3)
		add(t, s.DB, about(keyOf(3), "1"))
		for range 2 { // found stuck, and put aside
			if _, err := first.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		add(t, s.DB, about(keyOf(3), "2"), about(keyOf(4), "other"))
		steps(t, second)
		if got := values(q.All(), func(r events.Record) bool { return string(r.Key) == keyOf(3) }); got != "1 2" {
			t.Errorf("got %s, want 1 2", got)
		}
	})
}

// A topic gets partitions while facts wait for one of its old ones: those that go to a
// good one now leave, and those that do not hold back their keys.
func TestStuckWhileTopicGrows(t *testing.T) {
	for _, before := range []int{0, 8} { // 0: nobody knew
		t.Run(fmt.Sprint("from ", before), func(t *testing.T) {
			bookingtest.Each(t, func(t *testing.T, dsn string) {
				q := bookingtest.NewQueue()
				m := newMoody(q)
				s, o := newShop(t, dsn, 0, m, prometheus.NewRegistry())
				m.set(before, 3)
				key := func(partition int) string { // of 16
					for i := 0; ; i++ {
						if k := fmt.Sprint("k", i); events.Spread([]byte(k))%16 == uint32(partition) {
							return k
						}
					}
				}
				var some []events.Record
				for i := range 1200 { // more than a batch
					some = append(some, about(key(3), fmt.Sprint("sick", i)), about(key(11), fmt.Sprint("well", i)))
				}
				add(t, s.DB, some...)
				for range 4 {
					if _, err := o.Step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				m.set(16, 3)
				add(t, s.DB, about(key(11), "well last"), about(key(3), "sick last"))
				of := func(partition int) []string {
					return strings.Split(values(q.All(), func(r events.Record) bool { return string(r.Key) == key(partition) }), " ")
				}
				until(t, "the facts of the good partition", func() bool {
					if _, err := o.Step(t.Context()); err != nil {
						t.Fatal(err)
					}
					return len(of(11)) == 1202
				})
				if got := of(3)[0]; got != "" {
					t.Errorf("got %s published, want nothing of the stuck partition", got)
				}
				m.set(16)
				steps(t, o)
				for name, got := range map[string][]string{"sick": of(3), "well": of(11)} {
					for i := range 1200 {
						if len(got) != 1202 || got[i] != fmt.Sprint(name, i) {
							t.Fatalf("%s: got %d, of them %.100s, want all in order", name, len(got), got)
						}
					}
				}
			})
		})
	}
}

// A stranger holds the row of a fact whose partition is stuck. It stays where it is, and
// so does the next one of its key; others of the partition are put aside. All leave in
// order, and meanwhile those of good partitions do.
func TestStuckBehindLockedRow(t *testing.T) {
	dsn := testenv.MySQL(t)
	q := bookingtest.NewQueue()
	s, o := newShop(t, dsn, 0, q, prometheus.NewRegistry())
	const sick = 3
	q.Sicken(sick, errors.New("no leader"))
	add(t, s.DB, about(keyOf(sick), "1"))
	tx, err := bookingtest.Open(t, dsn).BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	tx.MustExecContext(t.Context(), "SELECT id FROM facts FOR UPDATE")
	add(t, s.DB, about(keyOf(sick), "2"), about(keyOf(4), "other"))
	began := time.Now()
	for range 3 {
		if _, err := o.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, took := values(q.All(), all), time.Since(began); got != "other" || took > 2*time.Second {
		t.Errorf("got %s in %v, want the other one and no wait for the stranger", got, took)
	}
	var aside int
	if err := s.DB.GetContext(t.Context(), &aside, "SELECT COUNT(*) FROM facts WHERE lane > ''"); err != nil || aside != 0 {
		t.Errorf("got %d rows put aside, %v, want none before the first of its key", aside, err)
	}
	q.Sicken(sick, nil)
	run(t, o, nil) // the stranger stays: it is published all the same
	until(t, "both", func() bool { return len(q.All()) >= 3 })
	_ = tx.Rollback() // or the server has, since it waited too long
	until(t, "an empty table", isEmpty(t, o))
	if got := values(q.All(), func(r events.Record) bool { return string(r.Key) == keyOf(sick) }); got != "1 2" {
		t.Errorf("got %s, want 1 2", got)
	}
}

// tooMany has facts wait in 256 lanes, more than may be stuck.
func tooMany(t *testing.T, db *sqldb.DB) {
	t.Helper()
	var some []events.Record
	for i := range 256 {
		some = append(some, about(fmt.Sprint("k", i), fmt.Sprint(i)))
	}
	add(t, db, some...)
	write(t, db, "UPDATE facts SET lane = topic || '/256/' || (id % 256)") // one in each, whatever its key
}

func noneOf256() (sick []int) {
	for p := range 256 {
		sick = append(sick, p)
	}
	return sick
}

// More partitions are stuck than may be: how many facts wait is measured all the same.
func TestMeasureOfTooManyStuck(t *testing.T) {
	m := newMoody(bookingtest.NewQueue())
	m.set(256, noneOf256()...)
	reg := prometheus.NewRegistry()
	s, o := newShop(t, bookingtest.SQLite(t), 0, m, reg)
	until(t, "who carries", func() bool { return o.Look(t.Context()) == nil && o.Leads() })
	tooMany(t, s.DB)
	if err := o.Look(t.Context()); err != nil {
		t.Errorf("got %v of a look, want it to go on", err)
	}
	if _, err := o.Step(t.Context()); err == nil {
		t.Error("got no error of a step, want too many stuck")
	}
	if got := metric(t, reg, "waitroom_booker_outbox_depth"); got != 256 {
		t.Errorf("got a depth of %v, want 256", got)
	}
	if err := o.SettleTries(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Steps that fail are a pause apart which doubles, though lanes are tried all the time.
func TestPauseBesideTries(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	m := newMoody(bookingtest.NewQueue())
	m.set(256, noneOf256()...)
	s, o := loggedShop(t, bookingtest.SQLite(t), 0, m, prometheus.NewRegistry(), zap.New(core))
	tooMany(t, s.DB)
	run(t, o, nil)
	until(t, "a step that fails", func() bool { return logs.FilterMessageSnippet("cannot be read from the database").Len() == 1 })
	began := time.Now()
	until(t, "some pauses", func() bool { return time.Since(began) > 3*time.Second })
	// They are gone: whether Kafka takes them is not what is asked here.
	write(t, s.DB, "DELETE FROM facts")
	until(t, "a step that goes well", func() bool { return logs.FilterMessageSnippet("are read again").Len() == 1 })
	// 50 ms at least, then 100, 200, and so on to 2.5 s: 15 s are less than 12 of them.
	if tries, _ := logs.FilterMessageSnippet("are read again").All()[0].ContextMap()["tries"].(int64); tries < 2 || tries > 12 {
		t.Errorf("got %d steps that failed, want more than one and 12 at most", tries)
	}
}
