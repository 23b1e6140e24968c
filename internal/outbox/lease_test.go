package outbox_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/booking/bookingtest"
)

// One has the lease, until it gives it back or is not heard of; who is polite lets
// others go first.
func TestLease(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		s, o := newShop(t, dsn, 0, bookingtest.NewQueue(), prometheus.NewRegistry())
		a, b := o.Lease(), o.Lease()
		take := func(who string, l interface {
			Take(ctx context.Context, polite time.Duration) (bool, error)
		}, polite time.Duration, want bool) {
			t.Helper()
			if got, err := l.Take(t.Context(), polite); got != want || err != nil {
				t.Errorf("%s: got %t, %v, want %t", who, got, err, want)
			}
		}
		take("the first", a, 0, true)
		take("the second", b, 0, false)
		take("the first again", a, 0, true)
		if err := b.Give(t.Context()); err != nil {
			t.Fatal(err)
		}
		take("who has it not gave nothing", b, 0, false)
		if err := a.Give(t.Context()); err != nil {
			t.Fatal(err)
		}
		take("who gave it", a, time.Minute, false)
		take("the other", b, 0, true)
		write(t, s.DB, "UPDATE leases SET until_ms = until_ms - 5000")
		take("b was not heard of", a, 0, true)
		take("b comes back", b, 0, false)
	})
}

// A booker that can reach the database and not Kafka leaves the facts to one that can.
func TestTakesOver(t *testing.T) {
	dsn := bookingtest.SQLite(t)
	away, well := bookingtest.NewQueue(), bookingtest.NewQueue()
	away.Fail(errors.New("no route"))
	s, first := newShop(t, dsn, 0, away, prometheus.NewRegistry())
	_, second := newShop(t, dsn, 0, well, prometheus.NewRegistry())
	run(t, first, nil)
	until(t, "the first carries", first.Leads)
	run(t, second, nil)
	add(t, s.DB, about("v", "1"))
	until(t, "the fact, by the second", func() bool { return values(well.All(), all) == "1" })
	until(t, "the second alone to carry", func() bool { return second.Leads() && !first.Leads() })
}

// Who can publish nothing gives the lease up, and carries on while nobody takes it: a fact
// of a partition that is well leaves at once.
func TestCarriesUntilTaken(t *testing.T) {
	q := bookingtest.NewQueue()
	s, o := newShop(t, bookingtest.SQLite(t), 0, q, prometheus.NewRegistry())
	q.Sicken(3, errors.New("no leader"))
	add(t, s.DB, about(keyOf(3), "stuck"))
	run(t, o, nil)
	until(t, "the lease given up", func() bool {
		var owner string
		err := s.DB.GetContext(t.Context(), &owner, "SELECT owner FROM leases")
		return err == nil && owner == ""
	})
	began := time.Now()
	add(t, s.DB, about(keyOf(4), "well"))
	o.Poke()
	until(t, "the fact", func() bool { return values(q.All(), all) == "well" })
	if took := time.Since(began); took > time.Second { // nobody is carrying for 2 s
		t.Errorf("got it after %v, want a second at most", took)
	}
}
