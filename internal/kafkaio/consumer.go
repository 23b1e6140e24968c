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
	// sessionTimeout is how long the partitions of a killed member lie still.
	// Brokers accept 6 s at least; 10 s outlasts a long garbage collection or
	// a broker's restart.
	sessionTimeout = 10 * time.Second
	heartbeat      = time.Second // also how soon a member sees a rebalance
	rejoinPause    = 500 * time.Millisecond

	maxBatch   = 500 // records handed over at once
	fetchWait  = 500 * time.Millisecond
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second

	// fetchHold is how long a partition can't be read before that is logged: a topic
	// just made has leaders that don't know it yet.
	fetchHold = time.Second
	// fetchQuiet is how far apart two errors of a partition are two outages, since
	// only a message says that it can be read again: more than the reader's own
	// attempts take.
	fetchQuiet = 15 * time.Second
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

	// These override the constants, for tests that kill a member or look at its lag.
	sessionTimeout time.Duration
	lagEvery       time.Duration
}

// Consumer is one member of a consumer group. A group starts at the earliest
// offset.
type Consumer struct {
	config ConsumerConfig
	dialer *kafka.Dialer
	lag    *prometheus.GaugeVec // nil: nobody asks
}

// NewConsumer makes a Consumer; Run joins the group.
func NewConsumer(config ConsumerConfig) *Consumer {
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	if config.sessionTimeout == 0 {
		config.sessionTimeout = sessionTimeout
	}
	if config.lagEvery == 0 {
		config.lagEvery = lagEvery
	}
	config.Log = config.Log.With(zap.String("group", config.Group))
	return &Consumer{config: config, dialer: &kafka.Dialer{ClientID: config.ClientID, Timeout: dialTimeout},
		lag: newLag(config.Metrics, config.Subsystem)}
}

// Handle takes records of one partition, in order. Its error, whatever it is,
// means "not now": the same records come again after a pause that grows to 5 s,
// without bound, and the offset stays. So it must deal with what can never
// succeed itself. Its ctx ends when the partition is taken away or Run stops.
// It is called for several partitions at once.
type Handle func(ctx context.Context, records []events.Record) error

// Run joins the group and hands records to handle until ctx ends; it returns
// nil then, when every goroutine of it has ended and the group was left. A
// Kafka that is away, or whose coordinator is not ready, is asked again without
// bound.
func (c *Consumer) Run(ctx context.Context, handle Handle) error {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.config.Group, Brokers: c.config.Brokers, Topics: c.config.Topics, Dialer: c.dialer,
		StartOffset: kafka.FirstOffset, GroupBalancers: []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}},
		HeartbeatInterval: heartbeat, SessionTimeout: c.config.sessionTimeout, RebalanceTimeout: sessionTimeout,
		JoinGroupBackoff: rejoinPause, WatchPartitionChanges: true,
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", c.config.Group, err)
	}
	// Of the lag alone. Closed last: a call after that would open it anew, for good.
	transport := newTransport(c.config.ClientID)
	defer transport.CloseIdleConnections()
	offsets := &kafka.Client{Addr: kafka.TCP(c.config.Brokers...), Transport: transport}

	// Close ends the generation's goroutines, waits for them, and leaves the
	// group, so that the other members need not wait for the session to end.
	var readings sync.WaitGroup
	defer readings.Wait() // a reading of a generation that ended at birth is not the group's to wait for
	defer group.Close()

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
		c.start(ctx, generation, handle, &readings, offsets)
	}
}

