package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
)

var errTooManyStuck = errors.New("too many partitions take no facts")

// step publishes one batch of the facts that wait for nothing, and of each mixed lane, and
// deletes it. A crash in between publishes it again. What Kafka does not take makes its
// partition stuck, which is no error of the step's.
func (o *Outbox) step(ctx context.Context) (n int, err error) {
	o.trySome(ctx)
	if len(o.stuck) > lanesMost {
		return 0, errTooManyStuck
	}
	n, err = o.take(ctx, noLane)
	for _, l := range o.stuck.mixed() {
		if err != nil {
			break
		}
		var more int
		more, err = o.take(ctx, l)
		n = max(n, more)
	}
	return n, err
}

// take publishes a batch of a lane and puts aside what waits for a partition.
func (o *Outbox) take(ctx context.Context, from lane) (n int, err error) {
	of := rows{lane: from.name()}
	if from == noLane {
		of.where = o.stuck.except(func(_ lane, l *stuckLane) bool { return l.past })
	}
	list, err := o.facts.read(ctx, batchRows, of)
	if err == nil && len(list) > 0 {
		err = o.adopt(ctx) // after the read: see the package's comment
	}
	if err != nil {
		return 0, err
	}
	var free []fact
	held := map[lane][]fact{}
	for _, f := range list {
		l := o.stuck.where(from, f)
		switch {
		case l == noLane:
			free = append(free, f)
		case from != noLane || !o.stuck[l].busy || len(list) == batchRows:
			held[l] = append(held[l], f)
			// Else the try under way may find its partition well, and all of it carried
			// when nothing comes behind its back. So few are in nobody's way meanwhile.
		}
	}
	left, err := o.publish(ctx, from, free)
	if err == nil && len(held) > 0 {
		var stay []fact
		if stay, err = o.facts.put(ctx, from, held); err == nil {
			for _, f := range stay {
				o.stuck[o.stuck.where(from, f)].past = true
			}
			left += len(stay)
		}
	}
	if from != noLane && err == nil && left == 0 && len(list) < batchRows {
		delete(o.stuck, from) // it is empty: nobody else here puts anything there
	}
	o.met.stuck.Set(float64(len(o.stuck)))
	o.noteWell(ctx)
	return len(list), err
}

// publish publishes facts of a lane, deletes them, and says how many Kafka has not. Their
// partitions are stuck.
func (o *Outbox) publish(ctx context.Context, from lane, list []fact) (left int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	missing, err := o.carry(ctx, o.facts, list)
	whole := slices.DeleteFunc(slices.Clone(missing), func(f fact) bool { return f.broken != nil })
	for _, l := range lanesOf(ctx, o.to, whole) {
		due := time.Now().Add(stuckFirst)
		o.stuck.add(l, due)
		if l.count <= from.count { // there is no lane further on: its topic did not grow after all
			o.stuck[from].mixed, o.stuck[from].due = false, due
		}
	}
	o.noted(ctx, len(list)-len(missing), err)
	return len(missing), deletingOf(err)
}

// adopt takes over the lanes that rows wait in, whoever put them there. Lanes that are
// more than lanesMost are not asked for to the end.
func (o *Outbox) adopt(ctx context.Context) error {
	for len(o.stuck) <= lanesMost {
		list, err := o.facts.lanes(ctx, o.stuck.names())
		if err != nil || len(list) == 0 {
			return err
		}
		for _, l := range list {
			o.stuck.add(l, time.Now())
		}
	}
	return errTooManyStuck
}

// trySome starts tries of lanes that are due. Each ends within seconds or with ctx, and
// Run waits for them.
func (o *Outbox) trySome(ctx context.Context) {
	for len(o.tried) > 0 { // Run's goroutine alone takes them
		o.settle(ctx, <-o.tried)
	}
	for _, l := range o.stuck.due(time.Now()) {
		if o.trying >= triesMost {
			return
		}
		o.trying++
		state := o.stuck[l]
		state.busy = true
		a := o.stuck.attempt(l)
		o.tries.Go(func() {
			t := o.try(ctx, a)
			t.attempt, t.state = a, state
			o.tried <- t // has room: trying is no more than it holds
		})
	}
}

func (o *Outbox) settle(ctx context.Context, t tried) {
	o.trying--
	if o.stuck[t.lane] != t.state {
		return // this process carried no more since: it is another's to tell how it goes
	}
	o.stuck.settle(t, time.Now())
	o.noted(ctx, t.acked, t.err)
	o.told.tries.Note(ctx, o.stuck.trouble())
}

// noted keeps how it goes with Kafka: for the log, and for the lease.
func (o *Outbox) noted(ctx context.Context, acked int, err error) {
	if acked > 0 {
		o.failed, o.polite = time.Time{}, 0
	}
	var part *carryError
	if errors.As(err, &part) && part.publishing != nil {
		o.met.unpublished.Inc()
		o.told.kafka.Note(ctx, part.publishing)
		if acked == 0 && o.failed.IsZero() {
			o.failed = time.Now()
		}
	}
	o.met.stuck.Set(float64(len(o.stuck)))
	o.noteWell(ctx)
}

func (o *Outbox) noteWell(ctx context.Context) {
	if len(o.stuck) == 0 {
		o.told.kafka.Note(ctx, nil)
	}
}

// carryError is why a batch was not carried whole: Kafka's reason, the database's.
type carryError struct{ publishing, deleting error }

func (e *carryError) Error() string {
	return fmt.Sprint(errors.Join(e.publishing, e.deleting))
}

func (e *carryError) Unwrap() []error { return []error{e.publishing, e.deleting} }

// deletingOf is the database's part of an error of carry.
func deletingOf(err error) error {
	var part *carryError
	if errors.As(err, &part) {
		return part.deleting
	}
	return err
}

// carry publishes facts and deletes those that Kafka has. It returns those that it has
// not. What can't be read goes to the dead letters.
func (o *Outbox) carry(ctx context.Context, t *table, list []fact) (left []fact, err error) {
	records := make([]events.Record, len(list))
	for i, f := range list {
		records[i] = f.record
	}
	publishing := o.to.Publish(ctx, records)
	missing := map[int]bool{}
	for _, i := range events.Missing(publishing, len(records)) {
		missing[i] = true
	}
	var ids []int64
	for i, f := range list {
		switch {
		case !missing[i]:
			ids = append(ids, f.id)
			if f.broken != nil {
				o.met.unreadable.Inc()
				o.log.Error("a fact cannot be read and was set aside", zap.String("topic", f.record.Topic), zap.Error(f.broken))
			}
			continue
		case f.broken != nil:
			t.putOff(f.id)
		}
		left = append(left, f)
	}
	var deleting error
	if len(ids) > 0 {
		o.met.published.Add(float64(len(ids)))
		deleting = t.remove(ctx, ids)
	}
	if publishing == nil && deleting == nil {
		return nil, nil
	}
	return left, &carryError{publishing, deleting}
}
