package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/kafkaio"
	"waitroom/internal/outage"
	"waitroom/internal/process"
)

const (
	// kafkaWait is how long a start waits for its Kafka before it sells without: one that
	// is well answers within it.
	kafkaWait = 2 * time.Second
	// kafkaTry bounds one try to find or make the topics; kafkaPause lies between two.
	kafkaTry   = 10 * time.Second
	kafkaPause = time.Second
	// kafkaEvery is how often a Kafka that was found is asked whether it is there:
	// a request in 5 s is no load, and an outage is told soon enough for a person.
	kafkaEvery = 5 * time.Second
	kafkaAsk   = 5 * time.Second
)

// broker is what a booker knows of its Kafka. It sells without.
type broker struct {
	servers servers
	log     *zap.Logger
	since   atomic.Int64  // Unix ms since when it has been away; 0: it is there
	found   chan struct{} // closed once it has the topics
}

func newBroker(s servers, log *zap.Logger, reg prometheus.Registerer) *broker {
	b := &broker{servers: s, log: log, found: make(chan struct{})}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "kafka_away_seconds",
		Help: "For how long Kafka has not answered or has lacked the topics; 0: it is there. Asked every 5 s."},
		func() float64 {
			if since := b.since.Load(); since != 0 {
				return time.Since(time.UnixMilli(since)).Seconds()
			}
			return 0
		}))
	return b
}

// look returns why Kafka is missing, where it is: it is joined later. What it refuses
// for good, such as more replicas than brokers, ends the start.
func (b *broker) look(ctx context.Context, start *process.Start) (missing, err error) {
	err = start.Await(fmt.Sprintf("kafka at %s, for %s", strings.Join(b.servers.Kafka, ","), kafkaWait), func() error {
		missing = b.prepare(ctx, kafkaWait)
		if missing != nil && !errors.Is(missing, kafkaio.ErrAway) {
			return fmt.Errorf("--kafka: %w", missing)
		}
		return ctx.Err()
	})
	return missing, err
}

// prepare makes the topics that are missing.
func (b *broker) prepare(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := kafkaio.EnsureTopics(ctx, b.servers.Kafka, b.servers.Replication, booking.Topics...); err != nil {
		return err
	}
	return kafkaio.EnsureCompacted(ctx, b.servers.Kafka, b.servers.Replication, booking.Compacted...)
}

// watch waits for Kafka, says what its topics lack, and then says when it is away,
// until ctx ends. missing is what the start found.
func (b *broker) watch(ctx context.Context, missing error) {
	away := outage.New(outage.Config{Log: b.log.With(zap.Strings("kafka", b.servers.Kafka)),
		Down: "kafka is away: seats are held and sold, facts wait in the database, finished visitors' slots come back at their passes' " +
			"deadlines; admissions are recorded when it comes, a pass alone is enough",
		Up: "kafka is there"})
	note := func(err error) {
		if err == nil {
			b.since.Store(0)
		} else {
			b.since.CompareAndSwap(0, time.Now().UnixMilli())
		}
		away.Note(ctx, err)
	}
	for note(missing); missing != nil; note(missing) {
		if !pause(ctx, kafkaPause) {
			return
		}
		missing = b.prepare(ctx, kafkaTry)
	}
	close(b.found)
	topics := append(append([]string{}, booking.Topics...), booking.Compacted...)
	for _, warning := range kafkaio.CheckTopics(ctx, b.servers.Kafka, b.servers.Replication, topics...) {
		b.log.Warn(warning)
	}
	for pause(ctx, kafkaEvery) {
		ask, cancel := context.WithTimeout(ctx, kafkaAsk)
		note(kafkaio.Ping(ask, b.servers.Kafka))
		cancel()
	}
}

// awaitFound returns once Kafka has the topics; false: ctx ended before.
func (b *broker) awaitFound(ctx context.Context) bool {
	select {
	case <-b.found:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits; false: ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
