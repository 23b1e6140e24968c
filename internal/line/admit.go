package line

import (
	"context"
	"time"

	"waitroom/internal/room"
)

// Admit runs one round: it prunes deadlines, then admits as many as credit,
// slots, outbox and limit (at most room.MaxRound) allow, in order of number. Any
// number of admitters may run rounds of one room at once.
func (l *Lines) Admit(ctx context.Context, name room.Name, by room.Caller, limit int) (room.Round, error) {
	limit = max(0, min(limit, room.MaxRound))
	keys := []string{confKey(name), seqKey(name), queueKey(name), goneKey(name), unclaimedKey(name),
		activeKey(name), outboxKey(name), bucketKey(name), statsKey(name)}
	answer, err := l.run(ctx, admitScript, name, keys, string(by.Epoch), int64(by.Mark), l.now(), limit, room.MaxOutbox)
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
	}
	return round, answer.bad()
}

// Finish gives a visitor's slot back, because the shop is done with the visitor.
// freed is false when it came back before: a repeat, or the deadline.
func (l *Lines) Finish(ctx context.Context, name room.Name, by room.Caller, visitor room.VisitorID) (freed bool, err error) {
	keys := []string{confKey(name), seqKey(name), unclaimedKey(name), activeKey(name), statsKey(name)}
	answer, err := l.run(ctx, finishScript, name, keys, string(by.Epoch), int64(by.Mark), l.now(), string(visitor))
	if err != nil {
		return false, err
	}
	return answer.int(0) > 0, answer.bad()
}
