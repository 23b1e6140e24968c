package booking

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

func sqliteDSN(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "shop.db") }

// await polls a fact that another goroutine brings about; the test's own timeout
// ends it.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for !fact() {
		if t.Context().Err() != nil {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Facts are published in order, deleted after the acknowledgement and not before.
func TestOutbox(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		q, reg := newQueue(), prometheus.NewRegistry()
		b := newBooker(t, dsn, 3, func(p *Parts) { p.Publisher, p.Metrics = q, reg })
		b.outbox.now = func() time.Time { return noon.Add(90 * time.Second) }
		waits := func(depth, oldest float64) {
			t.Helper()
			if d, o := gauge(t, reg, "waitroom_booker_outbox_depth"), gauge(t, reg, "waitroom_booker_outbox_oldest_seconds"); d != depth || o != oldest {
				t.Errorf("outbox: got %v facts, the oldest for %v s, want %v for %v s", d, o, depth, oldest)
			}
		}
		p := newPass()
		if err := b.store.buy(t.Context(), p, mustHold(t, b.store, p, "A-1", noon).ID, noon); err != nil {
			t.Fatal(err)
		}
		away := errors.New("kafka is away")
		q.fail(away)
		if _, err := b.outbox.step(t.Context()); !errors.Is(err, away) {
			t.Errorf("got %v, want %v", err, away)
		}
		wantFacts(t, b.store, "held confirmed finished")
		waits(3, 90)
		q.fail(nil)
		if n, err := b.outbox.step(t.Context()); n != 3 || err != nil {
			t.Errorf("got %d, %v, want 3 published", n, err)
		}
		wantFacts(t, b.store, "")
		if n, err := b.outbox.step(t.Context()); n != 0 || err != nil {
			t.Errorf("got %d, %v, want nothing more", n, err)
		}
		waits(0, 0)
		var got []string
		for _, r := range q.all() {
			got = append(got, kind(t, r))
			if string(r.Key) != string(p.Visitor) || r.Topic != events.TopicBookings {
				t.Errorf("got %s with key %s, want %s with key %s", r.Topic, r.Key, events.TopicBookings, p.Visitor)
			}
		}
		if want := []string{"held", "confirmed", "finished"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// An id that was given early and committed late is published though a higher one
// has been.
func TestOutboxLateCommit(t *testing.T) {
	q := newQueue()
	b := newBooker(t, sqliteDSN(t), 1, func(p *Parts) { p.Publisher = q })
	insert := func(id int, fact string) {
		t.Helper()
		_, err := b.store.db.Write(t.Context(), "INSERT INTO outbox (id, type, body) VALUES (?, ?, ?)", id, events.TypeSoldOut,
			`{"id":"`+fact+`","room":"gig","epoch":"`+string(epoch)+`","at_ms":1}`)
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range []int{7, 5, 6} {
		insert(id, string(rune('a'+i)))
		if n, err := b.outbox.step(t.Context()); n != 1 || err != nil {
			t.Errorf("id %d: got %d, %v, want 1 published", id, n, err)
		}
	}
	if got := len(q.all()); got != 3 {
		t.Errorf("got %d facts, want 3", got)
	}
}

// Two publishers on one table, with Kafka away now and then: every fact arrives,
// those of one visitor in order apart from repeats, and the table ends empty.
func TestOutboxTwoPublishers(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		q := newQueue()
		one := newBooker(t, dsn, 60, func(p *Parts) { p.Publisher = q })
		other := newBooker(t, dsn, 0, func(p *Parts) { p.Publisher = q })
		ctx, stop := context.WithCancel(t.Context())
		var loops sync.WaitGroup
		loops.Go(func() { one.outbox.run(ctx) })
		loops.Go(func() { other.outbox.run(ctx) })
		seats, err := one.store.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		at(20, func(i int) {
			s := []*Store{one.store, other.store}[i%2]
			for _, one := range seats[3*i : 3*i+3] {
				p := newPass()
				if i == 5 {
					q.fail(errors.New("away"))
				} else if i == 7 {
					q.fail(nil)
				}
				if err := s.buy(t.Context(), p, mustHold(t, s, p, string(one.ID), noon).ID, noon); err != nil {
					t.Errorf("buy %s: %v", one.ID, err)
				}
			}
		})
		q.fail(nil)
		await(t, "an empty outbox", func() bool { n, err := one.store.depth(t.Context()); return err == nil && n == 0 })
		stop()
		loops.Wait()
		order := map[string]string{}
		seen := map[string]bool{}
		for _, r := range q.all() {
			id := r.Headers["ce_id"]
			if !seen[id] {
				seen[id] = true
				order[string(r.Key)] += kind(t, r) + " "
			}
		}
		soldOut := 0
		for key, got := range order {
			if key == "gig" {
				soldOut++
				continue
			}
			if got != "held confirmed finished " {
				t.Errorf("visitor %s: got %q, want held confirmed finished", key, got)
			}
		}
		if len(order) != 61 || soldOut != 1 {
			t.Errorf("got %d keys, %d of them the room, want 60 visitors and the room", len(order), soldOut)
		}
	})
}

func admittedRecord(t *testing.T) (events.Record, string) {
	t.Helper()
	p := newPass()
	r := events.EncodeAdmitted("gig", room.Admitted{Visitor: p.Visitor, Number: p.Number, At: noon, Epoch: p.Epoch})
	return r, p.Admission.String()
}

// Good messages are recorded, others set aside; neither stands in the way of the
// other, and nothing is set aside twice without need.
func TestConsume(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		q := newQueue()
		b := newBooker(t, dsn, 1, func(p *Parts) { p.Publisher = q })
		good, id := admittedRecord(t)
		wrong, _ := admittedRecord(t)
		wrong.Value, wrong.Partition, wrong.Offset = []byte("{"), 3, 17
		foreign, _ := admittedRecord(t)
		foreign.Headers = map[string]string{"ce_type": "other.v1"}
		batch := []events.Record{wrong, good, foreign}

		away := errors.New("kafka is away")
		q.fail(away)
		if err := b.Consume(t.Context(), batch); !errors.Is(err, away) {
			t.Errorf("dead letters can't be written: got %v, want %v, so that the batch comes again", err, away)
		}
		q.fail(nil)
		for range 2 { // at least once
			if err := b.Consume(t.Context(), batch); err != nil {
				t.Errorf("consume: %v", err)
			}
		}
		if a, err := b.store.admission(t.Context(), id); err != nil || a.SpentMS != 0 {
			t.Errorf("got %+v, %v, want the admission recorded", a, err)
		}
		dead := q.all()
		if len(dead) != 4 {
			t.Fatalf("got %d dead letters, want 2 for each time", len(dead))
		}
		if dead[0].Topic != "waitroom.admitted.dlq" || dead[0].Headers["dlq_offset"] != "17" || dead[0].Headers["dlq_error"] == "" {
			t.Errorf("got %s %v, want the origin and the reason", dead[0].Topic, dead[0].Headers)
		}
		// The database is away: the batch must come again.
		b.store.db.Close()
		if err := b.Consume(t.Context(), batch); err == nil {
			t.Error("without a database: got no error, want one, so that the offset stays")
		}
	})
}

