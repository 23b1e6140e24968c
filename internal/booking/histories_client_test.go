package booking

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

// client is one of a history: a browser tab, a sweeper, someone who looks.
type client struct {
	*history
	number int
	store  *process
	of     int   // its process's number
	skew   int32 // of its process's clock
	random *rand.Rand
}

// now is the moment that the next act is given. The clock goes on with every act.
func (c *client) now() int32 { return c.clock.Add(int32(c.random.IntN(historyTick))) + c.skew }

// patience is the context of an act: one in twenty-five ends about when the act does.
func (c *client) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.calm || c.random.IntN(25) > 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(c.random.IntN(4000))*time.Microsecond)
}

// unsure reports whether err leaves open what became of an act.
func unsure(err error) bool {
	for _, one := range []error{context.Canceled, context.DeadlineExceeded, sqldb.ErrAway, sqldb.ErrUnsure, seat.ErrAway, seat.ErrBusy} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// act does one thing by chance. Passes and holds are everybody's, as those of a
// visitor with many tabs.
func (c *client) act(ctx context.Context) {
	ctx, cancel := c.patience(ctx)
	defer cancel()
	pass := c.random.IntN(modelPasses)
	n := c.random.IntN(120)
	if c.eager && n >= 53 && n < 64 && c.random.IntN(8) > 0 {
		n = 40 // what is given back does not sell out
	}
	switch {
	case n < 40:
		c.hold(ctx, pass)
	case n < 53:
		c.confirm(ctx)
	case n < 61:
		c.release(ctx)
	case n < 64:
		c.leave(ctx, pass)
	case n < 73:
		c.extend(ctx)
	case n < 81:
		c.expire(ctx)
	case n < 92:
		c.visit(ctx, pass)
	case n < 100:
		c.look(ctx)
	case n < 104:
		c.tell(ctx)
	case n < 107:
		c.count(ctx)
	case n < 109:
		c.addSeats(ctx)
	case n < 110:
		c.nextLine(ctx)
	case n >= 114 && c.blocks:
		c.block(ctx)
	default:
		c.learn(ctx)
	}
}

func (c *client) hold(ctx context.Context, pass int) {
	set := seatSet(1) << c.random.IntN(modelSeats)
	for range c.random.IntN(3) {
		if c.eager && c.random.IntN(4) > 0 {
			break // few want a seat that is gone
		}
		set |= 1 << c.random.IntN(modelSeats)
	}
	if c.random.IntN(3) == 0 { // what it has, or had
		if k, ok := c.any(); ok {
			pass, set = k.pass, c.model.slots[k.slot].seats
		}
	}
	a := input{pass: pass, seats: set, now: c.now(), process: c.of}
	if a.now >= c.model.expires[pass] {
		return // the edge refuses it
	}
	call := c.real()
	held, fresh, err := c.store.Hold(ctx, c.passes[pass], set.ids(), c.at(a.now))
	var taken *seat.TakenError
	switch {
	case err == nil:
		c.granted(call, a, held, fresh)
		return
	case errors.As(err, &taken):
		c.refused(call, a, taken.Seats)
		return
	case errors.Is(err, seat.ErrUnknown):
		c.absent(call, a)
		return
	case errors.Is(err, seat.ErrEpoch):
		if !oldLine(pass) {
			c.fail("hold: a pass of the newest line is %w", err)
			return
		}
		c.add(c.number, call, input{kind: actIdle, pass: pass, now: a.now}, answer{})
		a.kind = actOldPass
	case errors.Is(err, seat.ErrHoldOpen):
		a.kind = actOpen
	case errors.Is(err, seat.ErrHoldEnded):
		a.kind = actLapsed
	case errors.Is(err, seat.ErrPassSpent):
		a.kind = actSpent
	case unsure(err):
		a.kind, a.unknown = actHeld, true
		if a.slot = c.slotFor(a); a.slot == 0 {
			return
		}
	default:
		c.fail("hold: %w", err)
		return
	}
	c.add(c.number, call, a, answer{})
}

// granted is a hold that the pass got, or has.
func (c *client) granted(call int64, a input, held seat.Hold, fresh bool) {
	if set, ok := setOf(held.Seats); !ok || set != a.seats {
		c.fail("hold: asked for %s, got %v", a.seats, held.Seats)
		return
	}
	o := answer{until: c.ms(held.Until)}
	if fresh {
		a.kind = actHeld
		if a.slot = c.slotFor(a); a.slot == 0 {
			return
		}
		c.mu.Lock()
		c.known = append(c.known, knownHold{held.ID, a.slot, a.pass})
		c.mu.Unlock()
		c.add(c.number, call, a, o)
		c.notOld(call, a)
		return
	}
	a.kind = actStands
	c.add(c.number, call, a, told{answer: o, hold: held.ID})
}

// refused is a hold whose seats were taken. Each named one was taken at some moment
// of the call and each other one free, not all at the same; so was the pass.
func (c *client) refused(call int64, a input, named []seat.ID) {
	set, ok := setOf(named)
	if !ok || set == 0 || set&^a.seats != 0 {
		c.fail("hold: asked for %s, refused for %v", a.seats, named)
		return
	}
	for i := range modelSeats {
		if a.seats.has(i) {
			kind := actWasFree
			if set.has(i) {
				kind = actTaken
			}
			c.add(c.number, call, input{kind: kind, pass: a.pass, seats: 1 << i, now: a.now}, answer{})
		}
	}
	c.add(c.number, call, input{kind: actIdle, pass: a.pass, now: a.now}, answer{})
	c.notOld(call, a)
}

// absent is a hold of seats of which some were not there at some moment of the call.
func (c *client) absent(call int64, a input) {
	later := a.seats &^ (1<<modelFirst - 1)
	if later == 0 {
		c.fail("hold: asked for %s, which are there, and told that they are not", a.seats)
		return
	}
	c.add(c.number, call, input{kind: actAbsent, pass: a.pass, seats: later, now: a.now}, answer{})
	c.add(c.number, call, input{kind: actIdle, pass: a.pass, now: a.now}, answer{})
	c.notOld(call, a)
}

// notOld is said of each pass that was let at the seats: it is of the newest line, or its
// process did not know a later one at some moment of the call.
func (c *client) notOld(call int64, a input) {
	if oldLine(a.pass) {
		c.add(c.number, call, input{kind: actNotOld, pass: a.pass, now: a.now, process: c.of}, answer{})
	}
}

// slotFor takes a slot of the model for a hold; 0 when there are none left.
func (c *client) slotFor(a input) uint8 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots == modelHolds {
		c.errs = append(c.errs, errors.New("more holds than the model has slots"))
		return 0
	}
	c.slots++
	c.model.slots[c.slots] = slotFacts{a.pass, a.seats}
	return c.slots
}

