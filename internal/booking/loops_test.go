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
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

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
		time.Sleep(time.Millisecond) // between two looks
	}
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
		// The database is away: what it is needed for comes again, and no dead letter does.
		b.store.db.Close()
		left := slices.Clone(batch)
		for range 3 {
			var again []events.Record
			for _, i := range events.Left(b.Consume(t.Context(), left), len(left)) {
				again = append(again, left[i])
			}
			left = again
		}
		if len(left) != 1 || string(left[0].Value) != string(good.Value) {
			t.Errorf("without a database: got %d left, want the admission, so that its offset stays", len(left))
		}
		if got := len(q.all()); got != 6 {
			t.Errorf("without a database: got %d dead letters more, want each once", got-4)
		}
	})
}

// Run's loops expire holds by themselves, take what the
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
		mu.Lock()
		now = noon.Add(time.Hour)
		mu.Unlock()
		await(t, "the hold to expire", func() bool { return outboxFacts(t, b.store) == "held expired" })
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
	err := Config{Grace: time.Hour, Keep: room.MaxPass}.Check()
	if err == nil {
		t.Fatal("got no error, want all values refused")
	}
	for _, flag := range []string{"--hold", "--grace", "--sweep", "--keep"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("got %q, want %s in it", err, flag)
		}
	}
}

// A clock that is set while the booker runs, this machine's or the database's or both,
// moves no hold's end, and is told; one that was wrong at the start, or drifts away, stops
// the sale.
func TestClockIsSet(t *testing.T) {
	for name, c := range map[string]struct {
		here, there time.Duration // by which the clocks are set, at the third check
		drift       time.Duration // of the database's, at each check
		skewed      bool
		said        string
	}{
		"neither":      {},
		"this one":     {here: time.Hour, said: "this machine's clock was set"},
		"the database": {there: -time.Hour, said: "the database's clock was set"},
		"both":         {here: time.Hour, there: time.Hour, said: "the database's clock was set"},
		"drift":        {drift: 200 * time.Millisecond, skewed: true, said: "clock differs from the database's"},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			var run, here, there time.Duration
			clock := newSeatsClock(func() time.Time { return noon.Add(run + here) },
				func(context.Context) (time.Time, error) { return noon.Add(run + there), nil }, zap.New(core), newMetrics(prometheus.NewRegistry()))
			clock.since = func() time.Duration { return run }
			for i := range 12 {
				if i == 3 {
					here, there = here+c.here, there+c.there
				}
				there += c.drift
				if err := clock.check(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got, want := clock.at(), noon.Add(run); !got.Equal(want) {
					t.Errorf("check %d: got %v, want %v", i, got, want)
				}
				run += clockEvery
			}
			if _, err := clock.time(); (err != nil) != c.skewed {
				t.Errorf("got %v, want stopped %v", err, c.skewed)
			}
			if n := logs.FilterMessageSnippet(c.said).Len(); (c.said == "") != (logs.Len() == 0) || (c.said != "" && n == 0) {
				t.Errorf("got %v, want %q", logs.All(), c.said)
			}
		})
	}
}
