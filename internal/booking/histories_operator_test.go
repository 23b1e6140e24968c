package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/venue"
)

// What an operator does within a history: blocks seats, gives them back, brings plans.

// addHow adds the seats that are not there yet, as a plan or by name. A plan comes with a
// price of its own, which no seat that is held or booked may get: settled compares each
// hold with its seats.
func (c *client) addHow(ctx context.Context) (added int, err error) {
	all := seatSet(1<<modelSeats - 1)
	if c.random.IntN(2) == 0 {
		return c.store.AddSeats(ctx, c.room, all.ids())
	}
	price := seat.Price{Amount: int64(1 + c.random.IntN(5)), Currency: "EUR"}
	var plan venue.Plan
	for _, id := range all.ids() {
		plan.Seats = append(plan.Seats, venue.Seat{ID: id, Category: "A", Price: price})
	}
	done, err := c.store.Import(ctx, c.room, &plan, ImportHow{RemoveMissing: true})
	if err == nil && (done.Added+done.Changed+done.Same+done.Kept != modelSeats || done.Removed+done.Missing != 0) {
		err = fmt.Errorf("a plan of all seats did %+v", done)
	}
	return done.Added, err
}

// block blocks some seats, or gives some back. What it is told of all of them is of one
// moment: it has them locked.
func (c *client) block(ctx context.Context) {
	a := input{seats: 1 << c.random.IntN(modelSeats), now: c.now()}
	if c.random.IntN(2) == 0 {
		a.seats |= 1 << c.random.IntN(modelSeats)
	}
	block := c.random.IntN(5) < 2
	call := c.real()
	var done Blocked
	var err error
	if block {
		a.kind = actBlocked
		done, err = c.store.Block(ctx, c.room, Choice{Seats: a.seats.ids()}, "", false)
	} else {
		a.kind = actUnblocked
		done, err = c.store.Unblock(ctx, c.room, Choice{Seats: a.seats.ids()})
	}
	o := answer{changed: done.Changed}
	switch {
	case err == nil:
	case errors.Is(err, seat.ErrTaken):
		a.kind = actNotBlocked
		for _, one := range done.Taken {
			set, ok := setOf([]seat.ID{one.ID})
			if !ok {
				c.fail("block: %s is in the way", one.ID)
			}
			o.taken |= set
		}
	case errors.Is(err, seat.ErrUnknown):
		a.kind = actNoBlock
	case unsure(err):
		a.unknown = true
	default:
		c.fail("block: %w", err)
		return
	}
	c.add(c.number, call, a, o)
}

// wrongBlocked is wrongStock of a history in which seats are blocked, so that there may be
// fewer: revs go up, what becomes or leaves nothing is told at once, nothing is told too
// soon, and the last fact is the counter's. That each is true is the model's to say.
func wrongBlocked(facts []stockFact, row stockRow, loop func(stockFact) bool) error {
	var before *stockFact
	for i := 0; i < len(facts); i++ {
		f := &facts[i]
		if f.sold {
			if i++; i == len(facts) || facts[i].sold || facts[i].Left != 0 || facts[i].Rev != f.Rev || facts[i].Epoch != f.Epoch {
				return fmt.Errorf("%s is not followed by that nothing is left", f)
			}
			f = &facts[i]
		}
		if f.Left < 0 || f.Left > f.Seats || f.Seats > modelSeats {
			return fmt.Errorf("%s can't be", f)
		}
		if before != nil {
			gap := time.Duration(max(before.AtMS-f.AtMS, f.AtMS-before.AtMS)) * time.Millisecond
			switch {
			case f.Rev < before.Rev || f.Rev == before.Rev && (f.Left != before.Left || f.Seats != before.Seats):
				return fmt.Errorf("%s after %s: it is older, or differs", f, before)
			case before.Left == 0 && f.Left > 0 && (loop(*f) || f.Rev != before.Rev+1), before.Left > 0 && f.Left == 0 && loop(*f):
				return fmt.Errorf("%s after %s: it was not told at once", f, before)
			case loop(*f) && (gap < stockEvery || f.Rev == before.Rev && f.Epoch == before.Epoch && gap < stockAgain):
				return fmt.Errorf("%s after %s: it is told too soon", f, before)
			}
		}
		before = f
	}
	if before == nil || before.Rev != row.Rev || before.Left != row.left() || before.Seats != row.Seats {
		return fmt.Errorf("the last fact is not of the counter %+v", row)
	}
	return nil
}
