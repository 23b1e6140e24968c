package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/embedded"
	"waitroom/internal/events"
	"waitroom/internal/testenv"
)

// both runs one story over the stand-in and, where there is one, the broker it
// stands for.
func both(t *testing.T, story func(t *testing.T, brokers []string)) {
	t.Run("kfake", func(t *testing.T) {
		addr, stop, err := embedded.Kafka()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		story(t, []string{addr})
	})
	t.Run("broker", func(t *testing.T) { story(t, []string{testenv.Kafka(t)}) })
}

// within bounds what a test waits for: seconds on an idle machine.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func topicFor(t *testing.T, brokers []string, base string) string {
	t.Helper()
	topic := testenv.Topic(t, base)
	if err := EnsureTopics(within(t), brokers, 1, topic); err != nil {
		t.Fatalf("make the topic: %v", err)
	}
	return topic
}

func writerFor(t *testing.T, brokers []string) *Writer {
	t.Helper()
	w := NewWriter(WriterConfig{Brokers: brokers, ClientID: "test"})
	t.Cleanup(func() { w.Close() })
	return w
}

func numbered(topic string, from, to int) []events.Record {
	var records []events.Record
	for i := from; i < to; i++ {
		records = append(records, events.Record{
			Topic: topic, Key: fmt.Appendf(nil, "visitor-%d", i%20), Value: fmt.Appendf(nil, "%d", i),
			Headers: map[string]string{"ce_id": fmt.Sprint(i), "ce_type": "test.v1"},
		})
	}
	return records
}

func publish(t *testing.T, w *Writer, records []events.Record) {
	t.Helper()
	if err := w.Publish(within(t), records); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// member runs a Consumer until stop, which waits for its end.
func member(t *testing.T, c *Consumer, handle Handle) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, handle) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: got %v, want nil at the end of its context", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("run did not return within 30 s of its context's end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// seen collects what a group has handled.
type seen struct {
	mu     sync.Mutex
	counts map[string]int
	last   map[string]int // key → last value, to see the order
	swap   string
	news   chan struct{}
}

func newSeen() *seen {
	return &seen{counts: map[string]int{}, last: map[string]int{}, news: make(chan struct{}, 1)}
}

func (s *seen) handle(_ context.Context, records []events.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		var n int
		fmt.Sscan(string(r.Value), &n)
		if last, ok := s.last[string(r.Key)]; ok && n < last && s.counts[string(r.Value)] == 0 {
			s.swap = fmt.Sprintf("key %s: %d after %d", r.Key, n, last)
		}
		s.last[string(r.Key)] = n
		s.counts[string(r.Value)]++
		if r.Headers["ce_id"] != string(r.Value) {
			s.swap = fmt.Sprintf("value %s has ce_id %q", r.Value, r.Headers["ce_id"])
		}
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
	return nil
}

// until waits until n different values were handled.
func (s *seen) until(t *testing.T, n int) {
	t.Helper()
	ctx := within(t)
	for {
		s.mu.Lock()
		got, swap := len(s.counts), s.swap
		s.mu.Unlock()
		if swap != "" {
			t.Fatal(swap)
		}
		if got >= n {
			return
		}
		select {
		case <-s.news:
		case <-ctx.Done():
			t.Fatalf("got %d values handled, want %d", got, n)
		}
	}
}

func (s *seen) most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Max(slices.Collect(maps.Values(s.counts)))
}

// What is published comes back whole, in the order of its key, once.
func TestPublishAndConsume(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		publish(t, w, nil)
		publish(t, w, numbered(topic, 0, 700)) // more than one request for some partition
		got := newSeen()
		member(t, NewConsumer(ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}), got.handle)
		got.until(t, 700)
		publish(t, w, numbered(topic, 700, 800))
		got.until(t, 800)
		if most := got.most(); most != 1 {
			t.Errorf("got a value %d times, want each once", most)
		}
	})
}

