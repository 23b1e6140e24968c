package admission

import (
	"context"
	"sync"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

const (
	// publishes is how many calls of the publisher the relays of a process have under
	// way at once. One call may wait 2 s for a partition that has no leader; what
	// comes meanwhile goes with the next one. More add connections and no speed.
	publishes = 4
	// publishMost is how many records one call takes before it takes no further
	// delivery: some 5 MB.
	publishMost = 10_000
	// deliveriesMost is how many deliveries a relay has under way: the records it has
	// just read, those it reads meanwhile, and those that are tried again.
	deliveriesMost = 3
)

// publisher writes to Kafka and returns when all that can be is acknowledged by all
// in-sync replicas. Its error says what of it is not: events.Missing. Safe for
// concurrent use.
type publisher interface {
	Publish(context.Context, []events.Record) error
}

// delivery is what one relay wants to have published.
type delivery struct {
	records []events.Record
	of      []*pending // whose each record is
	again   bool       // they were tried before
	began   time.Time

	failed []int // indexes of what Kafka has not acknowledged
	err    error // why
	answer chan<- *delivery
}

// batcher publishes for the relays of all rooms: what they bring while its calls
// are under way goes together with the next call.
type batcher struct {
	publisher publisher
	queue     chan *delivery
}

func newBatcher(publisher publisher) *batcher {
	return &batcher{publisher: publisher, queue: make(chan *delivery, deliveriesMost*room.MaxRooms)}
}

// publish takes a delivery and answers on its channel, which must have room for it.
// It waits for nothing: the queue holds what all relays may have under way.
func (b *batcher) publish(d *delivery) { b.queue <- d }

// run publishes until ctx ends, which cuts calls short.
func (b *batcher) run(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for range publishes {
		calls.Go(func() { b.work(ctx) })
	}
}

func (b *batcher) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-b.queue:
			b.call(ctx, b.gather(first))
		}
	}
}

// gather takes what waits beside the first delivery.
func (b *batcher) gather(first *delivery) []*delivery {
	batch, count := []*delivery{first}, len(first.records)
	for count < publishMost {
		select {
		case d := <-b.queue:
			batch, count = append(batch, d), count+len(d.records)
		default:
			return batch
		}
	}
	return batch
}

func (b *batcher) call(ctx context.Context, batch []*delivery) {
	records := batch[0].records
	if len(batch) > 1 {
		records = nil
		for _, d := range batch {
			records = append(records, d.records...)
		}
	}
	err := b.publisher.Publish(ctx, records)
	failed := events.Missing(err, len(records))
	from := 0
	for _, d := range batch {
		for len(failed) > 0 && failed[0] < from+len(d.records) {
			d.failed = append(d.failed, failed[0]-from)
			failed = failed[1:]
		}
		if len(d.failed) > 0 {
			d.err = err
		}
		from += len(d.records)
		d.answer <- d
	}
}
