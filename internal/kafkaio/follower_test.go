package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/events"
	"waitroom/internal/testenv"
)

// follow runs a Follower until stop, which waits for its end.
func follow(t *testing.T, config FollowerConfig, judge Judge) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	f := NewFollower(config)
	go func() { done <- f.Run(ctx, judge) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: got %v, want nil at the end of its context", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("run did not return within 5 s of its context's end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// done is a Judge over seen: every record is dealt with.
func (s *seen) done(ctx context.Context, records []events.Record) []events.Verdict {
	_ = s.handle(ctx, records)
	return make([]events.Verdict, len(records))
}

// has says whether a value was handled, and how often.
func (s *seen) has(value string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[value]
}

// until waits for a fact.
func until(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for ctx := within(t); !fact(); sleep(ctx, 2*time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("%s: it did not come to that", what)
		}
	}
}

// Each follower reads everything, in the order of each key, and one that starts
// later begins where they have committed.
func TestFollow(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		publish(t, w, numbered(topic, 0, 700))
		config := FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: w}
		first, second, third := newSeen(), newSeen(), newSeen()
		stopFirst := follow(t, config, first.done)
		stopSecond := follow(t, config, second.done)
		first.until(t, 700)
		second.until(t, 700)
		publish(t, w, numbered(topic, 700, 800))
		first.until(t, 800)
		second.until(t, 800)
		if most := first.most(); most != 1 {
			t.Errorf("got a value %d times, want each once", most)
		}
		stopFirst()
		stopSecond()
		publish(t, w, numbered(topic, 800, 850))
		follow(t, config, third.done)
		third.until(t, 50)
		for i := range 800 {
			if third.has(strconv.Itoa(i)) > 0 {
				t.Fatalf("got %d again after the restart, want the committed offsets", i)
			}
		}
	})
}

// A follower that hangs, or was killed in the middle, holds up nobody else, and
// one that starts meanwhile gets going at once: nobody waits for a member.
func TestFollowBesideTheDead(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		config := FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: w}
		hung := make(chan struct{})
		stuck := make(chan struct{}, Partitions)
		follow(t, config, func(ctx context.Context, records []events.Record) []events.Verdict {
			stuck <- struct{}{}
			<-hung
			return make([]events.Verdict, len(records))
		})
		t.Cleanup(sync.OnceFunc(func() { close(hung) })) // before the stop, which waits for it
		alive := newSeen()
		follow(t, config, alive.done)
		publish(t, w, numbered(topic, 0, 100))
		select {
		case <-stuck:
		case <-within(t).Done():
			t.Fatal("the first follower was handed nothing")
		}
		alive.until(t, 100)
		late := newSeen()
		began := time.Now()
		follow(t, config, late.done)
		publish(t, w, numbered(topic, 100, 200))
		alive.until(t, 200)
		late.until(t, 100)
		if lasted := time.Since(began); lasted > 2*time.Second {
			t.Errorf("got the facts after %v, want them within 2 s", lasted)
		}
	})
}

// A record for later waits alone: those behind it go on, it is tried again until
// it is done, and its offset stays, so that a restart finds it. What waits is not
// called a trouble of Kafka's.
func TestFollowLater(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		core, logs := observer.New(zap.DebugLevel)
		config := FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: w, Log: zap.New(core)}
		publish(t, w, numbered(topic, 0, 100))
		var ready atomic.Bool
		judge := func(got, waits *seen) Judge {
			return func(ctx context.Context, records []events.Record) []events.Verdict {
				verdicts := make([]events.Verdict, len(records))
				for i, r := range records {
					if n := string(r.Value); (n == "7" || n == "30") && !ready.Load() {
						_ = waits.handle(ctx, []events.Record{r})
						verdicts[i] = events.Verdict{Fate: events.Later, Err: errors.New("redis is away")}
						continue
					}
					_ = got.handle(ctx, []events.Record{r})
				}
				return verdicts
			}
		}
		first, waits := newSeen(), newSeen()
		stop := follow(t, config, judge(first, waits))
		first.until(t, 98)
		until(t, "what waits is tried again", func() bool { return waits.has("7") > 2 && waits.has("30") > 2 })
		stop()
		for _, e := range logs.All() {
			if e.Level >= zap.WarnLevel && strings.Contains(e.Message, "kafka") {
				t.Errorf("got %q, want the handler's trouble", e.Message)
			}
		}
		if n := logs.FilterMessageSnippet("wait in memory").Len(); n != 1 {
			t.Errorf("got %d lines about what waits, want 1", n)
		}

		second, waits := newSeen(), newSeen() // of this one
		follow(t, config, judge(second, waits))
		publish(t, w, numbered(topic, 100, 101))
		until(t, "the next record", func() bool { return second.has("100") == 1 })
		waits.until(t, 2)
		ready.Store(true)
		until(t, "what waited", func() bool { return second.has("7") == 1 && second.has("30") == 1 })
		until(t, "the end is told", func() bool { return logs.FilterMessageSnippet("no record waits").Len() == 1 })
	})
}

