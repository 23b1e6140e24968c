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
	return ask(ctx, brokers, nil, func(ctx context.Context, client *kafka.Client) error {
		reply, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		if err == nil && len(reply.Brokers) == 0 {
			return kafka.BrokerNotAvailable // a fresh broker that has not registered yet
		}
		return err
	})
}

// ask makes one call until it succeeds, is refused for good, or ctx ends. Each
// attempt has a transport of its own: a pooled one would answer the second
// attempt with the first one's cached failure. It knows of topics alone, and asks
// for them by name: a list of all leaves out what may not be seen.
func ask(ctx context.Context, brokers, topics []string, call func(context.Context, *kafka.Client) error) error {
	for {
		err := askOnce(ctx, brokers, topics, call)
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

func askOnce(ctx context.Context, brokers, topics []string, call func(context.Context, *kafka.Client) error) error {
	transport := newTransport("")
	transport.MetadataTopics = topics
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
