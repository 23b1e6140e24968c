package main

import (
	"context"
	"fmt"
	"time"
)

// lapsedHolds are over when the bookers begin.
const lapsedHolds = 5_000

// measureExpiry: how long it takes to end holds whose time is over, by one, two and
// three bookers: more of them must not take longer.
func measureExpiry(ctx context.Context, b *bench) error {
	n := b.scale(lapsedHolds)
	var one Figure
	for _, bookers := range []int{1, 2, 3} {
		f := Figure{Name: fmt.Sprintf("%s lapsed holds, ended by %s", count(int64(n)), plural(bookers, "booker")), Aim: "report", Unit: "s"}
		if bookers > 1 {
			f.Aim, f.Met = "no longer than one takes", func(m, _ float64) bool { return m <= 1.1*median(one.Runs) } // a tenth is the machine's
		}
		err := b.repeat(func() error {
			return onShop(ctx, b, func(g *shopGround) error {
				took, floor, err := g.expired(ctx, n, bookers)
				f.Runs, f.Floor = append(f.Runs, took), append(f.Floor, floor)
				return err
			})
		})
		if err != nil {
			return err
		}
		f.Note = "one seat each, default flags; from the start of the loops; floor: one connection that ends a hundred in a transaction; load " + load()
		if bookers == 1 {
			one = f
		}
		b.report(f)
	}
	return nil
}

// expired makes n holds that are over and says how many seconds it takes until none
// is left, by bookers, and by the floor.
func (g *shopGround) expired(ctx context.Context, n, bookers int) (took, floor float64, err error) {
	list, err := g.fill(ctx, 1, n, n)
	if err != nil {
		return 0, 0, err
	}
	long := 2 * rules.Hold
	if err := g.holdAll(ctx, list, func() time.Time { return time.Now().Add(-long) }); err != nil {
		return 0, 0, err
	}
	if floor, err = g.expireRaw(ctx, list); err != nil {
		return 0, 0, err
	}
	var shops []*booker
	defer func() {
		for _, s := range shops {
			s.end()
		}
	}()
	for range bookers {
		s, err := g.booker(ctx)
		if err != nil {
			return 0, 0, err
		}
		shops = append(shops, s)
	}
	began := time.Now()
	for _, s := range shops {
		if err := s.run(); err != nil {
			return 0, 0, err
		}
	}
	for time.Since(began) < rowLimit {
		var left int
		if err := g.floor.QueryRowContext(ctx, "SELECT COUNT(*) FROM holds WHERE state = 'live'").Scan(&left); err != nil {
			return 0, 0, err
		}
		if left == 0 {
			return time.Since(began).Seconds(), floor, nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil { // the count costs some ms
			return 0, 0, err
		}
	}
	return 0, 0, fmt.Errorf("holds were left after %s", rowLimit)
}

// expireRaw ends the same holds in the floor's tables, in seconds.
func (g *shopGround) expireRaw(ctx context.Context, list []*shopper) (float64, error) {
	name := list[0].pass.Room
	if err := g.mirror(ctx, inTrips, name); err != nil {
		return 0, err
	}
	const batch = 100
	began := time.Now()
	for from := 0; from < len(list); from += batch {
		some := list[from:min(from+batch, len(list))]
		if err := tripped(ctx, g.floor, expireOf(inTrips, some)); err != nil {
			return 0, err
		}
	}
	return time.Since(began).Seconds(), nil
}