// What can never succeed goes to the dead letters with its origin and the reason,
// as soon as Kafka takes it, and its offset stays until then.
func TestFollowNever(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		grave := &graves{}
		grave.away.Store(true)
		config := FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: grave}
		publish(t, w, numbered(topic, 0, 50))
		var asked atomic.Int32
		got := newSeen()
		judge := func(ctx context.Context, records []events.Record) []events.Verdict {
			verdicts := make([]events.Verdict, len(records))
			for i, r := range records {
				if string(r.Value) == "5" {
					asked.Add(1)
					verdicts[i] = events.Verdict{Fate: events.Never, Err: errors.New("not a fact")}
					continue
				}
				_ = got.handle(ctx, []events.Record{r})
			}
			return verdicts
		}
		stop := follow(t, config, judge)
		got.until(t, 49)
		until(t, "the publish is tried again", func() bool { return grave.tries.Load() > 2 })
		if n := asked.Load(); n != 1 {
			t.Errorf("got the record judged %d times, want once: only its publish failed", n)
		}
		stop()
		grave.away.Store(false)
		follow(t, config, judge)
		until(t, "the dead letter", func() bool { return len(grave.all()) == 1 })
		dead := grave.all()[0]
		if dead.Topic != events.DLQ(topic) || string(dead.Value) != "5" || dead.Headers["dlq_topic"] != topic ||
			dead.Headers["dlq_offset"] == "" || dead.Headers["dlq_error"] != "not a fact" {
			t.Errorf("got dead letter %+v, want the record with its origin and reason", dead)
		}
	})
}

// graves takes dead letters, unless Kafka is away.
type graves struct {
	away  atomic.Bool
	tries atomic.Int32
	mu    sync.Mutex
	taken []events.Record
}

func (g *graves) Publish(_ context.Context, records []events.Record) error {
	g.tries.Add(1)
	if g.away.Load() {
		return ErrAway
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken = append(g.taken, records...)
	return nil
}

func (g *graves) all() []events.Record {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken
}

// At the bound of what waits its partition is not read on, nothing is lost, and
// the others go on.
func TestFollowFull(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		core, logs := observer.New(zap.DebugLevel)
		const most = 7
		records := numbered(topic, 0, 1500)
		sick := partitionOf(records[0].Key, Partitions)
		var stuck, later int // records of the sick partition, and the greatest number that waited at once
		for _, r := range records {
			if partitionOf(r.Key, Partitions) == sick {
				stuck++
			}
		}
		publish(t, w, records)
		var ready atomic.Bool
		var mu sync.Mutex
		waiting := map[string]bool{}
		got := newSeen()
		follow(t, FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: w, Log: zap.New(core), parkMost: most},
			func(ctx context.Context, records []events.Record) []events.Verdict {
				verdicts := make([]events.Verdict, len(records))
				for i, r := range records {
					if r.Partition == sick && !ready.Load() {
						mu.Lock()
						waiting[string(r.Value)] = true
						later = max(later, len(waiting))
						mu.Unlock()
						verdicts[i] = events.Verdict{Fate: events.Later, Err: errors.New("the line is recovering")}
						continue
					}
					_ = got.handle(ctx, []events.Record{r})
				}
				return verdicts
			})
		got.until(t, len(records)-stuck)
		until(t, "the bound is told", func() bool { return logs.FilterMessageSnippet("too many records wait").Len() == 1 })
		mu.Lock()
		if later != most {
			t.Errorf("got %d records waiting, want %d", later, most)
		}
		mu.Unlock()
		ready.Store(true)
		got.until(t, len(records))
	})
}

