package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outage"
)

const (
	// sessionTimeout is how long the partitions of a killed member lie still when
	// nobody joins or leaves. Brokers accept 6 s at least; a collection or a
	// broker's restart that takes longer costs a rebalance.
	sessionTimeout = 6 * time.Second
	// rebalanceTimeout is how long a group that is changing waits for a member that
	// is dead. A living one hears of it with its next heartbeat and is back within
	// half a second; its handler's context ends at once.
	rebalanceTimeout = 2 * time.Second
	heartbeat        = 500 * time.Millisecond
	rejoinPause      = 200 * time.Millisecond
	// leaveLimit is how long a stop waits for what the group has under way: most
	// rebalances end in it, and then the member leaves like any other. A member
	// that could not is taken for dead after sessionTimeout.
	leaveLimit = 3 * time.Second

	maxBatch = 500 // records handed over at once

	// fetchHold is how long a partition can't be read before that is logged: a topic
	// just made has leaders that don't know it yet.
	fetchHold = time.Second
)

// ConsumerConfig says what a member of a group reads. Log takes a line when the
// member joins, and what internal/outage says of what does not work; nil is silence.
type ConsumerConfig struct {
	Brokers  []string
	Group    string
	Topics   []string
	ClientID string
	Log      *zap.Logger
	// Metrics takes waitroom_<Subsystem>_consumer_lag_records; nil: nobody asks.
	Metrics   prometheus.Registerer
	Subsystem string

	lagEvery time.Duration // overrides the constant, for tests
}

// Consumer is one member of a consumer group. A group starts at the earliest
// offset.
type Consumer struct {
	config ConsumerConfig
	lag    *prometheus.GaugeVec // nil: nobody asks
	lot    *lot
}

// NewConsumer makes a Consumer; Run joins the group.
func NewConsumer(config ConsumerConfig) *Consumer {
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	if config.lagEvery == 0 {
		config.lagEvery = lagEvery
	}
	config.Log = config.Log.With(zap.String("group", config.Group))
	return &Consumer{config: config, lag: newLag(config.Metrics, config.Subsystem), lot: newLot(config.Log, parkMost, nil, true)}
}

// Handle takes records of one partition, in order. Its error means "not now", for all
// of them or for those that an *events.Undone names: they wait in memory and come again
// after a pause that grows to 1 s, without bound, and the offset stays before them. Those
// behind go on, except where they have the key of one that waits, until 2,000 wait. So
// it must deal with what can never succeed itself. Its ctx ends when the partition is
// taken away or Run stops. It is called for several partitions at once.
type Handle func(ctx context.Context, records []events.Record) error

// Run joins the group and hands records to handle until ctx ends; it returns
// nil then, when every goroutine of it has ended and the group was left, or 3 s
// have passed in which a broker did not answer. A Kafka that is away, or whose coordinator is not ready, is asked again without
// bound.
func (c *Consumer) Run(ctx context.Context, handle Handle) error {
	conns := newEnding()
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.config.Group, Brokers: c.config.Brokers, Topics: c.config.Topics,
		Dialer:      &kafka.Dialer{ClientID: c.config.ClientID, Timeout: dialTimeout, DialFunc: conns.dial},
		StartOffset: kafka.FirstOffset, GroupBalancers: []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}},
		HeartbeatInterval: heartbeat, SessionTimeout: sessionTimeout, RebalanceTimeout: rebalanceTimeout,
		JoinGroupBackoff: rejoinPause, WatchPartitionChanges: true,
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", c.config.Group, err)
	}
	// Closed last: a call after that would open it anew, for good.
	transport := newTransport(c.config.ClientID)
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(c.config.Brokers...), Transport: transport}

	// Close ends the generation's goroutines, waits for them, and leaves the
	// group, so that the other members need not wait for the session to end.
	var readings sync.WaitGroup
	defer readings.Wait() // a reading of a generation that ended at birth is not the group's to wait for
	defer group.Close()
	stop := context.AfterFunc(ctx, func() { conns.by(time.Now().Add(leaveLimit)) })
	defer stop()

	away := newOutage(c.config.Log, "group", outage.Config{})
	var last time.Time
	for {
		// A group whose generations end at once (its topic was deleted) must
		// not spin: one generation per rejoinPause.
		if !sleep(ctx, time.Until(last.Add(rejoinPause))) {
			return nil
		}
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kafka.ErrGroupClosed):
			return err // only this function closes it
		case err != nil:
			// A fresh broker answers code 15, a restarted one an unexpected
			// EOF; a rebalance is not even trouble. The group makes the next
			// attempt after rejoinPause by itself.
			if !errors.Is(err, kafka.RebalanceInProgress) {
				away.Note(ctx, err)
			}
			continue
		}
		away.Note(ctx, nil)
		last = time.Now()
		c.start(ctx, generation, handle, &readings, client)
	}
}

