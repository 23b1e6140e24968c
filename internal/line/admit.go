package line

import (
	"context"
	"slices"
	"time"

	"waitroom/internal/room"
)

const (
	// maxPruned is how many lapsed deadlines one round takes out: 1 ms of Redis. Those
	// beyond count as free slots all the same.
	maxPruned = 1_000
	// maxFinished is how many visitors one act finishes: about 1 ms of Redis.
	maxFinished = 1_000
	// outboxSeconds is how much of the rate the outbox holds; see room.OutboxBound.
	outboxSeconds = 600
)

// Admit runs one round: it prunes deadlines, then admits as many as credit,
// slots, outbox and limit (at most room.MaxRound) allow, in order of number. Any
// number of admitters may run rounds of one room at once.
func (l *Lines) Admit(ctx context.Context, name room.Name, by room.Caller, limit int) (room.Round, error) {
	limit = max(0, min(limit, room.MaxRound))
	answer, err := l.act(ctx, admitScript, name, by, limit, room.MinOutbox, room.MaxOutbox, outboxSeconds, room.MaxEntry, maxPruned)
	if err != nil {
		return room.Round{}, err
	}
	round := room.Round{
		Admitted:  int(answer.int(0)),
		Missed:    int(answer.int(1)),
		Lapsed:    int(answer.int(2)),
		Stop:      room.Stop(answer.text(3)),
		Due:       time.Duration(answer.int(4)) * time.Microsecond,
		Last:      room.Number(answer.int(5)),
		Slots:     answer.int(6),
		Waiting:   answer.int(7),
		Outbox:    answer.int(8),
		Total:     answer.int(9),
		Now:       micros(answer.int(10)),
		State:     room.State(answer.text(11)),
		SoldOut:   answer.int(12) == 1,
		Rate:      room.Rate(answer.int(13)),
		MaxActive: answer.int(14),
		Seq:       room.Number(answer.int(15)),
		Rev:       answer.int(16),
		Losses:    answer.int(17),
	}
	return round, answer.bad()
}

// Finish gives a visitor's slot back, because the shop is done with the visitor.
// freed is false when it came back before: a repeat, or the deadline.
func (l *Lines) Finish(ctx context.Context, name room.Name, by room.Caller, place room.Place) (freed bool, err error) {
	n, err := l.FinishAll(ctx, name, by, []room.Place{place})
	return n > 0, err
}

// FinishAll is Finish for many visitors, in acts of maxFinished.
func (l *Lines) FinishAll(ctx context.Context, name room.Name, by room.Caller, places []room.Place) (freed int, err error) {
	for part := range slices.Chunk(places, maxFinished) {
		args := make([]any, 0, 2*len(part))
		for _, p := range part {
			args = append(args, string(p.Visitor), int64(p.Number))
		}
		answer, err := l.act(ctx, finishScript, name, by, args...)
		if err != nil {
			return freed, err
		}
		freed += int(answer.int(0))
		if err := answer.bad(); err != nil {
			return freed, err
		}
	}
	return freed, nil
}
