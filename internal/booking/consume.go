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
var Topics = []string{events.TopicAdmitted, events.DLQ(events.TopicAdmitted), events.TopicBookings}

// Consume records admissions from Kafka. The caller commits the offset after nil.
// What can't be understood goes to the dead-letter topic, so that it doesn't
// stand in the way; every other error means "later", with the offset unmoved.
func (b *Booker) Consume(ctx context.Context, records []events.Record) error {
	var (
		admitted []events.Admitted
		dead     []events.Record
	)
	for _, r := range records {
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
	if err := b.store.Admit(ctx, admitted, b.clock.now()); err != nil {
		return err
	}
	for _, a := range admitted {
		b.met.admissions.WithLabelValues(string(a.Room)).Inc()
	}
	return nil
}
