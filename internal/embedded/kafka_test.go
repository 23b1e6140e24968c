package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"waitroom/internal/embedded"
	"waitroom/internal/testenv"
)

// The stand-in is held against the broker it stands for: one story over both,
// of all that the binaries ask of Kafka through kafka-go.
func TestKafka(t *testing.T) {
	t.Run("kfake", func(t *testing.T) {
		seeded := testenv.Topic(t, "seeded")
		addr, stop, err := embedded.Kafka(seeded)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		testKafka(t, addr)

		// A topic named at the start is there, with its partitions.
		client := newClient(t, addr)
		reply, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{seeded}})
		if err != nil {
			t.Fatal(err)
		}
		if got := reply.Topics[0]; got.Error != nil || len(got.Partitions) != 8 {
			t.Errorf("topic %s: got %d partitions, %v, want 8", seeded, len(got.Partitions), got.Error)
		}
		stop()
		stop() // more than once is allowed
	})
	t.Run("broker", func(t *testing.T) { testKafka(t, testenv.Kafka(t)) })
}

const messages = 100

func testKafka(t *testing.T, addr string) {
	topic := testenv.Topic(t, "waitroom.admitted")
	createTopic(t, addr, topic)
	produce(t, addr, topic)
	consume(t, addr, topic)
}

func newClient(t *testing.T, addr string) *kafka.Client {
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(addr), Transport: transport}
}

// Creating a topic that exists is an error of its own kind, since every binary
// creates at start.
func createTopic(t *testing.T, addr, topic string) {
	t.Helper()
	client := newClient(t, addr)
	for _, want := range []error{nil, kafka.TopicAlreadyExists} {
		reply, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 8, ReplicationFactor: 1}},
		})
		if err != nil {
			t.Fatalf("create topic: %v", err)
		}
		if got := reply.Errors[topic]; !errors.Is(got, want) {
			t.Errorf("create topic: got %v, want %v", got, want)
		}
	}
}

// produce writes with acks=all, and into a topic that nobody made.
func produce(t *testing.T, addr, topic string) {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	writer := &kafka.Writer{
		Addr: kafka.TCP(addr), Transport: transport, Balancer: &kafka.Hash{},
		RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond,
	}
	defer writer.Close()
	batch := make([]kafka.Message, messages)
	for i := range batch {
		batch[i] = kafka.Message{
			Topic: topic, Key: fmt.Appendf(nil, "visitor-%d", i), Value: fmt.Appendf(nil, "%d", i),
			Headers: []kafka.Header{{Key: "ce_type", Value: []byte("test.v1")}},
		}
	}
	// A broker answers for a topic just made once it knows the leader.
	for {
		err := writer.WriteMessages(t.Context(), batch...)
		if err == nil {
			break
		}
		if !errors.Is(err, kafka.UnknownTopicOrPartition) && !errors.Is(err, kafka.LeaderNotAvailable) {
			t.Fatalf("write: %v", err)
		}
	}
	writer.MaxAttempts = 1
	absent := kafka.Message{Topic: topic + "-absent", Value: []byte("0")}
	if err := writer.WriteMessages(t.Context(), absent); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("write into a topic that is absent: got %v, want %v", err, kafka.UnknownTopicOrPartition)
	}
}

// consume reads everything in a group, commits half, hands over to a second
// member and shows that the first one's generation can't commit any more.
func consume(t *testing.T, addr, topic string) {
	t.Helper()
	first := newGroup(t, addr, topic)
	generation := next(t, first)
	if got := len(generation.Assignments[topic]); got != 8 {
		t.Fatalf("got %d partitions assigned, want 8", got)
	}
	got := read(t, addr, topic, generation.Assignments[topic])
	half := map[int]int64{}
	total := 0
	for partition, values := range got {
		half[partition] = int64(len(values) / 2)
		total += len(values)
	}
	if total != messages {
		t.Errorf("got %d messages, want %d", total, messages)
	}
	if err := generation.CommitOffsets(map[string]map[int]int64{topic: half}); err != nil {
		t.Fatalf("commit: %v", err)
	}

	// The group moves on without the first member.
	if err := first.Close(); err != nil {
		t.Fatalf("leave the group: %v", err)
	}
	second := newGroup(t, addr, topic)
	after := next(t, second)
	for _, assigned := range after.Assignments[topic] {
		want, committed := half[assigned.ID]
		if !committed {
			want = kafka.FirstOffset
		}
		if assigned.Offset != want {
			t.Errorf("partition %d: got offset %d, want %d", assigned.ID, assigned.Offset, want)
		}
	}
	back := map[string]map[int]int64{topic: {0: 0}}
	if err := generation.CommitOffsets(back); err == nil {
		t.Errorf("commit of a generation that has ended: got no error, want a refusal")
	}
	if err := after.CommitOffsets(map[string]map[int]int64{topic: half}); err != nil {
		t.Errorf("commit of the generation that runs: %v", err)
	}
}

func newGroup(t *testing.T, addr, topic string) *kafka.ConsumerGroup {
	t.Helper()
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: topic, Brokers: []string{addr}, Topics: []string{topic}, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 100 * time.Millisecond, JoinGroupBackoff: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() }) // the story closes one itself
	return group
}

// next waits for a generation. A broker whose first group this is answers that
// the coordinator is not available until it has made the topic for offsets.
func next(t *testing.T, group *kafka.ConsumerGroup) *kafka.Generation {
	t.Helper()
	for {
		generation, err := group.Next(t.Context())
		if err == nil {
			return generation
		}
		var code kafka.Error
		if !errors.As(err, &code) || !code.Temporary() {
			t.Fatalf("next generation: %v", err)
		}
	}
}

// read returns the values of each assigned partition, from its first offset to
// its end.
func read(t *testing.T, addr, topic string, assigned []kafka.PartitionAssignment) map[int][]string {
	t.Helper()
	var mu sync.Mutex
	got := map[int][]string{}
	var wait sync.WaitGroup
	for _, partition := range assigned {
		wait.Go(func() {
			values, err := readPartition(t.Context(), addr, topic, partition.ID)
			if err != nil {
				t.Errorf("read partition %d: %v", partition.ID, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(values) > 0 {
				got[partition.ID] = values
			}
		})
	}
	wait.Wait()
	return got
}

func readPartition(ctx context.Context, addr, topic string, partition int) ([]string, error) {
	conn, err := kafka.DialLeader(ctx, "tcp", addr, topic, partition)
	if err != nil {
		return nil, err
	}
	end, err := conn.ReadLastOffset()
	if closed := conn.Close(); err == nil {
		err = closed
	}
	if err != nil || end == 0 {
		return nil, err
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{addr}, Topic: topic, Partition: partition, MaxWait: 50 * time.Millisecond,
	})
	defer reader.Close()
	var values []string
	for offset := int64(0); offset < end; offset++ {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return values, err
		}
		if message.Offset != offset || len(message.Headers) != 1 {
			return values, fmt.Errorf("got offset %d with %d headers, want %d with 1",
				message.Offset, len(message.Headers), offset)
		}
		values = append(values, string(message.Value))
	}
	return values, nil
}