// Run's loops expire holds and publish facts by themselves, take what the
// consumer brings, and all end with the context.
func TestRun(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		q := newQueue()
		record, id := admittedRecord(t)
		ended := make(chan struct{})
		b := newBooker(t, dsn, 2, func(p *Parts) {
			p.Publisher = q
			p.Consume = func(ctx context.Context, handle func(context.Context, []events.Record) error) error {
				defer close(ended)
				if err := handle(ctx, []events.Record{record}); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			}
		})
		var mu sync.Mutex
		now := noon
		b.clock.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		b.clock.read = func(context.Context) (time.Time, error) { return b.clock.now(), nil }
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		await(t, "the admission", func() bool { _, err := b.store.admission(t.Context(), id); return err == nil })
		mustHold(t, b.store, newPass(), "A-1", noon)
		await(t, "held to be published", func() bool { return len(q.all()) == 1 })
		mu.Lock()
		now = noon.Add(time.Hour)
		mu.Unlock()
		await(t, "expired to be published", func() bool { return len(q.all()) == 2 })
		if got := kind(t, q.all()[1]); got != "expired" {
			t.Errorf("got %s, want expired", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: got %v, want nil after a stop", err)
		}
		<-ended
	})
}

// A consumer that can't run at all ends the booker with its error.
func TestRunConsumerFails(t *testing.T) {
	refused := errors.New("not authorised")
	b := newBooker(t, sqliteDSN(t), 1, func(p *Parts) {
		p.Consume = func(context.Context, func(context.Context, []events.Record) error) error { return refused }
	})
	if err := b.Run(t.Context()); !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
}

