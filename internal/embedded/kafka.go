package embedded

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
)

// partitions of a topic made at the start: what the binaries create too, so
// that the order of one key and the disorder of two are those of production.
const partitions = 8

// Kafka starts a kfake of one broker on a free port of the loopback, with the
// named topics of 8 partitions each. addr is its bootstrap address. A topic
// that nobody made stays absent, as on the brokers of the tests.
//
// kfake speaks as much of the protocol as kafka-go asks for: producing with
// acks=all, consumer groups with fenced commits, making and deleting topics.
// Nothing is written to disk.
func Kafka(topics ...string) (addr string, stop func(), err error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		return "", nil, fmt.Errorf("start kfake: %w", err)
	}
	return cluster.ListenAddrs()[0], cluster.Close, nil
}
