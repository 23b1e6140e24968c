package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/testenv"
)

// stopMost is what a stop may take, whatever happens.
const stopMost = 5 * time.Second

// stops stops an outbox and says how long that took.
func stops(t *testing.T, stop func()) time.Duration {
	t.Helper()
	began := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); stop() }()
	select {
	case <-done:
	case <-time.After(3 * stopMost):
		panic("an outbox hangs in its stop") // the test's own end would wait for it
	}
	return time.Since(began)
}

// hung is a Kafka whose sick partitions refuse once, and then do not answer until the
// caller goes.
type hung struct {
	*bookingtest.Queue
	sick    func(partition int) bool
	refused [bookingtest.Partitions]atomic.Bool
	calls   atomic.Int64 // that hang now
}

func (h *hung) Publish(ctx context.Context, records []events.Record) error {
	var part events.Unpublished
	var well []events.Record
	for i, r := range records {
		p := bookingtest.PartitionOf(string(r.Key))
		if !h.sick(p) {
			well = append(well, r)
			continue
		}
		if h.refused[p].Swap(true) {
			h.calls.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}
		part.Failed, part.Err = append(part.Failed, i), errors.New("no leader")
	}
	if err := h.Queue.Publish(ctx, well); err != nil {
		return err
	}
	if part.Err != nil {
		return &part
	}
	return nil
}

// A booker carries, loses the lease and has it again, with tries under way all the time:
// there are never more than may be, and it stops.
func TestStopAfterLeadingTwice(t *testing.T) {
	q := &hung{Queue: bookingtest.NewQueue(), sick: func(p int) bool { return p < 4 }}
	s, o := newShop(t, bookingtest.SQLite(t), 0, q, prometheus.NewRegistry())
	stop := run(t, o, nil)
	until(t, "who carries", o.Leads)
	var some []events.Record
	for p := range 4 {
		some = append(some, about(keyOf(p), fmt.Sprint("sick", p)))
	}
	add(t, s.DB, some...)
	o.Poke()
	until(t, "four tries", func() bool { return q.calls.Load() == 4 })
	write(t, s.DB, "UPDATE leases SET owner = 'another', until_ms = 9000000000000000")
	until(t, "the lease lost", func() bool { return !o.Leads() })
	for p := range 4 { // or the first step would hang, not the tries
		q.refused[p].Store(false)
	}
	write(t, s.DB, "UPDATE leases SET until_ms = 0")
	until(t, "the lease again", o.Leads)
	for i := range 100 {
		add(t, s.DB, about(keyOf(5), fmt.Sprint("well", i)))
		o.Poke()
		until(t, "a good one", func() bool { return len(q.All()) == i+1 })
	}
	if n := q.calls.Load(); n != 4 {
		t.Errorf("got %d tries under way, want 4 at most", n)
	}
	if took := stops(t, stop); took > stopMost {
		t.Errorf("stopped in %v, want %v at most", took, stopMost)
	}
}

// A database that does not answer any more, and a Kafka that does not: the stop ends all
// the same.
func TestStopWithoutServers(t *testing.T) {
	for _, when := range []string{"before the stop", "within it"} {
		t.Run(when, func(t *testing.T) {
			dsn := testenv.MySQL(t)
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			relay := testenv.NewRelay(t, u.Host)
			u.Host = relay.Addr
			q := &hung{Queue: bookingtest.NewQueue(), sick: func(p int) bool { return p < 4 }}
			s, _ := newShop(t, dsn, 0, bookingtest.NewQueue(), prometheus.NewRegistry())
			_, o := newShop(t, u.String(), 0, q, prometheus.NewRegistry())
			writers := make(chan struct{}) // never closed
			stop := run(t, o, writers)
			until(t, "who carries", o.Leads)
			var some []events.Record
			for p := range 8 {
				some = append(some, about(keyOf(p), fmt.Sprint(p)))
			}
			add(t, s.DB, some...)
			o.Poke()
			until(t, "the good ones and four tries", func() bool { return len(q.All()) == 4 && q.calls.Load() == 4 })
			if when == "before the stop" {
				relay.Silence()
			}
			stopped := make(chan time.Duration, 1)
			go func() { stopped <- stops(t, stop) }()
			if when == "within it" {
				add(t, s.DB, about(keyOf(5), "last"))
				until(t, "the last one, by the stop", func() bool { return len(q.All()) == 5 })
				relay.Silence()
			}
			if took := <-stopped; took > stopMost {
				t.Errorf("stopped in %v, want %v at most", took, stopMost)
			}
			relay.Cut()
		})
	}
}
