package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"waitroom/internal/events"
)

// Bounds of one produce request: well below the broker's default limit of
// 1 MiB for a batch. A single record above maxBytes goes alone and is the
// broker's to refuse.
const (
	maxRecords = 500
	maxBytes   = 512 << 10
)

const (
	// publishLimit bounds one Publish: what a partition without a leader, or whose
	// broker does not answer, costs the caller. A broker that is well takes some
	// milliseconds; whoever needs longer is asked again by the caller, with what is
	// missing.
	publishLimit = 2 * time.Second
	// attempts at one request before Publish gives up: 50 ms, 100, 200, 400, 800
	// between them outlast a leader that was elected a moment ago and does not
	// know it yet. A longer trouble is the caller's.
	attempts      = 6
	attemptsPause = 50 * time.Millisecond
	// perPartition is how many requests of one partition are under way at once, and
	// with it how many connections there are: a request has one for itself. Two, so
	// that one is written while the other is acknowledged. The next wait.
	perPartition = 2
)

// WriterConfig names the brokers. ClientID stands in the brokers' logs.
type WriterConfig struct {
	Brokers  []string
	ClientID string
}

// Writer publishes with acks=all. It is safe for concurrent use, and it has no
// queue and no goroutine that outlives a call: callers come with batches, so
// kafka-go's batching writer would only add its linger to each, and keep
// records whose caller has given up.
type Writer struct {
	client    *kafka.Client
	transport *kafka.Transport

	mu    sync.Mutex
	turns map[partition]chan struct{} // perPartition each, one per partition ever written to; guarded by mu
}

// NewWriter makes a Writer. It connects when it is first used.
func NewWriter(config WriterConfig) *Writer {
	transport := newTransport(config.ClientID)
	return &Writer{
		client:    &kafka.Client{Addr: kafka.TCP(config.Brokers...), Transport: transport},
		transport: transport, turns: map[partition]chan struct{}{},
	}
}

// Close ends the connections. A Publish that runs meanwhile may fail.
func (w *Writer) Close() error {
	w.transport.CloseIdleConnections()
	return nil
}

// Publish writes the records, those with the same key to the same partition in
// their order, and returns nil when every one is acknowledged by all in-sync
// replicas. Otherwise its error is an *events.Unpublished: the caller publishes
// what it names again, under the same ids, since any of that may be written too.
// Partitions are apart: one that has no leader takes none of the others' records
// with it, only what lies behind in itself. It ends with ctx, or after 2 s.
func (w *Writer) Publish(ctx context.Context, records []events.Record) error {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	shares, missing, err := w.split(ctx, records)
	// At most one goroutine per partition touched, and this call waits for all.
	errs := make([]error, len(shares))
	var wait sync.WaitGroup
	for i, share := range shares {
		wait.Go(func() { errs[i] = w.produce(ctx, share) })
	}
	wait.Wait()
	if err = errors.Join(err, errors.Join(errs...)); err == nil {
		return nil
	}
	for _, share := range shares {
		missing = append(missing, share.at...)
	}
	slices.Sort(missing)
	return &events.Unpublished{Failed: missing, Err: err}
}

// share is the part of a Publish that goes to one partition.
type share struct {
	partition
	records []events.Record
	at      []int // where each stood in the call; those acknowledged are cut off
}

// produce sends the requests of one partition one after the other, so that
// their order stays, and stops at the first that fails.
func (w *Writer) produce(ctx context.Context, s *share) error {
	for _, batch := range cut(s.records) {
		if err := w.attempt(ctx, s.partition, batch); err != nil {
			return away(fmt.Sprintf("publish to %s/%d", s.topic, s.id), err)
		}
		s.at = s.at[len(batch):]
	}
	return nil
}

func (w *Writer) attempt(ctx context.Context, to partition, batch []events.Record) error {
	for i := 0; ; i++ {
		err := w.once(ctx, to, batch)
		if err == nil || final(err) || i+1 == attempts || !sleep(ctx, attemptsPause<<i) {
			return err
		}
	}
}

// once makes one request when it is its turn.
func (w *Writer) once(ctx context.Context, to partition, batch []events.Record) error {
	turn := w.turn(to)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for other requests: %w", ctx.Err())
	}
	reply, err := w.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: to.topic, Partition: to.id, RequiredAcks: kafka.RequireAll,
		// Made anew for each attempt: a kafka.Record is read once, and a
		// second attempt with the same one would write empty values.
		Records: kafka.NewRecordReader(toKafka(batch)...),
	})
	if err != nil {
		return err
	}
	return reply.Error
}

func (w *Writer) turn(of partition) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	turn, ok := w.turns[of]
	if !ok {
		turn = make(chan struct{}, perPartition)
		w.turns[of] = turn
	}
	return turn
}

type partition struct {
	topic string
	id    int
}

// split sorts the records by partition. Those of a topic whose partitions are
// not known are missing, for the reason of err.
func (w *Writer) split(ctx context.Context, records []events.Record) (shares []*share, missing []int, err error) {
	type known struct {
		count int
		err   error
	}
	topics := map[string]known{}
	sorted := map[partition]*share{}
	for i, record := range records {
		topic, asked := topics[record.Topic]
		if !asked {
			topic.count, topic.err = w.Partitions(ctx, record.Topic)
			topics[record.Topic] = topic
			err = errors.Join(err, topic.err)
		}
		if topic.err != nil {
			missing = append(missing, i)
			continue
		}
		to := partition{record.Topic, int(events.Spread(record.Key) % uint32(topic.count))}
		if sorted[to] == nil {
			sorted[to] = &share{partition: to}
			shares = append(shares, sorted[to])
		}
		sorted[to].records = append(sorted[to].records, record)
		sorted[to].at = append(sorted[to].at, i)
	}
	return shares, missing, err
}

// Partitions is how many a topic has, out of the transport's cached metadata: no round
// trip. A key's is the rest of events.Spread by it.
func (w *Writer) Partitions(ctx context.Context, topic string) (int, error) {
	reply, err := w.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, away("metadata of "+topic, err)
	}
	for _, t := range reply.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return 0, away("metadata of "+topic, t.Error)
		}
		if len(t.Partitions) > 0 {
			return len(t.Partitions), nil
		}
	}
	return 0, away("metadata of "+topic, kafka.UnknownTopicOrPartition)
}

func cut(records []events.Record) [][]events.Record {
	var batches [][]events.Record
	start, bytes := 0, 0
	for i, record := range records {
		size := 70 + len(record.Key) + len(record.Value) // 70 for a record's own fields, rounded up
		for key, value := range record.Headers {
			size += len(key) + len(value) + 4
		}
		if i > start && (i-start == maxRecords || bytes+size > maxBytes) {
			batches = append(batches, records[start:i])
			start, bytes = i, 0
		}
		bytes += size
	}
	return append(batches, records[start:])
}

func toKafka(records []events.Record) []kafka.Record {
	now := time.Now()
	out := make([]kafka.Record, len(records))
	for i, record := range records {
		headers := make([]kafka.Header, 0, len(record.Headers))
		for key, value := range record.Headers {
			headers = append(headers, kafka.Header{Key: key, Value: []byte(value)})
		}
		out[i] = kafka.Record{
			Time: now, Key: kafka.NewBytes(record.Key), Value: kafka.NewBytes(record.Value), Headers: headers,
		}
	}
	return out
}

// away translates an error of the client: everything but a refusal for good is
// ErrAway.
func away(what string, err error) error {
	if final(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrAway, err)
}