// any is a hold that somebody was told of, more often one of the latest.
func (c *client) any() (knownHold, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.known)
	if n == 0 {
		return knownHold{}, false
	}
	if c.random.IntN(2) == 0 {
		return c.known[n-1-c.random.IntN(min(n, 3))], true
	}
	return c.known[c.random.IntN(n)], true
}

// ms is a moment on the model's clock.
func (c *client) ms(at time.Time) int32 { return int32(at.Sub(c.base).Milliseconds()) }

// change does something to a hold, now and then with another visitor's pass, which
// must not be told that it exists.
func (c *client) change(do func(k knownHold, pass int, now int32) (err error), kinds func(error) string, yes string) {
	k, ok := c.any()
	if !ok {
		return
	}
	a := input{pass: k.pass, slot: k.slot, now: c.now()}
	if c.random.IntN(20) == 0 {
		stranger := (k.pass + 1) % modelPasses
		if err := do(k, stranger, a.now); !errors.Is(err, seat.ErrNoHold) && !unsure(err) {
			c.fail("%s, by a stranger: got %v, want %v", yes, err, seat.ErrNoHold)
		}
		return
	}
	call := c.real()
	err := do(k, k.pass, a.now)
	switch {
	case err == nil:
		a.kind = yes
	case unsure(err):
		a.kind, a.unknown = yes, true
	default:
		if a.kind = kinds(err); a.kind == "" {
			c.fail("%s: %w", yes, err)
			return
		}
	}
	c.add(c.number, call, a, answer{})
}

