package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
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
	// publishTimeout bounds one Publish.
	publishTimeout = 10 * time.Second
	// attempts at one request before Publish gives up: 50 ms, 100, 200, 400
	// between them outlast a leader that moves, or one that was elected a
	// moment ago and does not know it yet. A longer trouble is the caller's.
	attempts      = 5
	attemptsPause = 50 * time.Millisecond
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
}

// NewWriter makes a Writer. It connects when it is first used.
func NewWriter(config WriterConfig) *Writer {
	transport := newTransport(config.ClientID)
	return &Writer{
		client:    &kafka.Client{Addr: kafka.TCP(config.Brokers...), Transport: transport},
		transport: transport,
	}
}

// Close ends the connections. A Publish that runs meanwhile may fail.
func (w *Writer) Close() error {
	w.transport.CloseIdleConnections()
	return nil
}

// Publish writes the records, those with the same key to the same partition in
// their order, and returns nil when every one is acknowledged by all in-sync
// replicas. On an error some may be written: the caller publishes all of them
// again, under the same ids. It ends with ctx, or after 10 s without an answer.
func (w *Writer) Publish(ctx context.Context, records []events.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	requests, err := w.split(ctx, records)
	if err != nil {
		return err
	}
	// At most one goroutine per partition touched, and this call waits for all.
	errs := make([]error, len(requests))
	var wait sync.WaitGroup
	for i, batches := range requests {
		wait.Go(func() { errs[i] = w.produce(ctx, batches) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// produce sends the requests of one partition one after the other, so that
// their order stays.
func (w *Writer) produce(ctx context.Context, requests []request) error {
	for _, request := range requests {
		if err := w.attempt(ctx, request); err != nil {
			return away(fmt.Sprintf("publish to %s/%d", request.topic, request.id), err)
		}
	}
	return nil
}

func (w *Writer) attempt(ctx context.Context, request request) error {
	for i := 0; ; i++ {
		reply, err := w.client.Produce(ctx, &kafka.ProduceRequest{
			Topic: request.topic, Partition: request.id, RequiredAcks: kafka.RequireAll,
			// Made anew for each attempt: a kafka.Record is read once, and a
			// second attempt with the same one would write empty values.
			Records: kafka.NewRecordReader(toKafka(request.records)...),
		})
		if err == nil {
			err = reply.Error
		}
		if err == nil || final(err) || i+1 == attempts || !sleep(ctx, attemptsPause<<i) {
			return err
		}
	}
}

type partition struct {
	topic string
	id    int
}

type request struct {
	partition
	records []events.Record
}

// split sorts the records by partition and cuts each partition's into requests.
func (w *Writer) split(ctx context.Context, records []events.Record) ([][]request, error) {
	counts := map[string]int{}
	sorted := map[partition][]events.Record{}
	for _, record := range records {
		count, known := counts[record.Topic]
		if !known {
			var err error
			if count, err = w.partitions(ctx, record.Topic); err != nil {
				return nil, err
			}
			counts[record.Topic] = count
		}
		to := partition{record.Topic, partitionOf(record.Key, count)}
		sorted[to] = append(sorted[to], record)
	}
	requests := make([][]request, 0, len(sorted))
	for to, all := range sorted {
		var mine []request
		for _, batch := range cut(all) {
			mine = append(mine, request{to, batch})
		}
		requests = append(requests, mine)
	}
	return requests, nil
}

// partitions comes from the transport's cached metadata: no round trip.
func (w *Writer) partitions(ctx context.Context, topic string) (int, error) {
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

// partitionOf spreads keys by FNV-1a. Changing it would put two facts of one
// visitor in two partitions while versions are mixed.
func partitionOf(key []byte, count int) int {
	h := fnv.New32a()
	h.Write(key)
	return int(h.Sum32() % uint32(count))
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
