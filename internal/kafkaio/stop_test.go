package kafkaio

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// asked is what a member and a follower ask a broker for.
// All but Metadata: a group asks for it on the connection of its heartbeats, which
// would wait behind it.
var asked = []kmsg.Key{kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup,
	kmsg.OffsetFetch, kmsg.OffsetCommit, kmsg.ListOffsets, kmsg.Fetch, kmsg.Produce}

// silence makes the cluster answer no request of these keys until the test ends.
// It tells which requests it holds.
func silence(t *testing.T, cluster *kfake.Cluster, keys ...kmsg.Key) (holds <-chan kmsg.Key) {
	t.Helper()
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	told := make(chan kmsg.Key, 1000)
	control := func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		select {
		case told <- kmsg.Key(r.Key()):
		default:
		}
		cluster.SleepControl(func() { <-over })
		return nil, nil, false
	}
	for _, key := range keys {
		cluster.ControlKey(int16(key), control)
	}
	return told
}

// await waits until a request of one of keys is held.
func await(t *testing.T, holds <-chan kmsg.Key, keys ...kmsg.Key) {
	t.Helper()
	for ctx := within(t); ; {
		select {
		case held := <-holds:
			if slices.Contains(keys, held) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("no request of keys %v came", keys)
		}
	}
}

// A member, and a follower, stop within 5 s whatever Kafka does: it answers
// nothing any more, or the stop meets a rebalance that does not end.
func TestStopWhileSilent(t *testing.T) {
	const most = 5 * time.Second
	stopped := func(t *testing.T, stop func()) {
		t.Helper()
		began := time.Now()
		stop()
		if lasted := time.Since(began); lasted > most {
			t.Errorf("got stopped after %v, want within %v", lasted, most)
		}
	}
	consumer := func(t *testing.T, cluster *kfake.Cluster, topic string, got *seen) (stop func()) {
		return member(t, NewConsumer(ConsumerConfig{Brokers: cluster.ListenAddrs(), Group: topic, Topics: []string{topic}}), got.handle)
	}
	t.Run("member", func(t *testing.T) {
		t.Parallel()
		cluster := fakeCluster(t)
		topic := topicFor(t, cluster.ListenAddrs(), "facts")
		publish(t, writerFor(t, cluster.ListenAddrs()), numbered(topic, 0, 20))
		got := newSeen()
		stop := consumer(t, cluster, topic, got)
		got.until(t, 20)
		await(t, silence(t, cluster, asked...), kmsg.Heartbeat, kmsg.OffsetCommit) // on the coordinator's connection
		stopped(t, stop)
	})
	t.Run("joining", func(t *testing.T) {
		t.Parallel()
		cluster := fakeCluster(t)
		topic := topicFor(t, cluster.ListenAddrs(), "facts")
		holds := silence(t, cluster, kmsg.JoinGroup)
		stop := consumer(t, cluster, topic, newSeen())
		await(t, holds, kmsg.JoinGroup)
		stopped(t, stop)
	})
	t.Run("follower", func(t *testing.T) {
		t.Parallel()
		cluster := fakeCluster(t)
		topic := topicFor(t, cluster.ListenAddrs(), "facts")
		w := writerFor(t, cluster.ListenAddrs())
		publish(t, w, numbered(topic, 0, 20))
		got := newSeen()
		stop := follow(t, FollowerConfig{Brokers: cluster.ListenAddrs(), Group: topic, Topic: topic, Dead: w}, got.done)
		got.until(t, 20)
		await(t, silence(t, cluster, asked...), kmsg.Fetch)
		publishing := make(chan struct{})
		go func() { _ = w.Publish(within(t), numbered(topic, 20, 21)); close(publishing) }()
		stopped(t, stop)
		<-publishing
	})
	t.Run("away", func(t *testing.T) {
		t.Parallel()
		stop := member(t, NewConsumer(ConsumerConfig{Brokers: []string{"127.0.0.1:1"}, Group: "g", Topics: []string{"x"}}), newSeen().handle)
		stopped(t, stop)
	})
}
