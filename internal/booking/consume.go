package booking

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"waitroom/internal/events"
)

// Group is the consumer group of all bookers.
const Group = "waitroom.booker"

// Topics are those a booker reads or writes; it makes those that are missing.
// Compacted are those that keep the last record of each key.
var (
	Topics    = []string{events.TopicAdmitted, events.DLQ(events.TopicAdmitted), events.TopicBookings, events.DLQ(events.TopicRooms)}
	Compacted = []string{events.TopicRooms}
)

// Reads are the topics whose records Consume takes.
var Reads = []string{events.TopicAdmitted, events.TopicRooms}

// Consume records admissions, and what each room's sale is for, from Kafka. The caller commits the offset after nil.
// What can't be understood goes to the dead-letter topic, so that it doesn't
// stand in the way; every other error means "later", with the offset unmoved.
func (b *Booker) Consume(ctx context.Context, records []events.Record) error {
	var (
		admitted []events.Admitted
		dead     []events.Record
	)
	for _, r := range records {
		if r.Topic == events.TopicRooms {
			err := b.describe(ctx, r)
			if errors.Is(err, events.ErrInvalid) {
				dead = append(dead, events.DeadLetter(r, err))
			} else if err != nil {
				return err
			}
			continue
		}
		a, err := events.DecodeAdmitted(r.Headers, r.Value)
		if errors.Is(err, events.ErrInvalid) {
			dead = append(dead, events.DeadLetter(r, err))
			continue
		}
		if err != nil {
			return err
		}
		admitted = append(admitted, a)
	}
	if len(dead) > 0 {
		if err := b.publish.Publish(ctx, dead); err != nil {
			return err
		}
		b.met.dead.Add(float64(len(dead)))
		b.log.Warn("messages that cannot be understood were set aside",
			zap.String("topic", dead[0].Topic), zap.Int("count", len(dead)), zap.String("first", dead[0].Headers["dlq_error"]))
	}
	if err := b.store.Admit(ctx, admitted, b.clock.at()); err != nil {
		return err
	}
	for _, a := range admitted {
		b.met.admissions.WithLabelValues(string(a.Room)).Inc()
	}
	return nil
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
