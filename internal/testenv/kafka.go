package testenv

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/segmentio/kafka-go"
)

// Kafka is the bootstrap address of the shared real Kafka. It makes no topic by
// itself: a test that writes into one it did not make sees the error that
// production would.
func Kafka(t testing.TB) string {
	t.Helper()
	addr := address(t, "kafka", "WAITROOM_TEST_KAFKA")
	err := ask(addr, func(ctx context.Context, client *kafka.Client) error {
		_, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		return err
	})
	if err != nil {
		t.Fatalf("Kafka at %s does not answer: %v", addr, err)
	}
	return addr
}

// Topic is a name that no other test has, for a topic that stands for base and
// good for a consumer group's name too. It makes no topic and needs no Kafka;
// where there is one, the topic is deleted when the test ends.
func Topic(t testing.TB, base string) string {
	t.Helper()
	topic := base + "-" + suffix()
	t.Cleanup(func() {
		addr := os.Getenv("WAITROOM_TEST_KAFKA")
		if addr == "" {
			return
		}
		err := ask(addr, func(ctx context.Context, client *kafka.Client) error {
			reply, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
			if err != nil {
				return err
			}
			return reply.Errors[topic]
		})
		if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("delete topic %s: %v", topic, err)
		}
	})
	return topic
}

// ask makes one call to a broker and leaves no connection behind, whose
// goroutines a leak test would find.
func ask(addr string, call func(context.Context, *kafka.Client) error) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return call(ctx, &kafka.Client{Addr: kafka.TCP(addr), Transport: transport})
}
