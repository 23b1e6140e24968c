package kafkaio

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"waitroom/internal/events"
)

// fakeCluster is a kfake whose answers a test may replace.
func fakeCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

// refusal answers a produce request of one partition with a code.
func refusal(request *kmsg.ProduceRequest, code int16) *kmsg.ProduceResponse {
	reply := request.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range request.Topics {
		answer := kmsg.NewProduceResponseTopic()
		answer.Topic = topic.Topic
		for _, partition := range topic.Partitions {
			one := kmsg.NewProduceResponseTopicPartition()
			one.Partition, one.ErrorCode = partition.Partition, code
			answer.Partitions = append(answer.Partitions, one)
		}
		reply.Topics = append(reply.Topics, answer)
	}
	return reply
}

// One partition of eight without a leader, or whose broker does not answer: the
// records of the others are acknowledged, and once; the caller learns which are
// not, within 2 s, and publishes only those again.
func TestPublishSaysWhatFailed(t *testing.T) {
	const sick = 3
	for _, kind := range []string{"leaderless", "silent"} {
		t.Run(kind, func(t *testing.T) {
			cluster := fakeCluster(t)
			brokers := cluster.ListenAddrs()
			topic := topicFor(t, brokers, "facts")
			var ill atomic.Bool
			ill.Store(true)
			cured := make(chan struct{})
			t.Cleanup(sync.OnceFunc(func() { close(cured) }))
			cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				request := r.(*kmsg.ProduceRequest)
				if !ill.Load() || request.Topics[0].Partitions[0].Partition != sick {
					return nil, nil, false
				}
				if kind == "silent" {
					cluster.SleepControl(func() { <-cured })
				}
				return refusal(request, int16(kafka.NotLeaderForPartition)), nil, true
			})
			records := numbered(topic, 0, 400)
			var want []int
			for i, r := range records {
				if partitionOf(r.Key, Partitions) == sick {
					want = append(want, i)
				}
			}
			if len(want) == 0 || len(want) == len(records) {
				t.Fatalf("got %d of %d records in partition %d, want some", len(want), len(records), sick)
			}
			w := writerFor(t, brokers)
			began := time.Now()
			err := w.Publish(within(t), records)
			if lasted := time.Since(began); lasted > publishLimit+time.Second {
				t.Errorf("got an answer after %v, want it within %v", lasted, publishLimit)
			}
			if got := events.Missing(err, len(records)); !slices.Equal(got, want) {
				t.Fatalf("got %d records missing (%v), want the %d of partition %d", len(got), err, len(want), sick)
			}
			ill.Store(false)
			var again []events.Record
			for _, i := range events.Missing(err, len(records)) {
				again = append(again, records[i])
			}
			publish(t, w, again)
			got := newSeen()
			member(t, NewConsumer(ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}), got.handle)
			got.until(t, len(records))
			if most := got.most(); most != 1 {
				t.Errorf("got a record %d times, want each once", most)
			}
		})
	}
}

// What lies behind a failed request of its partition was not tried, and is
// missing with it; what was acknowledged before is not.
func TestPublishKeepsOrder(t *testing.T) {
	cluster := fakeCluster(t)
	brokers := cluster.ListenAddrs()
	topic := topicFor(t, brokers, "facts")
	var requests atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if requests.Add(1) == 1 {
			return nil, nil, false
		}
		return refusal(r.(*kmsg.ProduceRequest), int16(kafka.NotLeaderForPartition)), nil, true
	})
	records := make([]events.Record, 3*maxRecords)
	var want []int
	for i := range records {
		records[i] = events.Record{Topic: topic, Key: []byte("one"), Value: fmt.Append(nil, i)}
		if i >= maxRecords {
			want = append(want, i)
		}
	}
	err := writerFor(t, brokers).Publish(within(t), records)
	if got := events.Missing(err, len(records)); !slices.Equal(got, want) {
		t.Errorf("got %d missing (%v), want all but the first request's %d", len(got), err, maxRecords)
	}
	if got := requests.Load(); got != 1+attempts {
		t.Errorf("got %d requests, want one and %d attempts at the second", got, attempts)
	}
}

// A thousand rooms that publish at once share a few connections.
func TestPublishConnections(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "facts")
		w := writerFor(t, brokers)
		var open, most atomic.Int32
		w.transport.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			for now := open.Add(1); ; {
				if before := most.Load(); now <= before || most.CompareAndSwap(before, now) {
					break
				}
			}
			return &counted{Conn: conn, gone: sync.OnceFunc(func() { open.Add(-1) })}, nil
		}
		start := make(chan struct{})
		var rooms sync.WaitGroup
		for i := range 1000 {
			rooms.Go(func() {
				<-start
				left := numbered(topic, i, i+1)
				for ctx := within(t); len(left) > 0 && ctx.Err() == nil; sleep(ctx, time.Second) { // as callers do
					var again []events.Record
					for _, j := range events.Missing(w.Publish(ctx, left), len(left)) {
						again = append(again, left[j])
					}
					if left = again; len(left) == 0 {
						return
					}
				}
			})
		}
		close(start)
		rooms.Wait()
		// One per request, and those that ask what there is; as many again whose
		// request timed out on a busy machine, until they are closed.
		const bound = 2*Partitions*perPartition + 4
		if got := most.Load(); got > bound {
			t.Errorf("got %d connections at once, want at most %d", got, bound)
		}
		written := 0
		for id := range Partitions {
			conn, err := kafka.DialLeader(within(t), "tcp", brokers[0], topic, id)
			if err != nil {
				t.Fatal(err)
			}
			last, err := conn.ReadLastOffset()
			if err != nil {
				t.Fatal(err)
			}
			written += int(last)
			conn.Close()
		}
		if written < 1000 {
			t.Errorf("got %d records written, want at least 1,000", written)
		}
	})
}

type counted struct {
	net.Conn
	gone func()
}

func (c *counted) Close() error {
	c.gone()
	return c.Conn.Close()
}

// partitionOf is where the writer puts a key.
func partitionOf(key []byte, count int) int { return int(events.Spread(key) % uint32(count)) }
