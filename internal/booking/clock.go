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

// seatsClock is the seats' clock of this process.
type seatsClock struct {
	now  func() time.Time
	read func(ctx context.Context) (time.Time, error) // the database's clock
	met  *metrics

	skewed atomic.Bool
	stops  *outage.Log // above mostSkew
	off    *outage.Log // above warnSkew
}

func newSeatsClock(now func() time.Time, read func(context.Context) (time.Time, error), log *zap.Logger, met *metrics) *seatsClock {
	return &seatsClock{now: now, read: read, met: met,
		stops: outage.New(outage.Config{Log: log, Grave: true,
			Down: "clock differs from the database's: no seat is held, sold or freed by this process",
			Up:   "clock is near the database's: seats are held, sold and freed again"}),
		off: outage.New(outage.Config{Log: log, Down: "clock differs from the database's", Up: "clock agrees with the database's again"})}
}

// check compares the two clocks. What the round trip leaves open counts in this
// process's favour. A database that is away changes nothing.
func (c *seatsClock) check(ctx context.Context) error {
	before := c.now()
	theirs, err := c.read(ctx)
	after := c.now()
	if err != nil {
		return err
	}
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
	c.skewed.Store(off > mostSkew)
	switch {
	case off > mostSkew: // says all that off would
		c.stops.Note(ctx, ahead)
	case off > warnSkew:
		c.stops.Note(ctx, nil)
		c.off.Note(ctx, ahead)
	default:
		c.stops.Note(ctx, nil)
		c.off.Note(ctx, nil)
	}
	return nil
}

// time is the seats' clock, or seat.ErrSkew while it can't be trusted.
func (c *seatsClock) time() (time.Time, error) {
	if c.skewed.Load() {
		return time.Time{}, seat.ErrSkew
	}
	return c.now(), nil
}