// A group that starts again goes on where it committed; another group begins at
// the earliest offset.
func TestRestart(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		publish(t, w, numbered(topic, 0, 100))
		config := ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}
		first := newSeen()
		stop := member(t, NewConsumer(config), first.handle)
		first.until(t, 100)
		stop()

		publish(t, w, numbered(topic, 100, 150))
		second := newSeen()
		stop = member(t, NewConsumer(config), second.handle)
		second.until(t, 50)
		stop()
		second.mu.Lock()
		for value := range second.counts {
			var n int
			fmt.Sscan(value, &n)
			if n < 100 {
				t.Errorf("got %s again after the restart, want the committed offset", value)
			}
		}
		second.mu.Unlock()

		config.Group += "-other"
		other := newSeen()
		member(t, NewConsumer(config), other.handle)
		other.until(t, 150)
	})
}

// One record that can't be dealt with waits: those behind it go on, but for its own
// key's, those beside it do not come again, and the next member finds it.
func TestOneRecordWaits(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		config := ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}
		record := func(key, value string) events.Record {
			return events.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
		}
		sick := "sick"
		near := "near" // another key of the same partition
		for i := 0; partitionOf([]byte(near), Partitions) != partitionOf([]byte(sick), Partitions); i++ {
			near = fmt.Sprint("near", i)
		}
		w := writerFor(t, brokers)
		publish(t, w, []events.Record{record(near, "a"), record(sick, "1"), record(near, "b")})

		var mu sync.Mutex
		var done []string
		var tries int
		locked := true
		handle := func(_ context.Context, records []events.Record) error {
			mu.Lock()
			defer mu.Unlock()
			var part events.Undone
			for i, r := range records {
				if locked && string(r.Key) == sick {
					tries++
					part.At, part.Err = append(part.At, i), errors.New("its row is locked")
					continue
				}
				done = append(done, string(r.Value))
			}
			if part.Err != nil {
				return &part
			}
			return nil
		}
		has := func(want string, least int) func() bool {
			return func() bool {
				mu.Lock()
				defer mu.Unlock()
				return strings.Join(done, " ") == want && tries >= least
			}
		}
		stop := member(t, NewConsumer(config), handle)
		until(t, "the others, once", has("a b", 3))
		publish(t, w, []events.Record{record(sick, "2"), record(near, "c")})
		until(t, "those that come later", has("a b c", 5))
		stop()
		mu.Lock()
		locked, done = false, nil
		mu.Unlock()
		member(t, NewConsumer(config), handle)
		until(t, "what waited, and what was behind it", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Join(done, " ") == "1 b 2 c"
		})
	})
}

// A batch whose handling fails comes again, whole, and its offset stays: a
// member that ends meanwhile leaves it to the next.
func TestHandleFails(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		publish(t, writerFor(t, brokers), numbered(topic, 0, 40))
		core, logs := observer.New(zap.DebugLevel)
		config := ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}, Log: zap.New(core)}

		var mu sync.Mutex
		tries := map[int]int{}
		thrice := make(chan struct{}, 1)
		stop := member(t, NewConsumer(config), func(_ context.Context, records []events.Record) error {
			mu.Lock()
			defer mu.Unlock()
			p := records[0].Partition
			if tries[p]++; tries[p] == 3 {
				select {
				case thrice <- struct{}{}:
				default:
				}
			}
			return errors.New("the database is away")
		})
		select {
		case <-thrice:
		case <-within(t).Done():
			t.Fatal("a batch that failed was not handed over again")
		}
		stop()
		told := logs.FilterField(zap.String("what", "handle")).Len()
		mu.Lock()
		if told != 1 {
			t.Errorf("got %d lines about the failure, want one for all of %d partitions", told, len(tries))
		}
		mu.Unlock()

		got := newSeen()
		member(t, NewConsumer(config), got.handle)
		got.until(t, 40)
	})
}

