package booking

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/outage"
	"waitroom/internal/seat"
)

// sweepRows is how many holds one step ends, in one transaction; a step that ended some is
// followed by another at once.
const sweepRows = 200

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
	now, sure := b.clock.ending()
	if !sure {
		return false, nil // said once by the clock, or over in some seconds
	}
	ended, err := b.store.Expire(ctx, now, sweepRows)
	for _, name := range ended {
		b.met.acts.WithLabelValues(string(name), expired).Inc()
	}
	var set *asideError
	if errors.As(err, &set) {
		b.met.aside.Add(float64(len(set.reasons)))
		b.log.Error("holds that can't expire are set aside, their seats stay held: look at the rows of hold, seats and admission, and mend them by hand", zap.Error(err))
		return true, nil // they are not met again
	}
	return len(ended) > 0, err // as many may be left, which another booker had just then
}

// settingsEvery is how often the database's settings are read: somebody may change them.
const settingsEvery = 10 * time.Minute

// settings warns of what a crash of the database would forget, and of the like.
func (b *Booker) settings(ctx context.Context) (more bool, err error) {
	list, err := b.store.db.Warnings(ctx)
	if err != nil {
		return false, err
	}
	var warning error
	if len(list) > 0 {
		warning = errors.New(strings.Join(list, "; "))
	}
	b.unsafe.Note(ctx, warning)
	return false, nil
}

// tellStock tells the line what is left of the seats. What it notes is when it told: an hour
// too early or late, others would tell it again each second, or not for an hour.
func (b *Booker) tellStock(ctx context.Context) (more bool, err error) {
	now, sure := b.clock.ending()
	if !sure {
		return false, nil // said once by the clock, or over in some seconds
	}
	told, err := b.store.TellStock(ctx, now)
	return told == stockRooms, err
}

// gather calls run for 0 to n-1, most of them at once, and returns when all have.
func gather(most, n int, run func(i int)) {
	var group errgroup.Group
	group.SetLimit(most)
	for i := range n {
		group.Go(func() error { run(i); return nil })
	}
	_ = group.Wait() // none returns one
}

// failed logs and counts a call of the payment gateway that failed.
func (b *Booker) failed(what string, hold seat.HoldID, text string, err error) {
	b.met.failed.WithLabelValues(what).Inc()
	b.log.Warn(text, zap.String("hold", string(hold)), zap.Error(err))
}
