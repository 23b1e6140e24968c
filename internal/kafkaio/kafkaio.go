package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// ErrAway wraps what is worth trying again: a broker out of reach, without a
// leader, or still starting.
var ErrAway = errors.New("kafka is out of reach")

// Partitions of a topic that EnsureTopics makes: as many members of one group
// can share its work.
const Partitions = 8

const (
	dialTimeout = 3 * time.Second
	// metadataTTL is how long a moved leader goes unnoticed at most.
	metadataTTL = 2 * time.Second
	// retryPause lies between two attempts at a broker that is away. A start
	// is noticed soon; a dead broker costs five dials a second and process.
	retryPause = 200 * time.Millisecond
)

// Ping returns when a broker has answered, or an error naming the brokers and
// the last reason when ctx ends first. It tries again until then, so that a
// binary may start before its Kafka.
func Ping(ctx context.Context, brokers []string) error {
	return ask(ctx, brokers, func(ctx context.Context, client *kafka.Client) error {
		reply, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		if err == nil && len(reply.Brokers) == 0 {
			return kafka.BrokerNotAvailable // a fresh broker that has not registered yet
		}
		return err
	})
}

// EnsureTopics makes the topics that are absent, with Partitions partitions
// each, and returns when every one of them has its leaders. Topics that exist
// stay as they are. It tries again until ctx ends; what the broker refuses for
// good (an ill name, more replicas than brokers) is returned at once.
func EnsureTopics(ctx context.Context, brokers []string, replication int, topics ...string) error {
	return ensure(ctx, brokers, replication, nil, topics)
}

// EnsureCompacted is EnsureTopics for topics that keep the last record of each key
// for good, and a record without a value for a day: Kafka's cleanup.policy compact.
func EnsureCompacted(ctx context.Context, brokers []string, replication int, topics ...string) error {
	return ensure(ctx, brokers, replication, []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}}, topics)
}

func ensure(ctx context.Context, brokers []string, replication int, settings []kafka.ConfigEntry, topics []string) error {
	configs := make([]kafka.TopicConfig, len(topics))
	for i, topic := range topics {
		configs[i] = kafka.TopicConfig{Topic: topic, NumPartitions: Partitions, ReplicationFactor: replication, ConfigEntries: settings}
	}
	return ask(ctx, brokers, func(ctx context.Context, client *kafka.Client) error {
		reply, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: configs})
		if err != nil {
			return err
		}
		for topic, err := range reply.Errors {
			if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
				return fmt.Errorf("create topic %s: %w", topic, err)
			}
		}
		metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
		if err != nil {
			return err
		}
		for _, topic := range metadata.Topics {
			if topic.Error != nil {
				return fmt.Errorf("topic %s: %w", topic.Name, topic.Error)
			}
			for _, partition := range topic.Partitions {
				if partition.Error != nil {
					return fmt.Errorf("topic %s: %w", topic.Name, partition.Error)
				}
			}
		}
		return nil
	})
}

// ask makes one call until it succeeds, is refused for good, or ctx ends. Each
// attempt has a transport of its own: a pooled one would answer the second
// attempt with the first one's cached failure.
func ask(ctx context.Context, brokers []string, call func(context.Context, *kafka.Client) error) error {
	for {
		err := askOnce(ctx, brokers, call)
		if err == nil {
			return nil
		}
		if final(err) {
			return fmt.Errorf("kafka at %s: %w", strings.Join(brokers, ","), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w at %s: %w", ErrAway, strings.Join(brokers, ","), err)
		case <-time.After(retryPause):
		}
	}
}

func askOnce(ctx context.Context, brokers []string, call func(context.Context, *kafka.Client) error) error {
	transport := newTransport("")
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	return call(ctx, &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport})
}

// final tells a refusal for good from what is worth another attempt: errors of
// the network, and the codes of a broker that starts, moves a leader or does not
// know a topic yet.
func final(err error) bool {
	var code kafka.Error
	return errors.As(err, &code) && !code.Temporary() && code != kafka.BrokerNotAvailable
}

func newTransport(clientID string) *kafka.Transport {
	return &kafka.Transport{ClientID: clientID, DialTimeout: dialTimeout, MetadataTTL: metadataTTL}
}