// A partition whose leader is away holds up no other, and a partition that is
// added is read from its first record.
func TestFollowPartitions(t *testing.T) {
	cluster := fakeCluster(t)
	brokers := cluster.ListenAddrs()
	topic := topicFor(t, brokers, "facts")
	const sick = 3
	var ill atomic.Bool
	ill.Store(true)
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		request := r.(*kmsg.FetchRequest)
		if !ill.Load() || request.Topics[0].Partitions[0].Partition != sick {
			return nil, nil, false
		}
		reply := request.ResponseKind().(*kmsg.FetchResponse)
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = request.Topics[0].Topic, request.Topics[0].TopicID
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.Partition, partition.ErrorCode = sick, int16(kafka.LeaderNotAvailable)
		topic.Partitions = append(topic.Partitions, partition)
		reply.Topics = append(reply.Topics, topic)
		return reply, nil, true
	})
	w := writerFor(t, brokers)
	records := numbered(topic, 0, 200)
	publish(t, w, records)
	inSick := 0
	for _, r := range records {
		if partitionOf(r.Key, Partitions) == sick {
			inSick++
		}
	}
	got := newSeen()
	follow(t, FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: w, partitionsEvery: 20 * time.Millisecond}, got.done)
	got.until(t, 200-inSick)
	ill.Store(false)
	got.until(t, 200)

	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: w.transport}
	reply, err := client.CreatePartitions(within(t), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: Partitions + 4}}})
	if err != nil || reply.Errors[topic] != nil {
		t.Fatalf("add partitions: %v, %v", err, reply)
	}
	fresh := events.Record{Topic: topic, Value: []byte("200"), Headers: map[string]string{"ce_id": "200"}}
	for i := 0; partitionOf(fresh.Key, Partitions+4) < Partitions; i++ {
		fresh.Key = fmt.Append(nil, "new", i)
	}
	until(t, "the writer knows the partitions", func() bool {
		n, err := w.Partitions(within(t), topic)
		return err == nil && n == Partitions+4
	})
	publish(t, w, []events.Record{fresh})
	got.until(t, 201)
}

// A follower that starts while Kafka is away, or has no such topic, reads once
// there is one.
func TestFollowBeforeKafka(t *testing.T) {
	asleep := testenv.NewAsleep(t)
	brokers := []string{asleep.Addr}
	w := writerFor(t, brokers)
	core, logs := observer.New(zap.DebugLevel)
	got := newSeen()
	follow(t, FollowerConfig{Brokers: brokers, Group: "group", Topic: "facts", Dead: w, Log: zap.New(core)}, got.done)
	until(t, "the log says that kafka is away", func() bool { return logs.FilterMessageSnippet("kafka does not work").Len() > 0 })
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(asleep.Port), kfake.ListenFn(asleep.Listen))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	if err := EnsureTopics(within(t), brokers, 1, "facts"); err != nil {
		t.Fatal(err)
	}
	until(t, "a publish", func() bool { return w.Publish(within(t), numbered("facts", 0, 20)) == nil })
	got.until(t, 20)
}

// An offset that does not exist any more, or not yet, begins at the first that
// does: facts are not left out.
func TestFollowStrayOffset(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		publish(t, w, numbered(topic, 0, 40))
		client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: w.transport}
		var stray []kafka.OffsetCommit
		for id := range Partitions {
			stray = append(stray, kafka.OffsetCommit{Partition: id, Offset: 1000})
		}
		until(t, "a coordinator", func() bool {
			reply, err := client.OffsetCommit(within(t), &kafka.OffsetCommitRequest{GroupID: topic, GenerationID: -1,
				Topics: map[string][]kafka.OffsetCommit{topic: stray}})
			return err == nil && reply.Topics[topic][0].Error == nil
		})
		got := newSeen()
		follow(t, FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: w}, got.done)
		got.until(t, 40)
	})
}

// The lag counts what waits for its time, and goes with the follower.
func TestFollowLag(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		publish(t, w, numbered(topic, 0, 40))
		reg := prometheus.NewRegistry()
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
		is := func(want float64, parts int) func() bool {
			return func() bool { sum, series := lag(); return sum == want && series == parts }
		}
		var well atomic.Bool
		stop := follow(t, FollowerConfig{Brokers: brokers, Group: topic, Topic: topic, Dead: w, Metrics: reg, Subsystem: "test", lagEvery: 5 * time.Millisecond},
			func(_ context.Context, records []events.Record) []events.Verdict {
				verdicts := make([]events.Verdict, len(records))
				for i, r := range records {
					if n, _ := strconv.Atoi(string(r.Value)); n < 10 && !well.Load() {
						verdicts[i] = events.Verdict{Fate: events.Later, Err: errors.New("later")}
					}
				}
				return verdicts
			})
		until(t, "ten wait", is(10, Partitions))
		well.Store(true)
		until(t, "none waits", is(0, Partitions))
		stop()
		until(t, "none is held", is(0, 0))
	})
}