func (c *client) confirm(ctx context.Context) {
	c.change(func(k knownHold, pass int, now int32) error {
		return c.store.buy(ctx, c.passes[pass], k.id, c.at(now))
	}, func(err error) string {
		if errors.Is(err, errLost) || errors.Is(err, seat.ErrHoldEnded) {
			return actNotBooked
		}
		return ""
	}, actConfirmed)
}

func (c *client) release(ctx context.Context) {
	c.change(func(k knownHold, pass int, now int32) error {
		return c.store.Release(ctx, c.passes[pass], k.id, c.at(now))
	}, func(err error) string {
		if errors.Is(err, seat.ErrHoldEnded) {
			return actNotReleased
		}
		return ""
	}, actReleased)
}

func (c *client) extend(ctx context.Context) {
	k, ok := c.any()
	if !ok {
		return
	}
	a := input{kind: actExtended, pass: k.pass, slot: k.slot, now: c.now()}
	call := c.real()
	held, err := c.store.Extend(ctx, c.passes[k.pass], k.id, c.at(a.now))
	var o answer
	switch {
	case err == nil:
		o.until = c.ms(held.Until)
	case errors.Is(err, seat.ErrExtended):
		a.kind = actTwice
	case errors.Is(err, seat.ErrHoldEnded):
		a.kind = actNotExtended
	case unsure(err):
		a.unknown = true
	default:
		c.fail("extend: %w", err)
		return
	}
	c.add(c.number, call, a, o)
}

func (c *client) leave(ctx context.Context, pass int) {
	a := input{kind: actLeft, pass: pass, now: c.now()}
	call := c.real()
	err := c.store.Leave(ctx, c.passes[pass], c.at(a.now))
	if a.unknown = unsure(err); err != nil && !a.unknown {
		c.fail("leave: %w", err)
		return
	}
	c.add(c.number, call, a, answer{})
}

// expire sweeps, in small steps so that two sweepers meet, and says how many holds of
// this room it ended.
func (c *client) expire(ctx context.Context) int {
	s := sweep{client: c.number, now: c.now()}
	c.mu.Lock()
	for c.claimed[s.now] {
		s.now++
	}
	c.claimed[s.now] = true
	c.mu.Unlock()
	limit := 1 + c.random.IntN(4)
	s.call = c.real()
	names, err := c.store.Expire(ctx, c.at(s.now), limit)
	s.ret = c.real()
	if s.unknown = unsure(err); s.unknown {
		s.ret = never
	} else if err != nil {
		c.fail("expire: %w", err)
		return 0
	}
	if len(names) > limit {
		c.fail("expire: at most %d, got %d", limit, len(names))
	}
	for _, name := range names {
		if name == c.room {
			s.ended++
		}
	}
	c.mu.Lock()
	c.sweeps = append(c.sweeps, s)
	c.mu.Unlock()
	return len(names)
}

func (c *client) visit(ctx context.Context, pass int) {
	a := input{kind: actVisit, pass: pass, now: c.now()}
	call := c.real()
	v, err := c.store.Visit(ctx, c.passes[pass])
	if err != nil {
		if !unsure(err) {
			c.fail("visit: %w", err)
		}
		return
	}
	o := told{answer: answer{spent: v.Spent}}
	if v.Hold != nil {
		o.hold, o.until = v.Hold.ID, c.ms(v.Hold.Until)
	}
	if v.Booking != nil {
		o.booking = v.Booking.Hold
	}
	c.add(c.number, call, a, o)
}

// look reads the map: a picture of one moment.
func (c *client) look(ctx context.Context) {
	a := input{kind: actMap, now: c.now()}
	call := c.real()
	seats, err := c.store.Seats(ctx, c.room)
	if err != nil {
		if !unsure(err) {
			c.fail("map: %w", err)
		}
		return
	}
	var o answer
	for i, one := range seats {
		if i == modelSeats || one.ID != modelSeat(i) {
			c.fail("map: got %v", seats)
			return
		}
		if o.seats[i] = one.State[0]; one.State == seat.Blocked {
			o.seats[i] = 'x'
		}
	}
	c.add(c.number, call, a, o)
}
