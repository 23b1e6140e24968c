package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"waitroom/internal/events"
)

const (
	fetchWait  = 500 * time.Millisecond // of a broker that has nothing new
	fetchBytes = 1 << 20                // of one answer; a record that is larger comes alone
	// fetchLimit is how long an answer may take on top of that: a broker that hangs
	// is asked again on another connection.
	fetchLimit = 3 * time.Second
)

// source reads one partition. kafka-go's Reader is not used: its end waits for
// what it has asked a broker, up to 10 s from one that hangs, and a rebalance
// waits for its end.
type source struct {
	client    *kafka.Client
	topic     string
	partition int
	log       *zap.Logger
}

// fetch returns records from offset on and the offset behind them; none after
// wait, and at once when ctx ends. An offset that does not exist begins anew at
// the first that does: the topic was made again, its retention has passed, or a
// leader was lost with its last records. Whoever handles them absorbs repeats.
func (s *source) fetch(ctx context.Context, offset int64, wait time.Duration) ([]events.Record, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+fetchLimit)
	defer cancel()
	if offset < 0 {
		first, err := s.first(ctx)
		if err != nil {
			return nil, offset, err
		}
		offset = first
	}
	reply, err := s.client.Fetch(ctx, &kafka.FetchRequest{
		Topic: s.topic, Partition: s.partition, Offset: offset,
		MinBytes: 1, MaxBytes: fetchBytes, MaxWait: max(wait, time.Millisecond),
	})
	if err != nil {
		return nil, offset, err
	}
	if errors.Is(reply.Error, kafka.OffsetOutOfRange) {
		first, err := s.first(ctx)
		if err != nil {
			return nil, offset, err
		}
		s.log.Warn("an offset does not exist, reading from the first that does",
			zap.Int64("offset", offset), zap.Int64("first", first))
		return nil, first, nil
	}
	if reply.Error != nil {
		return nil, offset, reply.Error
	}
	var records []events.Record
	next := offset
	for {
		record, err := reply.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return records, next, nil
		}
		if err != nil {
			if len(records) > 0 {
				return records, next, nil // what is whole; the rest comes again
			}
			return nil, offset, err
		}
		if record.Offset < offset { // a batch comes whole, also what lies before
			continue
		}
		read, err := s.read(record)
		if err != nil {
			return nil, offset, err
		}
		records, next = append(records, read), record.Offset+1
	}
}

func (s *source) read(record *kafka.Record) (events.Record, error) {
	r := events.Record{Topic: s.topic, Partition: s.partition, Offset: record.Offset,
		Headers: make(map[string]string, len(record.Headers))}
	for _, header := range record.Headers {
		r.Headers[header.Key] = string(header.Value)
	}
	var err error
	if record.Key != nil {
		if r.Key, err = kafka.ReadAll(record.Key); err != nil {
			return r, err
		}
	}
	if record.Value != nil {
		r.Value, err = kafka.ReadAll(record.Value)
	}
	return r, err
}

// first is the first offset that exists.
func (s *source) first(ctx context.Context) (int64, error) {
	reply, err := s.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{s.topic: {kafka.FirstOffsetOf(s.partition)}}})
	if err != nil {
		return 0, err
	}
	for _, p := range reply.Topics[s.topic] {
		if p.Partition == s.partition {
			return p.FirstOffset, p.Error
		}
	}
	return 0, fmt.Errorf("first offset of %s/%d: %w", s.topic, s.partition, kafka.UnknownTopicOrPartition)
}