// start begins one goroutine per assigned partition. The generation owns them:
// when it ends, their context does, and the group makes no other before they
// have returned.
func (c *Consumer) start(ctx context.Context, generation *kafka.Generation, handle Handle, readings *sync.WaitGroup, offsets *kafka.Client) {
	count := 0
	var partitions []*held
	for topic, assigned := range generation.Assignments {
		for _, assignment := range assigned {
			count++
			h := &held{topic: topic, partition: assignment.ID}
			h.next.Store(assignment.Offset)
			partitions = append(partitions, h)
			c.during(ctx, generation, readings, func(ctx context.Context) {
				p := &reading{consumer: c, generation: generation, topic: topic, id: assignment.ID, held: h}
				p.run(ctx, assignment.Offset, handle)
			})
		}
	}
	if c.lag != nil && count > 0 {
		c.during(ctx, generation, readings, func(ctx context.Context) { c.watchLag(ctx, offsets, partitions) })
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
	consumer   *Consumer
	generation *kafka.Generation
	topic      string
	id         int
	held       *held
}

func (p *reading) run(ctx context.Context, offset int64, handle Handle) {
	config := p.consumer.config
	log := config.Log.With(zap.String("topic", p.topic), zap.Int("partition", p.id))
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: config.Brokers, Topic: p.topic, Partition: p.id, Dialer: p.consumer.dialer,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: fetchWait, QueueCapacity: maxBatch,
		ReadBackoffMin: 5 * time.Millisecond, ReadBackoffMax: time.Second,
	})
	// The offsets a reader accepts are those of an assignment: a number, or
	// "the first" for a group that has committed nothing yet.
	if err := reader.SetOffset(offset); err != nil {
		log.Error("set the offset", zap.Error(err))
	}

	// The pump ends with ctx, and this function waits for it; what it holds
	// is bounded by the channel and the reader's queue, maxBatch each.
	fetched := make(chan kafka.Message, maxBatch)
	var pump sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer pump.Wait()
	defer reader.Close()
	defer cancel()
	pump.Go(func() { p.pump(ctx, reader, fetched, log) })

	for {
		records, next := p.batch(ctx, fetched)
		if len(records) == 0 {
			return
		}
		if !p.handle(ctx, records, handle, log) {
			return
		}
		p.held.next.Store(next)
		err := p.generation.CommitOffsets(map[string]map[int]int64{p.topic: {p.id: next}})
		if err != nil {
			// A stale generation is refused, and what was handled here comes
			// again to whoever holds the partition now. Every other reason is
			// cured by joining anew from the offset that is committed.
			if ctx.Err() == nil {
				log.Warn("commit refused, joining the group anew", zap.Error(err))
			}
			return
		}
	}
}

// pump moves messages from the reader to fetched. Errors of a partition whose
// broker is away are the reader's to retry.
func (p *reading) pump(ctx context.Context, reader *kafka.Reader, fetched chan<- kafka.Message, log *zap.Logger) {
	away := newOutage(log, "fetch", outage.Config{Hold: fetchHold, Quiet: fetchQuiet})
	for {
		message, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			away.Note(ctx, err)
			if !sleep(ctx, retryPause) {
				return
			}
			continue
		}
		away.Note(ctx, nil)
		select {
		case fetched <- message:
		case <-ctx.Done():
			return
		}
	}
}

// batch waits for one message and takes with it what has arrived already. It
// returns nothing when ctx has ended. next is the offset to commit.
func (p *reading) batch(ctx context.Context, fetched <-chan kafka.Message) (records []events.Record, next int64) {
	select {
	case <-ctx.Done():
		return nil, 0
	case message := <-fetched:
		records, next = append(records, fromKafka(message)), message.Offset+1
	}
	for len(records) < maxBatch {
		select {
		case message := <-fetched:
			records, next = append(records, fromKafka(message)), message.Offset+1
		default:
			return records, next
		}
	}
	return records, next
}

// handle repeats until handle succeeds (true) or ctx ends (false). A stale
// generation whose handle succeeded tries to commit, and is refused.
func (p *reading) handle(ctx context.Context, records []events.Record, handle Handle, log *zap.Logger) bool {
	stuck := newOutage(log, "handle", outage.Config{ // whatever the handler needs, which need not be Kafka
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

func fromKafka(message kafka.Message) events.Record {
	headers := make(map[string]string, len(message.Headers))
	for _, header := range message.Headers {
		headers[header.Key] = string(header.Value)
	}
	return events.Record{
		Topic: message.Topic, Key: message.Key, Value: message.Value, Headers: headers,
		Partition: message.Partition, Offset: message.Offset,
	}
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
