package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/testenv"
)

// stopwatch is a Publisher that keeps when Kafka had each fact.
type stopwatch struct {
	*kafkaio.Writer
	mu   sync.Mutex
	had  map[string]time.Time
	took time.Duration // in Kafka
}

func (s *stopwatch) Publish(ctx context.Context, records []events.Record) error {
	began := time.Now()
	err := s.Writer.Publish(ctx, records)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took += time.Since(began)
	if err == nil {
		for _, r := range records {
			s.had[string(r.Value)] = time.Now()
		}
	}
	return err
}

func newStopwatch(t testing.TB) (*stopwatch, string) {
	broker := testenv.Kafka(t)
	topic := testenv.Topic(t, "facts")
	if err := kafkaio.EnsureTopics(t.Context(), []string{broker}, 1, topic); err != nil {
		t.Fatal(err)
	}
	w := &stopwatch{Writer: kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: []string{broker}}), had: map[string]time.Time{}}
	t.Cleanup(func() { w.Close() })
	return w, topic
}

// BenchmarkOut prints how many facts a second leave MariaDB for Kafka, of a backlog of
// 50,000, and how much of the time Kafka has them in hand.
func BenchmarkOut(b *testing.B) {
	const backlog = 50_000
	w, topic := newStopwatch(b)
	s, o := newShop(b, testenv.MySQL(b), 0, w, prometheus.NewRegistry())
	for b.Loop() {
		b.StopTimer()
		for i := range backlog / 500 {
			var some []events.Record
			for j := range 500 {
				r := about(fmt.Sprintf("visitor-%08d", j), fmt.Sprintf("%0300d", 500*i+j)) // as long as a fact
				r.Topic = topic
				some = append(some, r)
			}
			add(b, s.DB, some...)
		}
		w.took = 0
		b.StartTimer()
		stop := run(b, o, nil)
		until(b, "an empty table", isEmpty(b, o))
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(backlog*float64(b.N)/b.Elapsed().Seconds(), "facts/s")
	b.ReportMetric(100*w.took.Seconds()/(b.Elapsed().Seconds()/float64(b.N)), "%kafka")
}

// BenchmarkCommitToAck prints how long facts take from their commit to Kafka's
// acknowledgement, when one commits every 5 ms: in the booker that carries, and in one
// that does not.
func BenchmarkCommitToAck(b *testing.B) {
	for _, mine := range []bool{true, false} {
		b.Run(fmt.Sprintf("carries=%t", mine), func(b *testing.B) {
			dsn := testenv.MySQL(b)
			w, topic := newStopwatch(b)
			s, o := newShop(b, dsn, 0, w, prometheus.NewRegistry())
			run(b, o, nil)
			until(b, "who carries", o.Leads)
			writer, poke := s, o.Poke
			if !mine {
				var other interface{ Poke() }
				writer, other = newShop(b, dsn, 0, w, prometheus.NewRegistry())
				poke = other.Poke
			}
			committed := map[string]time.Time{}
			for i := 0; b.Loop(); i++ {
				r := about(fmt.Sprint("v", i%100), fmt.Sprint(i))
				r.Topic = topic
				add(b, writer.DB, r)
				committed[string(r.Value)] = time.Now()
				poke()
				time.Sleep(5 * time.Millisecond) // the load
			}
			until(b, "an empty table", isEmpty(b, o))
			w.mu.Lock()
			defer w.mu.Unlock()
			var took []time.Duration
			for id, at := range committed {
				took = append(took, w.had[id].Sub(at))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}
