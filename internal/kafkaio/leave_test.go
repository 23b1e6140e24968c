package kafkaio

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/events"
)

// Records that wait when the group is shared out anew are the next holder's. Who held
// them says that its outage is over, and not for ever that they wait.
func TestRebalanceEndsTheOutage(t *testing.T) {
	both(t, func(t *testing.T, brokers []string) {
		topic := topicFor(t, brokers, "admitted")
		publish(t, writerFor(t, brokers), numbered(topic, 0, 1))
		core, logs := observer.New(zap.DebugLevel)
		var first atomic.Value // the context of the partition in the first generation
		done := make(chan struct{}, 10)
		handle := func(ctx context.Context, _ []events.Record) error {
			first.CompareAndSwap(nil, ctx)
			if first.Load() == ctx {
				return errors.New("the database is away")
			}
			done <- struct{}{}
			return nil
		}
		config := ConsumerConfig{Brokers: brokers, Group: topic, Topics: []string{topic}}
		other := NewConsumer(config)
		config.Log = zap.New(core)
		member(t, NewConsumer(config), handle)
		until(t, "the record waits", func() bool { return logs.FilterMessageSnippet("wait in memory").Len() == 1 })
		member(t, other, handle) // the group is shared out anew
		select {
		case <-done:
		case <-within(t).Done():
			t.Fatal("nobody dealt with the record")
		}
		until(t, "the first member's outage is over", func() bool { return logs.FilterMessageSnippet("no record waits").Len() == 1 })
	})
}

// A partition that leaves ends the outage where it had the last records that wait, at
// once, also where it had too many; a stop says nothing.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		away := func(context.Context, []events.Record) error { return errors.New("the database is away") }
		l := newLot(zap.New(core), 1, nil, true)
		one, two := &followedPartition{lot: l, judge: judgeOf(away), held: &held{}}, &followedPartition{lot: l, judge: judgeOf(away), held: &held{}}
		park := func() {
			one.first(t.Context(), []events.Record{{}})
			two.first(t.Context(), []events.Record{{}})
			time.Sleep(5 * time.Second) // synctest's; longer than a full partition is passed over
			one.again(t.Context())
			two.again(t.Context())
		}
		over := func(want int) {
			t.Helper()
			if got := logs.FilterLevelExact(zap.InfoLevel).Len(); got != want {
				t.Errorf("got %d outages that are over, want %d: %v", got, want, logs.All())
			}
		}
		park()
		if got := logs.FilterLevelExact(zap.WarnLevel).Len(); got != 2 {
			t.Fatalf("got %d outages, want one of records that wait and one of a full partition", got)
		}
		one.leave(t.Context())
		over(0) // the other's wait
		two.leave(t.Context())
		over(2)

		park()
		stopped, stop := context.WithCancel(t.Context())
		stop()
		one.leave(stopped)
		two.leave(stopped)
		over(2)
	})
}
