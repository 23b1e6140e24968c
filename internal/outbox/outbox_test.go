package outbox_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newShop is a shop with an outbox of its own.
func newShop(t *testing.T, dsn string, count int, q *bookingtest.Queue, reg *prometheus.Registry) (*bookingtest.Shop, *outbox.Outbox) {
	t.Helper()
	var o *outbox.Outbox
	s := bookingtest.New(t, dsn, count, func(p *booking.Parts) {
		o = outbox.New(p.DB, q, p.Now, zap.NewNop(), reg)
		p.Wrote = o.Poke
	})
	return s, o
}

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

// Facts are published in order, deleted after the acknowledgement and not before.
func TestOutbox(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q, reg := bookingtest.NewQueue(), prometheus.NewRegistry()
		s, o := newShop(t, dsn, 3, q, reg)
		o.Clock(func() time.Time { return bookingtest.Noon.Add(90 * time.Second) })
		waits := func(depth, oldest float64) {
			t.Helper()
			if d, o := gauge(t, reg, "waitroom_booker_outbox_depth"), gauge(t, reg, "waitroom_booker_outbox_oldest_seconds"); d != depth || o != oldest {
				t.Errorf("outbox: got %v facts, the oldest for %v s, want %v for %v s", d, o, depth, oldest)
			}
		}
		visitor := buy(t, s, "A-1")
		away := errors.New("kafka is away")
		q.Fail(away)
		if _, err := o.Step(t.Context()); !errors.Is(err, away) {
			t.Errorf("got %v, want %v", err, away)
		}
		waits(3, 90)
		q.Fail(nil)
		if n, err := o.Step(t.Context()); n != 3 || err != nil {
			t.Errorf("got %d, %v, want 3 published", n, err)
		}
		if n, err := o.Step(t.Context()); n != 0 || err != nil {
			t.Errorf("got %d, %v, want nothing more", n, err)
		}
		waits(0, 0)
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

// An id that was given early and committed late is published though a higher one
// has been.
func TestOutboxLateCommit(t *testing.T) {
	q := bookingtest.NewQueue()
	s, o := newShop(t, bookingtest.SQLite(t), 1, q, prometheus.NewRegistry())
	insert := func(id int, fact string) {
		t.Helper()
		_, err := s.DB.Write(t.Context(), "INSERT INTO outbox (id, type, body) VALUES (?, ?, ?)", id, events.TypeSoldOut,
			`{"id":"`+fact+`","room":"gig","epoch":"`+string(bookingtest.Epoch)+`","at_ms":1}`)
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range []int{7, 5, 6} {
		insert(id, string(rune('a'+i)))
		if n, err := o.Step(t.Context()); n != 1 || err != nil {
			t.Errorf("id %d: got %d, %v, want 1 published", id, n, err)
		}
	}
	if got := len(q.All()); got != 3 {
		t.Errorf("got %d facts, want 3", got)
	}
}

// Two publishers on one table, with Kafka away now and then: every fact arrives,
// those of one visitor in order apart from repeats, and the table ends empty.
func TestOutboxTwoPublishers(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		one, first := newShop(t, dsn, 60, q, prometheus.NewRegistry())
		other, second := newShop(t, dsn, 0, q, prometheus.NewRegistry())
		ctx, stop := context.WithCancel(t.Context())
		var loops, buyers sync.WaitGroup
		loops.Go(func() { first.Run(ctx) })
		loops.Go(func() { second.Run(ctx) })
		seats, err := one.Store.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
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
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if n, err := first.Depth(t.Context()); err == nil && n == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the outbox does not become empty")
			}
		}
		stop()
		loops.Wait()
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

// gauge is what a metric without labels says.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
