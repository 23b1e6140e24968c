package booking

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

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
	log  *zap.Logger
	met  *metrics

	skewed atomic.Bool
	warned bool // owned by who calls check: the start, then the loop
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
	off := skew.Abs()
	was := c.skewed.Swap(off > mostSkew)
	switch {
	case off > mostSkew && !was:
		c.log.Error("clock differs from the database's: no seat is held, sold or freed by this process", zap.Duration("ahead", skew))
	case off > warnSkew && !c.warned:
		c.log.Warn("clock differs from the database's", zap.Duration("ahead", skew))
	case off <= warnSkew && c.warned:
		c.log.Info("clock agrees with the database's again")
	}
	c.warned = off > warnSkew
	return nil
}

// time is the seats' clock, or seat.ErrSkew while it can't be trusted.
func (c *seatsClock) time() (time.Time, error) {
	if c.skewed.Load() {
		return time.Time{}, seat.ErrSkew
	}
	return c.now(), nil
}
