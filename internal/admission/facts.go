package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// slots is what booking facts need of the line. All of it is idempotent.
type slots interface {
	// Shards groups rooms by the server that holds them.
	Shards(ctx context.Context, names []room.Name) [][]room.Name
	FinishAll(ctx context.Context, name room.Name, caller room.Caller, places []room.Place) (freed int, err error)
	Stock(context.Context, room.Name, room.Epoch, room.Stock) (newer bool, err error)
}

// Facts applies booking facts of any room to the line: finished gives the slot
// back, stock and sold_out say whether the room is sold out. It is safe for concurrent use and for repeats,
// and every admitter of a fleet may apply all of them.
//
// Its verdicts, one per record: later is a fact of a room that is recovering, of one
// that Redis does not know though nobody has ended it, and every one while the line
// is out of reach. Never is a record that can't be read.
// All else is done: a fact of another epoch, of a room that was deleted, or of one that
// was waited for in vain, is counted and passed over; so is one about the stock of which
// a newer one is there or waits.
func (s *Service) Facts(ctx context.Context, records []events.Record) []events.Verdict {
	verdicts := make([]events.Verdict, len(records))
	unknown := &unknown{service: s, looks: map[room.Name]tombstone{}}
	var finished []*finishing
	stocks := stocks{service: s}
	for i, record := range records {
		if record.Headers["ce_type"] == events.TypeStock {
			if fact, err := events.DecodeStock(record.Headers, record.Value); err != nil {
				verdicts[i] = s.unreadable(record, err)
			} else {
				stocks.note(stockTold(fact, &verdicts[i]))
			}
			continue
		}
		fact, err := events.DecodeBooking(record.Headers, record.Value)
		if err != nil {
			verdicts[i] = s.unreadable(record, err)
			continue
		}
		switch fact.Type {
		case events.TypeFinished:
			finished = note(finished, fact, &verdicts[i])
		case events.TypeSoldOut:
			stocks.note(soldOutTold(fact, &verdicts[i]))
		}
		// held, confirmed, released, expired: the shop's own affair
	}
	stocks.tell(ctx, unknown)
	for i, f := range finished {
		if err := s.finish(ctx, unknown, f); err != nil {
			for _, rest := range finished[i+1:] {
				rest.all(err) // each call would take its time to fail
			}
			break
		}
	}
	return verdicts
}

// unreadable is the verdict about a record that nobody can ever read.
func (s *Service) unreadable(record events.Record, err error) events.Verdict {
	s.log.Error("booking record can't be read, it goes to the dead letter topic",
		zap.String("topic", record.Topic), zap.Int("partition", record.Partition),
		zap.Int64("offset", record.Offset), zap.Error(err))
	s.metrics.dead.Inc()
	return events.Verdict{Fate: events.Never, Err: err}
}

// finishing is the finished facts of one room and epoch.
type finishing struct {
	room     room.Name
	epoch    room.Epoch
	who      []room.Place
	made     []time.Time
	verdicts []*events.Verdict
}

// note adds a fact to those of its room.
func note(all []*finishing, fact events.Booking, verdict *events.Verdict) []*finishing {
	at := slices.IndexFunc(all, func(f *finishing) bool { return f.room == fact.Room && f.epoch == fact.Epoch })
	if at < 0 {
		at, all = len(all), append(all, &finishing{room: fact.Room, epoch: fact.Epoch})
	}
	id, _ := room.ParseAdmission(fact.Admission) // DecodeBooking has checked it
	all[at].who = append(all[at].who, room.Place{Visitor: id.Visitor, Number: id.Number})
	all[at].made = append(all[at].made, made(fact.AtMS))
	all[at].verdicts = append(all[at].verdicts, verdict)
	return all
}

// all gives every fact of the room the same verdict: later.
func (f *finishing) all(err error) {
	for _, verdict := range f.verdicts {
		*verdict = events.Verdict{Fate: events.Later, Err: err}
	}
}

// finish gives the slots of one room back. Its error says that the line is out of
// reach, for every room.
func (s *Service) finish(ctx context.Context, unknown *unknown, f *finishing) error {
	freed, err := s.line.FinishAll(ctx, f.room, room.Caller{Epoch: f.epoch}, f.who)
	if err == nil {
		s.count(f.room, "finished", freed)
		s.count(f.room, "finished_before", len(f.who)-freed) // or lapsed: the slot is free already
		return nil
	}
	if errors.Is(err, room.ErrUnknown) {
		return unknown.judge(ctx, f.room, "finished", finishedKept, f.made, f.verdicts)
	}
	verdict := s.verdict(f.room, events.TypeFinished, "", err)
	if verdict.Fate == events.Done {
		s.count(f.room, "ignored", len(f.who)-1) // the first is counted
		return nil
	}
	f.all(verdict.Err)
	if errors.Is(err, room.ErrRecovering) {
		return nil
	}
	return verdict.Err
}

func (s *Service) count(name room.Name, did string, n int) {
	s.metrics.facts.WithLabelValues(s.known(name), did).Add(float64(n))
}

// verdict is what an answer of the line means for the fact that was applied, and
// counts what it did.
func (s *Service) verdict(name room.Name, kind, did string, err error) events.Verdict {
	switch {
	case err == nil:
	case errors.Is(err, room.ErrEpoch):
		did = "ignored"
	case errors.Is(err, room.ErrRecovering):
		s.metrics.facts.WithLabelValues(s.known(name), "recovering").Inc()
		return events.Verdict{Fate: events.Later, Err: fmt.Errorf("%s in room %s: %w", kind, name, err)}
	default:
		return events.Verdict{Fate: events.Later, Err: fmt.Errorf("redis: %s in room %s: %w", kind, name, err)}
	}
	s.metrics.facts.WithLabelValues(s.known(name), did).Inc()
	return events.Verdict{}
}
