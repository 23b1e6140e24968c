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

	maxBatch   = 500 // records handed over at once
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second

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
	return &Consumer{config: config, lag: newLag(config.Metrics, config.Subsystem)}
}

// Handle takes records of one partition, in order. Its error, whatever it is,
// means "not now": the same records come again after a pause that grows to 5 s,
// without bound, and the offset stays. So it must deal with what can never
// succeed itself. Its ctx ends when the partition is taken away or Run stops.
// It is called for several partitions at once.
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
			c.during(ctx, generation, readings, func(ctx context.Context) {
				log := c.config.Log.With(zap.String("topic", topic), zap.Int("partition", assignment.ID))
				p := &reading{generation: generation, held: h, log: log,
					source: source{client: client, topic: topic, partition: assignment.ID, log: log}}
				p.run(ctx, assignment.Offset, handle)
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

// reading is one partition in one generation. If it returns before the
// generation has ended, it ends the generation and the group joins anew.
type reading struct {
	generation *kafka.Generation
	source     source
	held       *held
	log        *zap.Logger
}

func (p *reading) run(ctx context.Context, offset int64, handle Handle) {
	// The pump ends with ctx, and this function waits for it; what it holds
	// is bounded by the channel, maxBatch, and one answer of a broker.
	fetched := make(chan events.Record, maxBatch)
	var pump sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer pump.Wait()
	defer cancel()
	pump.Go(func() { p.pump(ctx, offset, fetched) })

	for {
		records, next := p.batch(ctx, fetched)
		if len(records) == 0 {
			return
		}
		if !p.handle(ctx, records, handle) {
			return
		}
		p.held.next.Store(next)
		err := p.generation.CommitOffsets(map[string]map[int]int64{p.source.topic: {p.source.partition: next}})
		if err != nil {
			// A stale generation is refused, and what was handled here comes
			// again to whoever holds the partition now. Every other reason is
			// cured by joining anew from the offset that is committed.
			if ctx.Err() == nil {
				p.log.Warn("commit refused, joining the group anew", zap.Error(err))
			}
			return
		}
	}
}

// pump reads records from offset on and moves them to fetched.
func (p *reading) pump(ctx context.Context, offset int64, fetched chan<- events.Record) {
	away := newOutage(p.log, "fetch", outage.Config{Hold: fetchHold})
	for ctx.Err() == nil {
		records, next, err := p.source.fetch(ctx, offset, fetchWait)
		if away.Note(ctx, err); err != nil {
			if !sleep(ctx, retryPause) {
				return
			}
			continue
		}
		for _, record := range records {
			select {
			case fetched <- record:
			case <-ctx.Done():
				return
			}
		}
		offset = next
	}
}

// batch waits for one record and takes with it what has arrived already. It
// returns nothing when ctx has ended. next is the offset to commit.
func (p *reading) batch(ctx context.Context, fetched <-chan events.Record) (records []events.Record, next int64) {
	select {
	case <-ctx.Done():
		return nil, 0
	case record := <-fetched:
		records, next = append(records, record), record.Offset+1
	}
	for len(records) < maxBatch {
		select {
		case record := <-fetched:
			records, next = append(records, record), record.Offset+1
		default:
			return records, next
		}
	}
	return records, next
}

// handle repeats until handle succeeds (true) or ctx ends (false). A stale
// generation whose handle succeeded tries to commit, and is refused.
func (p *reading) handle(ctx context.Context, records []events.Record, handle Handle) bool {
	stuck := newOutage(p.log, "handle", outage.Config{ // whatever the handler needs, which need not be Kafka
		Down: "records can't be dealt with: their offset stays, and they come again without bound", Up: "records are dealt with again"})
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		err := handle(ctx, records)
		stuck.Note(ctx, err)
		if err == nil {
			return true // also when ctx has ended: what is done is committed
		}
		if !sleep(ctx, pause) {
			return false
		}
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
