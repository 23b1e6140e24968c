package booking

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"waitroom/internal/booking/testkit"
	"waitroom/internal/events"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The shop of the tests: holds of 5 minutes, and a clock that tests move.
var (
	rules  = Rules{Hold: 5 * time.Minute, Grace: 2 * time.Second, Extend: 2 * time.Minute}
	config = Config{Hold: rules.Hold, Grace: rules.Grace, Extend: rules.Extend, Sweep: 10 * time.Millisecond, Keep: 30 * 24 * time.Hour}
	noon   = testkit.Noon
	epoch  = testkit.Epoch
)

// each runs a test on SQLite, and on MySQL or MariaDB when there is one.
func each(t *testing.T, test func(t *testing.T, dsn string)) { testkit.Each(t, test) }

func openDB(t *testing.T, dsn string) *sqldb.DB { t.Helper(); return testkit.Open(t, dsn) }

// newPass is a pass for "gig" that no one has used, good for ten minutes.
func newPass() token.Pass { return testkit.Pass() }

// ids splits "A-1 A-2".
func ids(s string) []seat.ID { return testkit.IDs(s) }

// newStore is a store with a room "gig" of count seats, in rows of 10.
func newStore(t *testing.T, dsn string, count int) *Store {
	t.Helper()
	s, err := NewStore(t.Context(), openDB(t, dsn), rules)
	if err != nil {
		t.Fatal(err)
	}
	addSeats(t, s, count)
	return s
}

func addSeats(t *testing.T, s *Store, count int) int {
	t.Helper()
	ids, err := seat.Generate(count, 10)
	if err != nil {
		t.Fatal(err)
	}
	added, err := s.AddSeats(t.Context(), "gig", ids)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func mustHold(t *testing.T, s *Store, p token.Pass, seats string, now time.Time) seat.Hold {
	t.Helper()
	h, _, err := s.Hold(t.Context(), p, ids(seats), now)
	if err != nil {
		t.Fatalf("hold %s: %v", seats, err)
	}
	return h
}

// buy confirms without a gateway.
func (s *Store) buy(ctx context.Context, p token.Pass, id seat.HoldID, now time.Time) error {
	h, err := s.hold(ctx, p, id)
	if err != nil {
		return err
	}
	_, err = s.confirm(ctx, p, Key{}, h, "paid", false, now)
	return err
}

// quiet returns when no act is under way any more, of visitors who went away either.
func (s *Store) quiet(t *testing.T) {
	t.Helper()
	await(t, "the acts to end", func() bool {
		s.acts.mu.Lock()
		defer s.acts.mu.Unlock()
		return s.acts.workers == 0 && s.acts.loners == 0
	})
}

// wantSeats compares the map of "gig": "A-1 A-2:held A-3:booked", where free goes
// without saying.
func wantSeats(t *testing.T, s *Store, want string) {
	t.Helper()
	seats, err := s.Seats(t.Context(), "gig")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, one := range seats {
		text := string(one.ID)
		if one.State != seat.Free {
			text += ":" + string(one.State)
		}
		got = append(got, text)
	}
	if g := strings.Join(got, " "); g != want {
		t.Errorf("seats: got %s, want %s", g, want)
	}
}

// outboxRecords is what is in the outbox.
func outboxRecords(t *testing.T, s *Store) (records []events.Record) {
	t.Helper()
	var rows []struct{ Headers, Payload []byte }
	if err := s.db.SelectContext(t.Context(), &rows, "SELECT headers, payload FROM facts ORDER BY id"); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		record := events.Record{Value: r.Payload}
		if err := json.Unmarshal(r.Headers, &record.Headers); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	return records
}

// outboxFacts are the kinds of facts in the outbox, in order: "held confirmed …", without
// those of the stock.
func outboxFacts(t *testing.T, s *Store) string {
	t.Helper()
	var kinds []string
	for _, r := range outboxRecords(t, s) {
		if r.Headers["ce_type"] != events.TypeStock {
			kinds = append(kinds, testkit.Kind(t, r))
		}
	}
	return strings.Join(kinds, " ")
}

func wantFacts(t *testing.T, s *Store, want string) {
	t.Helper()
	if got := outboxFacts(t, s); got != want {
		t.Errorf("facts: got %q, want %q", got, want)
	}
}

// queue stands for Kafka: it keeps what is published, and can be away.
type queue struct{ *testkit.Queue }

func newQueue() *queue { return &queue{testkit.NewQueue()} }

func (q *queue) fail(err error) { q.Fail(err) }

func (q *queue) all() []events.Record { return q.All() }

// newBooker is a booker on a store of its own with count seats. Its clock stands
// still at noon.
func newBooker(t *testing.T, dsn string, count int, change func(*Parts)) *Booker {
	t.Helper()
	parts := newBookerParts(t, dsn)
	if change != nil {
		change(&parts)
	}
	b, err := New(t.Context(), config, parts)
	if err != nil {
		t.Fatal(err)
	}
	// The start has checked the machine's clock; from here on the test moves it.
	if parts.Now == nil {
		b.clock.now, b.clock.since = func() time.Time { return noon }, nil
	}
	if count > 0 {
		addSeats(t, b.store, count)
	}
	return b
}

func newBookerParts(t *testing.T, dsn string) Parts {
	return Parts{
		DB: openDB(t, dsn), Publisher: newQueue(), Gateway: FreeGateway{},
		Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	}
}
