package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/segmentio/kafka-go"
)

// Partitions of a topic that EnsureTopics makes: as many members of one group
// can share its work.
const Partitions = 8

const minInSync = "min.insync.replicas"

// inSync is how many replicas have a record before it counts as acknowledged: all
// but one, so that one may be away; a topic of two would stand still with one.
func inSync(replication int) int {
	if replication < 3 {
		return 1
	}
	return replication - 1
}

// EnsureTopics makes the topics that are absent, with Partitions partitions
// each, and returns when every one of them has its leaders. Topics that exist
// stay as they are, and ask for no right to make any. It tries again until ctx
// ends; what the broker refuses for good (an ill name, more replicas than brokers)
// is returned at once.
func EnsureTopics(ctx context.Context, brokers []string, replication int, topics ...string) error {
	return ensure(ctx, brokers, replication, nil, topics)
}

// EnsureCompacted is EnsureTopics for topics that keep the last record of each key
// for good, and a record without a value for a day: Kafka's cleanup.policy compact.
func EnsureCompacted(ctx context.Context, brokers []string, replication int, topics ...string) error {
	return ensure(ctx, brokers, replication, []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}}, topics)
}

func ensure(ctx context.Context, brokers []string, replication int, settings []kafka.ConfigEntry, topics []string) error {
	// Always said: a broker's default of 2 would make a topic of one replica
	// that takes no record.
	settings = append(settings, kafka.ConfigEntry{ConfigName: minInSync, ConfigValue: strconv.Itoa(inSync(replication))})
	return ask(ctx, brokers, topics, func(ctx context.Context, client *kafka.Client) error {
		found, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
		if err != nil {
			return err
		}
		var absent []kafka.TopicConfig
		for _, topic := range found.Topics {
			if errors.Is(topic.Error, kafka.UnknownTopicOrPartition) {
				absent = append(absent, kafka.TopicConfig{Topic: topic.Name, NumPartitions: Partitions,
					ReplicationFactor: replication, ConfigEntries: settings})
			}
		}
		if len(absent) > 0 {
			if err := create(ctx, client, absent); err != nil {
				return err
			}
			if found, err = client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics}); err != nil {
				return err
			}
		}
		for _, topic := range found.Topics {
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

func create(ctx context.Context, client *kafka.Client, topics []kafka.TopicConfig) error {
	reply, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics})
	if err != nil {
		return err
	}
	for topic, err := range reply.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) { // another process was first
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return nil
}

// CheckTopics says what an operator should know of topics that exist: fewer copies
// than replication asks for, or an acknowledgement that one copy gives. A start
// changes neither, since others may have set them; it looks once, and what it may
// not see it leaves out.
func CheckTopics(ctx context.Context, brokers []string, replication int, topics ...string) (warnings []string) {
	_ = askOnce(ctx, brokers, topics, func(ctx context.Context, client *kafka.Client) error {
		found, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
		if err != nil {
			return err
		}
		copies := map[string]int{}
		var resources []kafka.DescribeConfigRequestResource
		for _, topic := range found.Topics {
			for _, p := range topic.Partitions {
				if n := len(p.Replicas); copies[topic.Name] == 0 || n < copies[topic.Name] {
					copies[topic.Name] = n
				}
			}
			if n := copies[topic.Name]; n > 0 && n < replication {
				warnings = append(warnings, fmt.Sprintf("kafka topic %s has %d copies, --replication %d makes new ones only: add replicas to it",
					topic.Name, n, replication))
			}
			resources = append(resources, kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic,
				ResourceName: topic.Name, ConfigNames: []string{minInSync}})
		}
		reply, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: resources})
		if err != nil {
			return err
		}
		for _, topic := range reply.Resources {
			for _, entry := range topic.ConfigEntries {
				least, err := strconv.Atoi(entry.ConfigValue)
				if n := copies[topic.ResourceName]; entry.ConfigName == minInSync && err == nil && n >= 3 && least < inSync(n) {
					warnings = append(warnings, fmt.Sprintf("kafka topic %s acknowledges with %d of %d copies: set %s to %d, or a broker that dies may take what it acknowledged alone",
						topic.ResourceName, least, n, minInSync, inSync(n)))
				}
			}
		}
		return nil
	})
	return warnings
}
