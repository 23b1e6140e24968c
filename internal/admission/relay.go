package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// relayBatch is how many admissions one publish carries at most.
	relayBatch = 500
	// stopGrace is what a stop leaves the relay to finish what it holds. What
	// does not get through stays in the outbox, for another replica at once
	// or for whoever comes after 30 s.
	stopGrace  = 3 * time.Second
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// outbox is what the relay needs of the line. ReadOutbox hands every entry to
// one reader; an entry whose reader never said Relayed is handed out again
// after 30 s. Both are safe to repeat.
type outbox interface {
	ReadOutbox(ctx context.Context, name room.Name, most int) ([]room.Entry, error)
	Relayed(ctx context.Context, name room.Name, caller room.Caller, entries []room.Entry) error
}

// publisher writes to Kafka and returns when all is acknowledged by all in-sync
// replicas. After an error any part may have been written.
type publisher interface {
	Publish(context.Context, []events.Record) error
}

// relay brings one room's admissions from the outbox to Kafka: read, publish,
// relayed, one batch at a time, beside the rounds so that a slow Kafka delays
// none. An entry leaves the outbox only after Kafka has it, so a crash at any
// step repeats an admission under its id and loses none. Owned by one
// goroutine.
type relay struct {
	name      room.Name
	line      outbox
	publisher publisher
	wake      <-chan struct{}
	metrics   *metrics
	outage    *outage.Log
}

func newRelay(name room.Name, line outbox, publisher publisher, wake <-chan struct{}, log *zap.Logger, m *metrics) *relay {
	return &relay{name: name, line: line, publisher: publisher, wake: wake, metrics: m, outage: outage.New(outage.Config{
		Log: log, Down: "relay: admissions wait in the outbox, trying again without bound", Up: "relay: works again"})}
}

// run works whenever it is woken, until wake is closed. A closed wake still
// holds the last round's nudge, so a stop leaves nothing that was admitted; for
// that, calls outlast ctx by stopGrace.
func (r *relay) run(ctx context.Context) {
	ctx, cancel := outlast(ctx, stopGrace)
	defer cancel()
	for range r.wake {
		r.empty(ctx)
	}
}

// empty moves batches until the outbox has no full one left. Entries that come
// meanwhile have a wake of their own.
func (r *relay) empty(ctx context.Context) {
	for ctx.Err() == nil {
		batch, err := r.line.ReadOutbox(ctx, r.name, relayBatch)
		if err != nil {
			// The next wake tries again: every round nudges while the outbox
			// has something.
			if !errors.Is(err, room.ErrUnknown) {
				r.failed(ctx, "read the outbox", err)
			}
			return
		}
		if len(batch) == 0 {
			r.outage.Note(ctx, nil) // else an outbox that is empty now would be in trouble for ever
			return
		}
		if !r.move(ctx, batch) {
			return
		}
	}
}

// move publishes one batch and takes it out of the outbox; false when it gave
// the batch up, which then comes again.
func (r *relay) move(ctx context.Context, batch []room.Entry) bool {
	var records []events.Record
	// The entries themselves say which line they belong to, and how far it was.
	var caller room.Caller
	for _, entry := range batch {
		for _, admitted := range entry.Admitted {
			records = append(records, events.EncodeAdmitted(r.name, admitted))
			caller.Epoch, caller.Mark = admitted.Epoch, max(caller.Mark, admitted.Number)
		}
	}
	if !r.publish(ctx, records) {
		return false
	}
	now := time.Now()
	acked := r.metrics.acked.WithLabelValues(string(r.name))
	for _, entry := range batch {
		for _, admitted := range entry.Admitted {
			acked.Observe(max(0, now.Sub(admitted.At).Seconds()))
		}
	}
	r.metrics.published.WithLabelValues(string(r.name)).Add(float64(len(records)))
	return r.relayed(ctx, caller, batch)
}

// publish tries without bound until ctx ends: while Kafka is away the batch
// waits here and the outbox grows until the line stops admitting.
func (r *relay) publish(ctx context.Context, records []events.Record) bool {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		started := time.Now()
		err := r.publisher.Publish(ctx, records)
		if err == nil {
			r.metrics.publish.WithLabelValues(string(r.name)).Observe(time.Since(started).Seconds())
			r.outage.Note(ctx, nil)
			return true
		}
		r.failed(ctx, "publish", err)
		if !sleep(ctx, pause) {
			return false
		}
	}
}

// relayed tries until the line has heard, since an entry published but not
// acknowledged would be published again. A line that was deleted, or is another
// one now, has no such entries.
func (r *relay) relayed(ctx context.Context, caller room.Caller, entries []room.Entry) bool {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		err := r.line.Relayed(ctx, r.name, caller, entries)
		switch {
		case err == nil:
			r.outage.Note(ctx, nil)
			return true
		case errors.Is(err, room.ErrEpoch), errors.Is(err, room.ErrUnknown), errors.Is(err, room.ErrRecovering):
			r.failed(ctx, "acknowledge", err)
			return false
		}
		r.failed(ctx, "acknowledge", err)
		if !sleep(ctx, pause) {
			return false
		}
	}
}

// failed notes a step that did not work, under its name: each is a cause of its own.
func (r *relay) failed(ctx context.Context, what string, err error) {
	r.outage.Note(ctx, fmt.Errorf("%s: %w", what, err))
}

// outlast is ctx for d longer: work in progress may end well. Its goroutine, if
// any, ends with cancel.
func outlast(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if sleep(out, d) {
			cancel()
		}
	})
	return out, func() { stop(); cancel() }
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
