package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// An admitter starts and serves without Kafka, says so, and joins it when it
// comes: the topics are made, the outbox is emptied, facts free slots. Without
// Kafka it stops within 5 s too.
func TestKafkaAwayAtStart(t *testing.T) {
	t.Parallel() // it waits for tries at servers of its own
	asleep := testenv.NewAsleep(t)
	kafka := asleep.Addr
	redis := redisURL(t)
	c := newCrowd(t, redis, kafka)
	first, said := admitter(t, redis, kafka)
	c.until("the room is served", 30*time.Second, func(s room.Status) bool { return s.Stats.Admitted == inside && s.Outbox == inside })
	for !strings.Contains(said.String(), "kafka is away: rooms are served") {
		if !wait(t.Context(), 5*time.Millisecond) {
			t.Fatalf("nobody said that kafka is away: %s", said)
		}
	}
	began := time.Now()
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("after SIGTERM: got %v, want exit code 0: %s", err, said)
	}
	if lasted := time.Since(began); lasted > 5*time.Second {
		t.Errorf("got stopped after %v, want within 5 s", lasted)
	}

	// Another line: entries that the first one had read come again after 30 s.
	redis = redisURL(t)
	c = newCrowd(t, redis, kafka)
	_, said = admitter(t, redis, kafka)
	for !strings.Contains(said.String(), "kafka is away: rooms are served") {
		if !wait(t.Context(), 5*time.Millisecond) {
			t.Fatalf("nobody said that kafka is away: %s", said)
		}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(asleep.Port), kfake.ListenFn(asleep.Listen))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for kafkaio.EnsureTopics(t.Context(), []string{kafka}, 1, events.TopicBookings) != nil {
		wait(t.Context(), 5*time.Millisecond)
	}
	c.finish(30 * time.Second)
	c.until("the outbox is empty", time.Minute, func(s room.Status) bool { return s.Outbox == 0 })
	if !strings.Contains(said.String(), "kafka has the topics") {
		t.Errorf("nobody said that kafka is back: %s", said)
	}
}
