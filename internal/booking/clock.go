package booking

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/seat"
)

// The seats' clock against the database's, which all bookers share. Above
// warnSkew deadlines are visibly off; above mostSkew, the default grace, a hold
// could end for one booker while another still sells it, so this one stops.
const (
	warnSkew   = 250 * time.Millisecond
	mostSkew   = 2 * time.Second
	clockEvery = 10 * time.Second
)

// seatsClock is the seats' clock of this process. It is the machine's at the start, which
// is checked against the database's, and runs on by the monotonic clock: a clock that is
// set while the process runs, here or at the database, moves no hold's end.
type seatsClock struct {
	now   func() time.Time                             // the machine's clock, which may be set
	since func() time.Duration                         // that only goes forward, from the start; nil: now is it
	read  func(ctx context.Context) (time.Time, error) // the database's clock
	met   *metrics
	start time.Time // now, when since was 0

	// Owned by who calls check.
	last   time.Duration // skew at the last check
	agreed bool          // it was within mostSkew
	set    bool          // the database's clock was set while this process ran, and is not back

	skewed atomic.Bool
	stops  *outage.Log // above mostSkew
	off    *outage.Log // above warnSkew
	moved  *outage.Log // the database's clock was set
	local  *outage.Log // the machine's clock was set
}

// newSeatsClock starts the clock. now is the machine's and may be set; nil: time.Now, with
// the monotonic clock beside it.
func newSeatsClock(now func() time.Time, read func(context.Context) (time.Time, error), log *zap.Logger, met *metrics) *seatsClock {
	c := &seatsClock{now: now, read: read, met: met,
		stops: outage.New(outage.Config{Log: log, Grave: true,
			Down: "clock differs from the database's: no seat is held, sold or freed by this process",
			Up:   "clock is near the database's: seats are held, sold and freed again"}),
		off: outage.New(outage.Config{Log: log, Down: "clock differs from the database's", Up: "clock agrees with the database's again"}),
		moved: outage.New(outage.Config{Log: log, Grave: true,
			Down: "the database's clock was set: this process goes on by the time from before, and others do that started before; start no booker until --hold and --extend have passed, or it ends holds at the wrong time",
			Up:   "the database's clock is back at the time from before"}),
		local: outage.New(outage.Config{Log: log,
			Down: "this machine's clock was set: the seats' clock goes on from before, and reads it again at the next start",
			Up:   "this machine's clock is back at the time from before"})}
	if now == nil {
		start := time.Now()
		c.now, c.since = time.Now, func() time.Duration { return time.Since(start) }
	}
	c.start = c.now()
	return c
}

// at is the seats' clock, also while it can't be trusted.
func (c *seatsClock) at() time.Time {
	if c.since == nil {
		return c.now()
	}
	return c.start.Round(0).Add(c.since())
}

// time is the seats' clock, or seat.ErrSkew while it can't be trusted.
func (c *seatsClock) time() (time.Time, error) {
	if c.skewed.Load() {
		return time.Time{}, seat.ErrSkew
	}
	return c.at(), nil
}

// check compares the clocks. What the round trip leaves open counts in this
// process's favour. A database that is away changes nothing.
func (c *seatsClock) check(ctx context.Context) error {
	before := c.at()
	theirs, err := c.read(ctx)
	after := c.at()
	if err != nil {
		return err
	}
	c.compareLocal(ctx)
	// Theirs was read between before and after: how far outside is it?
	var skew time.Duration
	switch {
	case before.Sub(theirs) > 0:
		skew = before.Sub(theirs)
	case theirs.Sub(after) > 0:
		skew = -theirs.Sub(after)
	}
	c.met.skew.Set(skew.Seconds())
	off, ahead := skew.Abs(), fmt.Errorf("%.3f s ahead", skew.Seconds())
	// Between two checks clocks drift by milliseconds. What agreed and is seconds off all at
	// once was set: the holds that are live were made by this clock, so it goes on.
	switch {
	case off <= mostSkew:
		c.set = false
	case c.since != nil && c.agreed && (skew-c.last).Abs() > warnSkew:
		c.set = true
	}
	c.last = skew
	c.agreed = off <= mostSkew
	c.skewed.Store(off > mostSkew && !c.set)
	switch {
	case off > mostSkew && c.set:
		c.moved.Note(ctx, ahead)
	case off > mostSkew: // says all that off would
		c.stops.Note(ctx, ahead)
	case off > warnSkew:
		c.moved.Note(ctx, nil)
		c.stops.Note(ctx, nil)
		c.off.Note(ctx, ahead)
	default:
		c.moved.Note(ctx, nil)
		c.stops.Note(ctx, nil)
		c.off.Note(ctx, nil)
	}
	return nil
}

// compareLocal says when the machine's clock was set, which changes nothing until the next
// start.
func (c *seatsClock) compareLocal(ctx context.Context) {
	if c.since == nil {
		return
	}
	apart := c.now().Round(0).Sub(c.at())
	if apart.Abs() > warnSkew {
		c.local.Note(ctx, fmt.Errorf("by %.3f s", apart.Seconds()))
		return
	}
	c.local.Note(ctx, nil)
}
