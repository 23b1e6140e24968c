package booking

import (
	"context"
	"math/rand/v2"
	"time"

	"waitroom/internal/outage"
)

// Bounds of the sweeper.
const (
	sweepRows = 100 // holds ended in one step; a full step is followed by another at once
	// captureAfter leaves a booking's money to the request that booked it, unless
	// that request must have ended.
	captureAfter = 30 * time.Second
	captureEvery = 10 * time.Second
	captureRows  = 50
	captureLimit = 10 * time.Second // of one capture
	purgeEvery   = time.Minute
	purgeSteps   = 20 // of purgeRows rows per table: 600,000 an hour
)

// every calls step until ctx ends, about once per gap, and at once again while
// it says that there is more.
func (b *Booker) every(ctx context.Context, gap time.Duration, what string, step func(context.Context) (more bool, err error)) {
	failing := outage.New(outage.Config{Log: b.log, Down: what + " fails; trying again", Up: what + " works again"})
	for {
		more, err := step(ctx)
		if ctx.Err() != nil {
			return
		}
		failing.Note(ctx, err)
		if err != nil {
			b.met.failed.WithLabelValues(what).Inc()
		} else if more {
			continue
		}
		// Spread, so that bookers started together don't sweep together.
		timer := time.NewTimer(gap/2 + rand.N(gap))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// expire is the only way by which time ends a hold.
func (b *Booker) expire(ctx context.Context) (more bool, err error) {
	now, err := b.clock.time()
	if err != nil {
		return false, nil // said once by the clock
	}
	ended, err := b.store.Expire(ctx, now, sweepRows)
	for _, name := range ended {
		b.met.acts.WithLabelValues(string(name), expired).Inc()
	}
	return len(ended) == sweepRows, err
}

// capture takes the money of bookings whose request could not.
func (b *Booker) capture(ctx context.Context) (more bool, err error) {
	list, err := b.store.uncaptured(ctx, b.clock.now().Add(-captureAfter), captureRows)
	if err != nil {
		return false, err
	}
	for _, o := range list {
		one, cancel := context.WithTimeout(ctx, captureLimit)
		err = b.gateway.Capture(one, o.Payment)
		cancel()
		if err == nil {
			err = b.store.captured(ctx, o.Hold, b.clock.now())
		}
		if err != nil {
			return false, err
		}
	}
	return len(list) == captureRows, nil
}

// purge forgets what is older than --keep.
func (b *Booker) purge(ctx context.Context) (more bool, err error) {
	before := b.clock.now().Add(-b.config.Keep)
	if err := b.store.purgeEvents(ctx, before); err != nil {
		return false, err
	}
	for range purgeSteps {
		n, err := b.store.Purge(ctx, before)
		if err != nil || n == 0 {
			return false, err
		}
	}
	return false, nil
}
