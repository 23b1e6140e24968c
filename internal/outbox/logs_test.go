package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
)

// What does not work is told once while something else works, each question in words of
// its own, and once when it is over.
func TestOneLogPerQuestion(t *testing.T) {
	for name, c := range map[string]struct {
		breaks, mends func(t *testing.T, s *bookingtest.Shop, q *bookingtest.Queue)
		down, up      string
	}{
		"who carries": {
			func(t *testing.T, s *bookingtest.Shop, _ *bookingtest.Queue) {
				write(t, s.DB, "ALTER TABLE leases RENAME TO hidden")
			},
			func(t *testing.T, s *bookingtest.Shop, _ *bookingtest.Queue) {
				write(t, s.DB, "ALTER TABLE hidden RENAME TO leases")
			},
			"who carries", "says again who carries",
		},
		"an older booker's fact": {
			func(t *testing.T, s *bookingtest.Shop, q *bookingtest.Queue) {
				p := bookingtest.Pass()
				q.Sicken(bookingtest.PartitionOf(string(p.Visitor)), errors.New("no leader"))
				write(t, s.DB, "INSERT INTO outbox (type, body) VALUES (?, ?)", events.TypeFinished,
					`{"id":"x.finished","room":"gig","epoch":"`+string(bookingtest.Epoch)+`","admission":"`+p.Admission.String()+`","at_ms":7}`)
			},
			func(_ *testing.T, _ *bookingtest.Shop, q *bookingtest.Queue) {
				for p := range bookingtest.Partitions {
					q.Sicken(p, nil)
				}
			},
			"older booker cannot be published", "older booker are published again",
		},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zapcore.InfoLevel)
			q := bookingtest.NewQueue()
			s, o := loggedShop(t, bookingtest.SQLite(t), 0, q, prometheus.NewRegistry(), zap.New(core))
			run(t, o, nil)
			until(t, "who carries", o.Leads)
			c.breaks(t, s, q)
			began := time.Now()
			n := len(q.All())
			// Three looks a second apart fail beside steps that go well.
			until(t, "three looks", func() bool { return time.Since(began) > 3500*time.Millisecond })
			for i := range bookingtest.Partitions { // one at least leaves
				add(t, s.DB, about(keyOf(i), fmt.Sprint(i)))
			}
			o.Poke()
			until(t, "facts beside it", func() bool { return len(q.All()) > n })
			if all := logs.All(); len(all) == 0 || logs.FilterMessageSnippet(c.down).Len() != 1 || logs.FilterMessageSnippet("again").FilterLevelExact(zapcore.InfoLevel).Len() > 0 {
				t.Errorf("got lines %v, want one that says %q and none that it is over", messages(all), c.down)
			}
			c.mends(t, s, q)
			until(t, "the line that it is over", func() bool { return logs.FilterMessageSnippet(c.up).Len() == 1 })
			if tries, _ := logs.FilterMessageSnippet(c.up).All()[0].ContextMap()["tries"].(int64); tries < 3 {
				t.Errorf("got an outage of %d tries, want all of them", tries)
			}
		})
	}
}

// Who loses the lease says at once that it tries no more, and nothing of a try that was
// under way then.
func TestLogsOfHandover(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	q := bookingtest.NewQueue()
	s, o := loggedShop(t, bookingtest.SQLite(t), 0, q, prometheus.NewRegistry(), zap.New(core))
	until(t, "who carries", func() bool { return o.Look(t.Context()) == nil && o.Leads() })
	q.Sicken(3, errors.New("no leader"))
	add(t, s.DB, about(keyOf(3), "sick"))
	if _, err := o.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	const down, up = "facts of the shop cannot be published", "facts of the shop are published again, or another booker carries them"
	if all := logs.TakeAll(); len(all) != 1 || !strings.HasPrefix(all[0].Message, down) {
		t.Fatalf("got lines %v, want one that says %q", messages(all), down)
	}
	o.StartTries(t.Context())
	write(t, s.DB, "UPDATE leases SET owner = 'another', until_ms = 9000000000000000")
	if err := o.Look(t.Context()); err != nil || o.Leads() {
		t.Fatalf("got %v and that this one carries %v, want the lease lost", err, o.Leads())
	}
	if all := logs.TakeAll(); len(all) != 1 || all[0].Message != up {
		t.Errorf("got lines %v, want %q", messages(all), up)
	}
	if err := o.SettleTries(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := logs.TakeAll(); len(all) > 0 {
		t.Errorf("got lines %v of a try from before, want none", messages(all))
	}
}

// What an older booker left cannot be published; then it carries that itself, or another
// booker has the lease.
func TestLogsOfOlderBooker(t *testing.T) {
	for name, mend := range map[string]string{
		"carries itself": "DELETE FROM outbox",
		"of another":     "UPDATE leases SET owner = 'another', until_ms = 9000000000000000",
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zapcore.InfoLevel)
			q := bookingtest.NewQueue()
			s, o := loggedShop(t, bookingtest.SQLite(t), 0, q, prometheus.NewRegistry(), zap.New(core))
			for p := range bookingtest.Partitions {
				q.Sicken(p, errors.New("no leader"))
			}
			run(t, o, nil)
			write(t, s.DB, "INSERT INTO outbox (type, body) VALUES (?, ?)", events.TypeFinished,
				`{"id":"x.finished","room":"gig","epoch":"`+string(bookingtest.Epoch)+`","admission":"`+bookingtest.Pass().Admission.String()+`","at_ms":7}`)
			until(t, "the line that it is down", func() bool { return logs.FilterMessageSnippet("older booker cannot be published").Len() == 1 })
			write(t, s.DB, mend)
			until(t, "the line that it is over", func() bool { return logs.FilterMessageSnippet("older booker are published again").Len() == 1 })
		})
	}
}

func messages(list []observer.LoggedEntry) (all []string) {
	for _, e := range list {
		all = append(all, e.Message)
	}
	return all
}
