package admission

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// slots is what booking facts need of the line. Both are idempotent.
type slots interface {
	Finish(ctx context.Context, name room.Name, caller room.Caller, place room.Place) (freed bool, err error)
	SoldOut(context.Context, room.Name, room.Epoch, int64) error
}

// Facts applies booking facts of any room to the line: finished gives the slot
// back, sold_out marks the room. It is safe for concurrent use and for repeats.
//
// Its error means "not now", and all of records shall come again: the line or
// Kafka is away. What can never succeed is no error: a fact of another epoch or
// of a room that is gone is counted and passed over, and a record that can't be
// read goes to the dead letter topic.
func (s *Service) Facts(ctx context.Context, records []events.Record) error {
	var dead []events.Record
	for _, record := range records {
		fact, err := events.DecodeBooking(record.Headers, record.Value)
		if err != nil {
			s.log.Error("booking record can't be read, it goes to the dead letter topic",
				zap.String("topic", record.Topic), zap.Int("partition", record.Partition),
				zap.Int64("offset", record.Offset), zap.Error(err))
			dead = append(dead, events.DeadLetter(record, err))
			continue
		}
		if err := s.apply(ctx, fact); err != nil {
			return err
		}
	}
	// Last, so that a line that is away does not repeat dead letters.
	if len(dead) > 0 {
		if err := s.publisher.Publish(ctx, dead); err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
		s.metrics.dead.Add(float64(len(dead)))
	}
	return nil
}

func (s *Service) apply(ctx context.Context, fact events.Booking) error {
	var err error
	did := ""
	switch fact.Type {
	case events.TypeFinished:
		admission, _ := room.ParseAdmission(fact.Admission) // DecodeBooking has checked it
		caller := room.Caller{Epoch: fact.Epoch}
		var freed bool
		freed, err = s.line.Finish(ctx, fact.Room, caller, room.Place{Visitor: admission.Visitor, Number: admission.Number})
		if did = "finished"; !freed {
			did = "finished_before" // or lapsed: the slot is free already
		}
	case events.TypeSoldOut:
		err = s.line.SoldOut(ctx, fact.Room, fact.Epoch, fact.StockRev)
		did = "sold_out"
		if err == nil {
			s.log.Info("room is sold out", zap.String("room", string(fact.Room)))
		}
	default:
		return nil // held, confirmed, released, expired: the shop's own affair
	}
	switch {
	case err == nil:
	case errors.Is(err, room.ErrEpoch), errors.Is(err, room.ErrUnknown):
		did = "ignored"
	case errors.Is(err, room.ErrRecovering):
		// Waiting here would hold up the facts of every other room. The slot
		// comes back at the pass's deadline at the latest.
		did = "recovering"
		s.passed.Note(ctx, fmt.Errorf("%s in room %s: %w", fact.Type, fact.Room, err))
	default:
		return fmt.Errorf("%s in room %s: %w", fact.Type, fact.Room, err)
	}
	s.metrics.facts.WithLabelValues(s.known(fact.Room), did).Inc()
	return nil
}
