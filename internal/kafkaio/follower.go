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
	// partitionsEvery is how soon a partition that was added is read.
	partitionsEvery = 5 * time.Second
	// commitEvery is how much is read again after a kill, in time.
	commitEvery = time.Second
	// commitAgain is how often an offset is committed that did not move: a broker
	// forgets those of a group without members after a week.
	commitAgain = time.Hour
	// lastCommit bounds the commit of a stop. What it does not get through is read
	// again by the next start.
	lastCommit = time.Second
	// parkMost is how many records of a partition wait for their time: a room's
	// facts while its line recovers. 1 KB each, 16 MB with eight partitions full.
	// At the bound the partition is not read on until some are dealt with.
	parkMost = 2000
	// Between two tries at what waits. 1 s at most: a slot whose line came back is
	// free within 2 s.
	parkedFirst = 100 * time.Millisecond
	parkedMost  = time.Second
)

// deadLetters is where records go that can't succeed.
type deadLetters interface {
	Publish(context.Context, []events.Record) error
}

// FollowerConfig says what a Follower reads. Group names the offsets that it
// starts from and commits; it joins no group. Dead takes what its handler calls
// Never.
type FollowerConfig struct {
	Brokers  []string
	Group    string
	Topic    string
	ClientID string
	Dead     deadLetters
	Log      *zap.Logger // nil is silence
	// Metrics takes waitroom_<Subsystem>_consumer_lag_records; nil: nobody asks.
	Metrics   prometheus.Registerer
	Subsystem string

	// These override the constants, for tests.
	partitionsEvery, lagEvery time.Duration
	parkMost                  int
}

// Follower reads every partition of a topic by itself, beside any number of
// others that do the same. It is for facts that may be applied by several and
// again: there is no membership, so nobody waits for one that died.
type Follower struct {
	config FollowerConfig
	lag    *prometheus.GaugeVec // nil: nobody asks
	lot    *lot
}

// NewFollower makes a Follower; Run reads.
func NewFollower(config FollowerConfig) *Follower {
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	if config.partitionsEvery == 0 {
		config.partitionsEvery = partitionsEvery
	}
	if config.lagEvery == 0 {
		config.lagEvery = lagEvery
	}
	if config.parkMost == 0 {
		config.parkMost = parkMost
	}
	config.Log = config.Log.With(zap.String("group", config.Group), zap.String("topic", config.Topic))
	return &Follower{config: config, lag: newLag(config.Metrics, config.Subsystem), lot: newLot(config.Log, config.parkMost, config.Dead, false)}
}

// Judge takes records of one partition, in order, and answers a verdict for each.
// Its ctx ends when Run stops; what it could not do then is Later. It is called
// for several partitions at once.
type Judge func(ctx context.Context, records []events.Record) []events.Verdict

// Run reads until ctx ends; it returns nil then, when every goroutine of it has
// ended. It starts where the group has committed, or at the first record. A Kafka
// that is away, or has no such topic, is asked again without bound.
func (f *Follower) Run(ctx context.Context, judge Judge) error {
	// Closed last: a call after that would open it anew, for good.
	transport := newTransport(f.config.ClientID)
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(f.config.Brokers...), Transport: transport}

	all := &followed{offsets: map[int]int64{}}
	var reading, counting sync.WaitGroup
	counting.Go(func() { f.commit(ctx, client, all) })
	if f.lag != nil {
		counting.Go(func() {
			watchLag(ctx, f.lag, f.config.Log, f.config.lagEvery, client, all.held)
		})
	}
	f.find(ctx, client, all, func(id int, offset int64) {
		p := &followedPartition{lot: f.lot, judge: judge, held: &held{topic: f.config.Topic, partition: id},
			source: source{client: client, topic: f.config.Topic, partition: id, log: f.config.Log.With(zap.Int("partition", id))}}
		p.held.next.Store(offset)
		p.floor.Store(offset)
		all.add(p)
		reading.Go(func() { p.run(ctx); p.leave(ctx) })
	})
	reading.Wait()
	counting.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCommit)
	defer cancel()
	if err := f.commitOnce(last, client, all, false); err != nil {
		f.config.Log.Info("the last offsets are not committed, their records will be read again", zap.Error(err))
	}
	return nil
}