// The lag is what a member holds and has not dealt with, also while its handle
// fails; it goes to 0 with the work and away with the member.
func TestLag(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		publish(t, w, numbered(topic, 0, 40))
		reg := prometheus.NewRegistry()
		config := ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}, Metrics: reg, Subsystem: "test", lagEvery: 20 * time.Millisecond}
		// lag is the sum of all series; none says that there are none.
		lag := func() (sum float64, series int) {
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					sum, series = sum+m.GetGauge().GetValue(), series+1
				}
			}
			return sum, series
		}
		until := func(what string, want float64, parts int) {
			t.Helper()
			for ctx := within(t); ; sleep(ctx, 5*time.Millisecond) {
				got, series := lag()
				if got == want && series == parts {
					return
				}
				if ctx.Err() != nil {
					t.Fatalf("%s: got %v records behind in %d partitions, want %v in %d", what, got, series, want, parts)
				}
			}
		}
		var well atomic.Bool
		got := newSeen()
		handle := func(ctx context.Context, records []events.Record) error {
			if !well.Load() {
				return errors.New("the database is away")
			}
			return got.handle(ctx, records)
		}
		stop := member(t, NewConsumer(config), handle)
		until("while it fails", 40, Partitions)
		publish(t, w, numbered(topic, 40, 50))
		until("while it fails and more comes", 50, Partitions)
		well.Store(true)
		until("once it works", 0, Partitions)
		stop()
		until("when it has left", 0, 0)

		well.Store(false)
		publish(t, w, numbered(topic, 50, 60))
		stop = member(t, NewConsumer(config), handle) // the same registry: the gauge is found
		until("from the offset committed", 10, Partitions)
		stop()
	})
}

// Two members share the partitions, and when one leaves, the other has all.
func TestTwoMembers(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		config := ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}
		both := newSeen()
		var mu sync.Mutex
		who := map[string]map[int]bool{"a": {}, "b": {}}
		handle := func(name string) Handle {
			return func(ctx context.Context, records []events.Record) error {
				mu.Lock()
				who[name][records[0].Partition] = true
				mu.Unlock()
				return both.handle(ctx, records)
			}
		}
		stopA := member(t, NewConsumer(config), handle("a"))
		member(t, NewConsumer(config), handle("b"))
		total := 0
		ctx := within(t)
		for {
			publish(t, w, numbered(topic, total, total+100))
			total += 100
			both.until(t, total)
			mu.Lock()
			shared := len(who["a"]) > 0 && len(who["b"]) > 0
			mu.Unlock()
			if shared {
				break
			}
			if ctx.Err() != nil {
				t.Fatal("two members never shared the partitions")
			}
		}
		stopA()
		publish(t, w, numbered(topic, total, total+100))
		both.until(t, total+100)
	})
}

// A member whose generation is over can't move the offset: what it handled
// comes again, for the one who holds the partition now.
func TestStaleCommit(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		publish(t, w, numbered(topic, 0, 1))
		config := ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}
		ctx := within(t)

		group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
			ID: topic, Brokers: brokers, Topics: []string{topic}, StartOffset: kafka.FirstOffset,
			HeartbeatInterval: 100 * time.Millisecond, JoinGroupBackoff: 50 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		stale, err := group.Next(ctx)
		for err != nil && ctx.Err() == nil {
			stale, err = group.Next(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		group.Close()

		got := newSeen()
		member(t, NewConsumer(config), got.handle)
		got.until(t, 1)
		if err := stale.CommitOffsets(map[string]map[int]int64{topic: {0: 99}}); err == nil {
			t.Error("commit of a generation that is over: got no error, want a refusal")
		}
	})
}

// EnsureTopics makes what is absent and leaves what is there.
func TestEnsureTopics(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		first, second := testenv.Topic(t, "first"), testenv.Topic(t, "second")
		for _, topics := range [][]string{{first}, {first, second}, {first, second}} {
			if err := EnsureTopics(within(t), brokers, 1, topics...); err != nil {
				t.Fatalf("%v: %v", topics, err)
			}
		}
		w := writerFor(t, brokers)
		for _, topic := range []string{first, second} {
			if got, err := w.Partitions(within(t), topic); err != nil || got != Partitions {
				t.Errorf("topic %s: got %d partitions, %v, want %d", topic, got, err, Partitions)
			}
		}
	})
}

