package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/room"
)

// acker acknowledges what it is given, after next did, and counts the admissions.
type acker struct {
	next publisher // nil: nobody
	all  atomic.Int64
}

func (c *acker) Publish(ctx context.Context, records []events.Record) error {
	if len(records) > 0 && records[0].Topic == events.TopicRooms {
		return nil // what the bench's room is for is nobody's to read
	}
	if c.next != nil {
		for i := range records {
			records[i].Topic = benchTopic
		}
		if err := c.next.Publish(ctx, records); err != nil {
			return err
		}
	}
	c.all.Add(int64(len(records)))
	return nil
}

// measureRelayed: admissions per second with the relay on, from the opening to the last
// one published: by one admitter whose publisher acknowledges at once, and by one that
// publishes to Kafka.
func measureRelayed(ctx context.Context, b *bench) error {
	if err := relayed(ctx, b, Figure{Name: "admissions, relay on, its publisher acknowledges at once", Aim: "≥ 100,000/s", Unit: "/s", Met: atLeast(100_000)}, nil); err != nil {
		return err
	}
	if b.kafka == "" {
		return errors.New("WAITROOM_TEST_KAFKA is not set")
	}
	brokers := strings.Split(b.kafka, ",")
	if err := kafkaio.EnsureTopics(ctx, brokers, 1, benchTopic); err != nil {
		return err
	}
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: brokers, ClientID: "bench"})
	defer writer.Close()
	return relayed(ctx, b, Figure{Name: "admissions, relay on, published to Kafka with acks=all", Aim: "report", Unit: "/s"}, writer)
}

func relayed(ctx context.Context, b *bench, f Figure, next publisher) error {
	n := b.scale(500_000)
	for range b.runs() {
		took, err := relayedOnce(ctx, b, n, next)
		if err != nil {
			return err
		}
		f.Runs = append(f.Runs, float64(n)/took.Seconds())
	}
	f.Note = fmt.Sprintf("%s visitors waiting, one admitter with its rounds and its relay, on the cores of Redis", number(float64(n)))
	b.report(f)
	return nil
}

func relayedOnce(ctx context.Context, b *bench, n int, next publisher) (took time.Duration, err error) {
	g, err := open(ctx, b, func(c *room.Conf) { c.State = room.Paused })
	if err != nil {
		return 0, err
	}
	defer g.close()
	if err := g.join(ctx, crowd(n), joinBatch); err != nil {
		return 0, err
	}
	c := &acker{next: next}
	return took, serveRooms(ctx, b, 1, []string{string(g.name)}, c, func() error {
		if err := pause(ctx, 2*time.Second); err != nil { // it begins
			return err
		}
		began, state := time.Now(), room.Open
		if _, err := g.lines.Set(ctx, g.name, room.Change{Actor: "bench", State: &state}); err != nil {
			return err
		}
		for time.Since(began) < time.Minute {
			if c.all.Load() >= int64(n) {
				took = time.Since(began)
				return nil
			}
			if err := pause(ctx, 2*time.Millisecond); err != nil {
				return err
			}
		}
		return fmt.Errorf("%d of %d published within a minute", c.all.Load(), n)
	})
}