// The sweeper stops while the clock can't be trusted, and a shop whose clock is
// wrong doesn't open.
func TestClock(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := newBooker(t, sqliteDSN(t), 1, func(p *Parts) { p.Metrics = reg })
	theirs := noon
	var failing error
	b.clock.read = func(context.Context) (time.Time, error) { return theirs, failing }
	for _, c := range []struct {
		off  time.Duration // theirs
		away error
		want error
		gap  float64
	}{
		{0, nil, nil, 0},
		{2 * time.Second, nil, nil, -2},
		{-2001 * time.Millisecond, nil, seat.ErrSkew, 2.001},
		{0, sqldb.ErrAway, seat.ErrSkew, 2.001}, // nothing new is known
		{300 * time.Millisecond, nil, nil, -0.3},
	} {
		theirs, failing = noon.Add(c.off), c.away
		if err := b.clock.check(t.Context()); !errors.Is(err, c.away) {
			t.Errorf("%v: got %v, want %v", c.off, err, c.away)
		}
		if _, err := b.clock.time(); !errors.Is(err, c.want) {
			t.Errorf("database off by %v: got %v, want %v", c.off, err, c.want)
		}
		if got := gauge(t, reg, "waitroom_booker_clock_ahead_seconds"); got != c.gap {
			t.Errorf("database off by %v: got %v s ahead, want %v", c.off, got, c.gap)
		}
	}
	// While it is wrong nothing expires, however late it says it is.
	mustHold(t, b.store, newPass(), "A-1", noon.Add(-time.Hour))
	theirs = noon.Add(-time.Minute)
	for _, want := range []string{"A-1:held", "A-1"} {
		if err := b.clock.check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.expire(t.Context()); err != nil {
			t.Errorf("expire: %v", err)
		}
		wantSeats(t, b.store, want)
		theirs = noon
	}
}

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
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestOpenWithWrongClock(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		parts := newBookerParts(t, dsn)
		parts.Now = func() time.Time { return time.Now().Add(-3 * time.Second) }
		if _, err := New(t.Context(), config, parts); !errors.Is(err, seat.ErrSkew) {
			t.Errorf("got %v, want %v", err, seat.ErrSkew)
		}
	})
}

func TestConfigCheck(t *testing.T) {
	if err := config.Check(); err != nil {
		t.Errorf("got %v, want the tests' flags accepted", err)
	}
	err := Config{Grace: time.Hour, MaxSeats: 51, Keep: room.MaxPass}.Check()
	if err == nil {
		t.Fatal("got no error, want all values refused")
	}
	for _, flag := range []string{"--hold", "--grace", "--sweep", "--keep", "--max-seats", "--max-calls"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("got %q, want %s in it", err, flag)
		}
	}
}