// A compacted topic is one, and a record without a value comes back without one.
func TestEnsureCompacted(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		plain, compacted := topicFor(t, brokers, "plain"), testenv.Topic(t, "compacted")
		for range 2 { // there or not
			if err := EnsureCompacted(within(t), brokers, 1, compacted); err != nil {
				t.Fatal(err)
			}
		}
		transport := newTransport("test")
		defer transport.CloseIdleConnections()
		client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport}
		for topic, want := range map[string]string{plain: "delete", compacted: "compact"} {
			reply, err := client.DescribeConfigs(within(t), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
				{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"cleanup.policy"}}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := reply.Resources[0].ConfigEntries; len(got) != 1 || got[0].ConfigValue != want {
				t.Errorf("topic %s: got %+v, want cleanup.policy %s", topic, got, want)
			}
		}

		large := make([]byte, events.MaxDescribed)
		publish(t, writerFor(t, brokers), []events.Record{
			{Topic: compacted, Key: []byte("show"), Value: large},
			{Topic: compacted, Key: []byte("show")},
		})
		got := make(chan events.Record, 2)
		member(t, NewConsumer(ConsumerConfig{Brokers: brokers, Group: compacted, Topics: []string{compacted}}),
			func(_ context.Context, records []events.Record) error {
				for _, r := range records {
					got <- r
				}
				return nil
			})
		ctx := within(t)
		for _, want := range []int{len(large), 0} {
			select {
			case r := <-got:
				if len(r.Value) != want || string(r.Key) != "show" {
					t.Errorf("got %d bytes under key %s, want %d under show", len(r.Value), r.Key, want)
				}
			case <-ctx.Done():
				t.Fatal("the record did not come back")
			}
		}
	})
}

// What a broker refuses for good is not tried until the time is over. (The
// stand-in refuses no name.)
func TestEnsureTopicsRefused(t *testing.T) {
	brokers := []string{testenv.Kafka(t)}
	if err := EnsureTopics(within(t), brokers, 1, "an ill name"); err == nil || errors.Is(err, ErrAway) {
		t.Errorf("a topic with an ill name: got %v, want a refusal", err)
	}
	if err := EnsureTopics(within(t), brokers, 99, testenv.Topic(t, "replicas")); err == nil || errors.Is(err, ErrAway) {
		t.Errorf("more replicas than brokers: got %v, want a refusal", err)
	}
}

// A server that is away is named, within the time given; publishing to it is
// ErrAway.
func TestAway(t *testing.T) {
	nobody := []string{"127.0.0.1:1"}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := Ping(ctx, nobody)
	if !errors.Is(err, ErrAway) || !strings.Contains(fmt.Sprint(err), "127.0.0.1:1") {
		t.Errorf("ping: got %v, want ErrAway that names 127.0.0.1:1", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := writerFor(t, nobody).Publish(short, numbered("x", 0, 1)); !errors.Is(err, ErrAway) {
		t.Errorf("publish: got %v, want ErrAway", err)
	}
	// A consumer of a broker that is away waits, and ends when told.
	stop := member(t, NewConsumer(ConsumerConfig{Brokers: nobody, Group: "g", Topics: []string{"x"}}),
		func(context.Context, []events.Record) error { return nil })
	stop()
}

// A topic that the broker does not know yet is worth another attempt.
func TestPublishToAbsentTopic(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		absent := testenv.Topic(t, "absent")
		if err := writerFor(t, brokers).Publish(within(t), numbered(absent, 0, 1)); !errors.Is(err, ErrAway) {
			t.Errorf("got %v, want ErrAway", err)
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int
		want  []int
	}{
		{"one", []int{1}, []int{1}},
		{"by count", make([]int, maxRecords+1), []int{maxRecords, 1}},
		{"by bytes", []int{maxBytes / 2, maxBytes / 2, 1}, []int{1, 2}},
		{"a giant goes alone", []int{1, 2 * maxBytes, 1}, []int{1, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var records []events.Record
			for _, size := range c.sizes {
				records = append(records, events.Record{Key: []byte("k"), Value: make([]byte, size)})
			}
			var got []int
			for _, batch := range cut(records) {
				got = append(got, len(batch))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
