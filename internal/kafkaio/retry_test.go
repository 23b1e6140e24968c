package kafkaio

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A second attempt at a request carries the same records, whole. (A record of
// the client can be read once: sent again it would have an empty value.)
func TestAttemptsCarryTheSame(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	brokers := cluster.ListenAddrs()
	topic := topicFor(t, brokers, "facts")
	var cuts atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if cuts.Add(1) <= 3 {
			return nil, errors.New("cut the connection"), true
		}
		return nil, nil, false
	})
	publish(t, writerFor(t, brokers), numbered(topic, 0, 100))
	got := newSeen() // it compares each value with its header
	member(t, NewConsumer(ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}), got.handle)
	got.until(t, 100)
	if cuts.Load() <= 3 {
		t.Errorf("got %d produce requests, want attempts after the three that were cut", cuts.Load())
	}
}