// start begins one goroutine per assigned partition. The generation owns them:
// when it ends, their context does, and the group makes no other before they
// have returned.
func (c *Consumer) start(ctx context.Context, generation *kafka.Generation, handle Handle, readings *sync.WaitGroup, client *kafka.Client) {
	count := 0
	var partitions []*held
	for topic, assigned := range generation.Assignments {
		for _, assignment := range assigned {
			count++
			h := &held{topic: topic, partition: assignment.ID}
			h.next.Store(assignment.Offset)
			partitions = append(partitions, h)
			log := c.config.Log.With(zap.String("topic", topic), zap.Int("partition", assignment.ID))
			p := &followedPartition{lot: c.lot, judge: judgeOf(handle), held: h, moved: commit(ctx, generation, h, log),
				source: source{client: client, topic: topic, partition: assignment.ID, log: log}}
			p.floor.Store(assignment.Offset)
			// Should it return before the generation has ended, it ends the generation and
			// the group joins anew.
			c.during(ctx, generation, readings, func(taken context.Context) {
				p.run(taken)
				p.leave(ctx)
			})
		}
	}
	if c.lag != nil && count > 0 {
		c.during(ctx, generation, readings, func(ctx context.Context) {
			watchLag(ctx, c.lag, c.config.Log, c.config.lagEvery, client, func() []*held { return partitions })
		})
	}
	c.config.Log.Info("joined the consumer group",
		zap.Int32("generation", generation.ID), zap.Int("partitions", count))
}

// commit is what a partition of a generation does when its floor moves.
func commit(ctx context.Context, generation *kafka.Generation, h *held, log *zap.Logger) func(floor int64) bool {
	return func(floor int64) bool {
		if floor < 0 {
			return true // the first offset is not known yet
		}
		err := generation.CommitOffsets(map[string]map[int]int64{h.topic: {h.partition: floor}})
		// A stale generation is refused, and what was handled here comes again to whoever
		// holds the partition now. Every other reason is cured by joining anew from the
		// offset that is committed.
		if err != nil && ctx.Err() == nil {
			log.Warn("commit refused, joining the group anew", zap.Error(err))
		}
		return err == nil
	}
}

// during runs do in a goroutine of the generation. Two ends are in its context:
// the generation's and Run's.
func (c *Consumer) during(ctx context.Context, generation *kafka.Generation, readings *sync.WaitGroup, do func(context.Context)) {
	readings.Add(1)
	generation.Start(func(ended context.Context) {
		defer readings.Done()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(ended, cancel)()
		do(ctx)
	})
}

// judgeOf hears of a handler's error which records are to come again.
func judgeOf(handle Handle) Judge {
	return func(ctx context.Context, records []events.Record) []events.Verdict {
		verdicts := make([]events.Verdict, len(records))
		err := handle(ctx, records)
		for _, i := range events.Left(err, len(records)) {
			verdicts[i] = events.Verdict{Fate: events.Later, Err: err}
		}
		return verdicts
	}
}

// newOutage is for one part of a member's work. Config may leave the words out.
func newOutage(log *zap.Logger, what string, config outage.Config) *outage.Log {
	config.Log = log.With(zap.String("what", what))
	if config.Down == "" {
		config.Down, config.Up = "kafka does not work, trying again without bound", "kafka works again"
	}
	return outage.New(config)
}

// sleep waits for d; false says that ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