// find starts every partition there is, now and later, until ctx ends.
func (f *Follower) find(ctx context.Context, client *kafka.Client, all *followed, start func(id int, offset int64)) {
	away := newOutage(f.config.Log, "partitions", outage.Config{})
	for {
		pause := f.config.partitionsEvery
		err := f.findOnce(ctx, client, all, start)
		if away.Note(ctx, err); err != nil {
			pause = retryPause
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (f *Follower) findOnce(ctx context.Context, client *kafka.Client, all *followed, start func(id int, offset int64)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{f.config.Topic}})
	if err != nil {
		return err
	}
	var fresh []int
	for _, topic := range metadata.Topics {
		if topic.Error != nil {
			return fmt.Errorf("topic %s: %w", topic.Name, topic.Error)
		}
		for _, p := range topic.Partitions {
			if !all.has(p.ID) {
				fresh = append(fresh, p.ID)
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	reply, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: f.config.Group, Topics: map[string][]int{f.config.Topic: fresh}})
	if err != nil {
		return err
	}
	if errors.Is(reply.Error, kafka.GroupIdNotFound) { // nobody has committed yet; most brokers answer no offsets
		for _, id := range fresh {
			start(id, kafka.FirstOffset)
		}
		return nil
	}
	if reply.Error != nil {
		return fmt.Errorf("offsets of group %s: %w", f.config.Group, reply.Error)
	}
	var failed error
	for _, p := range reply.Topics[f.config.Topic] {
		if p.Error != nil {
			failed = errors.Join(failed, fmt.Errorf("offset of %s/%d: %w", f.config.Topic, p.Partition, p.Error))
			continue
		}
		offset := p.CommittedOffset
		if offset < 0 {
			offset = kafka.FirstOffset
		}
		start(p.Partition, offset)
	}
	return failed
}

// followed is what is read, and what of it is committed.
type followed struct {
	mu         sync.Mutex
	partitions []*followedPartition // guarded by mu
	// offsets are those this process committed last, and at is when all of them
	// were; of the commit alone, which is called by one goroutine after the other.
	offsets map[int]int64
	at      time.Time
}

func (a *followed) add(p *followedPartition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.partitions = append(a.partitions, p)
}

func (a *followed) all() []*followedPartition {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.partitions[:len(a.partitions):len(a.partitions)]
}

func (a *followed) has(id int) bool {
	for _, p := range a.all() {
		if p.held.partition == id {
			return true
		}
	}
	return false
}

func (a *followed) held() []*held {
	var out []*held
	for _, p := range a.all() {
		out = append(out, p.held)
	}
	return out
}

// commit commits what has moved until ctx ends.
func (f *Follower) commit(ctx context.Context, client *kafka.Client, all *followed) {
	away := newOutage(f.config.Log, "commit", outage.Config{})
	for sleep(ctx, commitEvery) {
		again := time.Since(all.at) >= commitAgain
		limit, cancel := context.WithTimeout(ctx, 2*dialTimeout)
		away.Note(ctx, f.commitOnce(limit, client, all, again))
		cancel()
	}
}

// commitOnce commits as nobody's member: the group has none, so no generation can
// refuse it. Of several followers the slowest may set an offset back; that costs
// repeats after a start, and nothing else. A record that one of them still holds
// for later may be passed by another's offset, who has done it.
func (f *Follower) commitOnce(ctx context.Context, client *kafka.Client, all *followed, again bool) error {
	var commits []kafka.OffsetCommit
	for _, p := range all.all() {
		id, floor := p.held.partition, p.floor.Load()
		if before, known := all.offsets[id]; floor >= 0 && (again || !known || before != floor) {
			commits = append(commits, kafka.OffsetCommit{Partition: id, Offset: floor})
		}
	}
	if len(commits) == 0 {
		return nil
	}
	reply, err := client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: f.config.Group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{f.config.Topic: commits}})
	if err != nil {
		return err
	}
	var failed error
	refused := map[int]bool{}
	for _, p := range reply.Topics[f.config.Topic] {
		if p.Error != nil {
			refused[p.Partition] = true
			failed = errors.Join(failed, fmt.Errorf("commit of %s/%d: %w", f.config.Topic, p.Partition, p.Error))
		}
	}
	for _, c := range commits {
		if !refused[c.Partition] {
			all.offsets[c.Partition] = c.Offset
		}
	}
	if again && failed == nil {
		all.at = time.Now()
	}
	return failed
}
