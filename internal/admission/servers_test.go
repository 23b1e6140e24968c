package admission_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"waitroom/internal/admission"
	"waitroom/internal/embedded"
	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// The whole way over a line and a Kafka: two replicas admit, relay, and apply
// the shop's facts, one of them is stopped in the middle.
func TestServers(t *testing.T) {
	t.Run("stand-ins", func(t *testing.T) { testServers(standIns(t)) })
	t.Run("servers", func(t *testing.T) { testServers(t, testenv.Redis(t), testenv.Kafka(t)) })
}

// standIns are a Redis and a Kafka inside this process.
func standIns(t *testing.T) (*testing.T, redis.UniversalClient, string) {
	_, addr, stopRedis, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopRedis)
	rdb, err := line.Dial("redis://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	broker, stopKafka, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopKafka)
	return t, rdb, broker
}

const visitors = 400

func testServers(t *testing.T, rdb redis.UniversalClient, broker string) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	lines := line.New(rdb)
	name := room.Name(testenv.Room(t))
	conf := room.DefaultConf()
	conf.Epoch, conf.Rate, conf.MaxActive, conf.State = room.NewEpoch(), 400_000, 150, room.Open
	event := room.Event{Title: "Gala", Brand: room.Brand{Logo: append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, room.MaxLogo-8)...)}}
	if err := lines.CreateWithEvent(ctx, name, conf, event, "test"); err != nil {
		t.Fatal(err)
	}
	brokers := []string{broker}
	if err := kafkaio.EnsureTopics(ctx, brokers, 1, events.TopicAdmitted, events.TopicBookings, events.DLQ(events.TopicBookings)); err != nil {
		t.Fatal(err)
	}
	if err := kafkaio.EnsureCompacted(ctx, brokers, 1, events.TopicRooms); err != nil {
		t.Fatal(err)
	}
	ids := make([]room.VisitorID, visitors)
	for i := range ids {
		ids[i] = room.NewVisitorID()
	}
	joined, err := lines.Join(ctx, name, room.Caller{Epoch: conf.Epoch}, room.Lane{Name: "test", Batch: 1}, ids)
	if err != nil || joined.Granted != visitors {
		t.Fatalf("join: got %d granted, %v, want %d", joined.Granted, err, visitors)
	}

	group := testenv.Topic(t, "admitter")
	stopFirst := replica(t, rdb, brokers, name, group, events.TopicBookings)
	replica(t, rdb, brokers, name, group, events.TopicBookings)

	// The shop: everyone whose admission arrives is finished at once, so that
	// 150 slots are enough for 400 visitors.
	shop := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: brokers})
	t.Cleanup(func() { shop.Close() })
	var mu sync.Mutex
	seen := map[room.Number]int{}
	all := make(chan struct{})
	consume(t, kafkaio.ConsumerConfig{Brokers: brokers, Group: group + "-shop", Topics: []string{events.TopicAdmitted}},
		func(ctx context.Context, records []events.Record) error {
			var facts []events.Record
			for _, r := range records {
				a, err := events.DecodeAdmitted(r.Headers, r.Value)
				if err != nil {
					t.Errorf("admission: %v", err)
					continue
				}
				if a.Room != name { // another test's, in the shared topic
					continue
				}
				facts = append(facts, events.EncodeBooking(events.Booking{Type: events.TypeFinished,
					ID: "f-" + a.ID, Room: a.Room, Epoch: a.Epoch, Admission: a.ID, AtMS: time.Now().UnixMilli()}))
				mu.Lock()
				if a.Visitor != ids[a.Number-1] {
					t.Errorf("number %d: got visitor %s, want %s", a.Number, a.Visitor, ids[a.Number-1])
				}
				if seen[a.Number]++; seen[a.Number] == 1 && len(seen) == visitors {
					close(all)
				}
				if len(seen) >= visitors/4 {
					go stopFirst() // idempotent; waited for by the test's end
				}
				mu.Unlock()
			}
			return shop.Publish(ctx, facts)
		})
	described := make(chan struct{})
	var once sync.Once
	consume(t, kafkaio.ConsumerConfig{Brokers: brokers, Group: group + "-pages", Topics: []string{events.TopicRooms}},
		func(_ context.Context, records []events.Record) error {
			for _, r := range records {
				d, deleted, err := events.DecodeDescribed(r)
				if err != nil {
					t.Errorf("description: %v", err)
				}
				if d.Room == name && !deleted && d.Title == "Gala" && len(d.Logo) == room.MaxLogo && d.Epoch == conf.Epoch {
					once.Do(func() { close(described) })
				}
			}
			return nil
		})
	select {
	case <-described:
	case <-ctx.Done():
		t.Fatal("what the room's sale is for did not come to Kafka")
	}
	select {
	case <-all:
	case <-ctx.Done():
		mu.Lock()
		defer mu.Unlock()
		t.Fatalf("got %d admissions in Kafka, want %d", len(seen), visitors)
	}
	err = shop.Publish(ctx, []events.Record{events.EncodeBooking(events.Booking{
		Type: events.TypeSoldOut, ID: "sold-" + string(name), Room: name, Epoch: conf.Epoch, AtMS: 1})})
	if err != nil {
		t.Fatal(err)
	}
	for {
		status, err := lines.Status(ctx, name)
		if err != nil {
			t.Fatalf("status: %v", err)
		}
		if status.Outbox == 0 && status.Unclaimed == 0 && status.Conf.SoldOut && status.Stats.Finished == visitors {
			if status.Stats.Admitted != visitors {
				t.Errorf("got %d admitted, want %d", status.Stats.Admitted, visitors)
			}
			return
		}
		time.Sleep(5 * time.Millisecond) // between two looks at a fact that comes by itself
	}
}

// replica serves name and applies the facts of a topic until stop, which waits for the
// end.
func replica(t *testing.T, rdb redis.UniversalClient, brokers []string, name room.Name, group, topic string) (stop func()) {
	t.Helper()
	log := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: brokers, ClientID: "replica"})
	service, err := admission.New(admission.Config{Rooms: []string{string(name)}}, "test", line.New(rdb), writer, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	facts := kafkaio.NewFollower(kafkaio.FollowerConfig{Brokers: brokers, Group: group, Topic: topic, Dead: writer, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := service.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	running.Go(func() {
		if err := facts.Run(ctx, service.Facts); err != nil {
			t.Errorf("facts: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		writer.Close()
	})
	t.Cleanup(stop)
	return stop
}

func consume(t *testing.T, config kafkaio.ConsumerConfig, handle kafkaio.Handle) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- kafkaio.NewConsumer(config).Run(ctx, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(fmt.Errorf("consume: %w", err))
		}
	})
}
