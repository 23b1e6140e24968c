package socket

import "time"

const (
	// A frame costs its bytes and frameCost on top: an empty one makes as much work
	// as half a kilobyte, so that one budget bounds both kinds of flood.
	frameCost = 512
	// readCost is paid for each read: who sends a byte at a time wakes us for each
	// one, which takes longer than reading a whole message. So 128 wakes at once and
	// 8 a second, where honest packets hold a message each. A wake is 6 µs: who sends
	// so without end costs as much as four visitors who hear a position each second.
	readCost = 128
	// budgetBurst is about 25 small messages at once, or 30 frames in one packet:
	// more than twice what a handler lets a visitor say, so that its own word (too
	// many messages) comes first for who merely talks too much.
	budgetBurst = 16 << 10
	// budgetRate is what comes back in a second: one small message and a half, or a
	// ping of a proxy. A page sends three messages an hour.
	budgetRate = 1 << 10
)

// budget is what a peer may still send. Time is given by the caller, in
// nanoseconds of a clock that only goes forward.
type budget struct {
	credit int32
	at     int64 // when credit was counted
}

func newBudget(now int64) budget { return budget{credit: budgetBurst, at: now} }

// spend pays cost and reports whether there was enough.
func (b *budget) spend(now int64, cost int) bool {
	const full = int64(budgetBurst) * int64(time.Second) / budgetRate
	if waited := now - b.at; waited >= full {
		b.credit, b.at = budgetBurst, now
	} else if gained := waited * budgetRate / int64(time.Second); gained > 0 {
		b.credit = int32(min(budgetBurst, int64(b.credit)+gained))
		b.at += gained * int64(time.Second) / budgetRate // what is less than one byte is not lost
	}
	if int(b.credit) < cost {
		return false
	}
	b.credit -= int32(cost)
	return true
}
