package booking

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
)

// Group is the consumer group of all bookers.
const Group = "waitroom.booker"

// Topics are those a booker reads or writes; it makes those that are missing.
// Compacted are those that keep the last record of each key.
var (
	Topics    = []string{events.TopicAdmitted, events.DLQ(events.TopicAdmitted), events.TopicBookings, events.DLQ(events.TopicBookings), events.DLQ(events.TopicRooms)}
	Compacted = []string{events.TopicRooms}
)

// Reads are the topics whose records Consume takes.
var Reads = []string{events.TopicAdmitted, events.TopicRooms}

// Bounds of keeping what sales are for.
const (
	describeLimit = 3 * time.Second // one row, whose lock somebody may have taken with him
	describeMost  = 2               // failures in one batch; then its other rooms wait too
)

// Consume records admissions, and what each room's sale is for, from Kafka. What
// can't be understood goes to the dead-letter topic, so that it doesn't stand in the
// way. Its error is an *events.Undone, which names the records that are to come
// again; the others are done, dead letters too, and need not.
func (b *Booker) Consume(ctx context.Context, records []events.Record) error {
	o := outcome{booker: b, records: records, waits: map[string]bool{}}
	for i, r := range records {
		if r.Topic == events.TopicRooms {
			o.describe(ctx, i)
		} else {
			o.decode(i)
		}
	}
	o.record(ctx)
	o.bury(ctx)
	if len(o.left) == 0 {
		return nil
	}
	slices.Sort(o.left)
	return &events.Undone{At: o.left, Err: o.reason}
}

// outcome is what becomes of the records of one batch.
type outcome struct {
	booker  *Booker
	records []events.Record

	admitted []events.Admitted
	at       []int // where each of admitted stands
	dead     []int // what can't be understood
	why      []error

	left   []int // to come again
	reason error
	waits  map[string]bool // rooms that have a record in left: those behind it wait too
	failed int             // rooms that could not be described
}

func (o *outcome) later(i int, err error) { o.left, o.reason = append(o.left, i), err }

func (o *outcome) never(i int, err error) { o.dead, o.why = append(o.dead, i), append(o.why, err) }

// describe keeps one record of the rooms' topic. Those of one room are kept in order:
// a tombstone is not to come before what it ends.
func (o *outcome) describe(ctx context.Context, i int) {
	r := o.records[i]
	if o.waits[string(r.Key)] || o.failed >= describeMost {
		o.waits[string(r.Key)] = true
		o.later(i, o.reason)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, describeLimit)
	defer cancel()
	err := o.booker.describe(ctx, r)
	switch {
	case errors.Is(err, events.ErrInvalid):
		o.never(i, err)
	case err != nil:
		o.failed++
		o.waits[string(r.Key)] = true
		o.later(i, err)
	}
}

func (o *outcome) decode(i int) {
	a, err := events.DecodeAdmitted(o.records[i].Headers, o.records[i].Value)
	if err != nil { // an ErrInvalid, always
		o.never(i, err)
		return
	}
	o.admitted, o.at = append(o.admitted, a), append(o.at, i)
}

// record writes the admissions.
func (o *outcome) record(ctx context.Context) {
	err := o.booker.store.Admit(ctx, o.admitted, o.booker.clock.at())
	left := map[int]bool{}
	for _, i := range events.Left(err, len(o.admitted)) {
		left[i] = true
		o.later(o.at[i], err)
	}
	for i, a := range o.admitted {
		if !left[i] {
			o.booker.met.admissions.WithLabelValues(string(a.Room)).Inc()
		}
	}
}

// bury publishes dead letters. One that is published is done, whatever becomes of the
// others of its batch.
func (o *outcome) bury(ctx context.Context) {
	if len(o.dead) == 0 {
		return
	}
	letters := make([]events.Record, len(o.dead))
	for i, at := range o.dead {
		letters[i] = events.DeadLetter(o.records[at], o.why[i])
	}
	err := o.booker.publish.Publish(ctx, letters)
	missing := events.Missing(err, len(letters))
	for _, i := range missing {
		o.later(o.dead[i], err)
	}
	if buried := len(letters) - len(missing); buried > 0 {
		o.booker.met.dead.Add(float64(buried))
		o.booker.log.Warn("messages that cannot be understood were set aside",
			zap.String("topic", letters[0].Topic), zap.Int("count", buried), zap.String("first", o.why[0].Error()))
	}
}

// describe keeps one record of the rooms' topic.
func (b *Booker) describe(ctx context.Context, r events.Record) error {
	d, deleted, err := events.DecodeDescribed(r)
	switch {
	case err != nil:
		return err
	case deleted:
		return b.store.Gone(ctx, d.Room, b.clock.at())
	}
	return b.store.Describe(ctx, d)
}
