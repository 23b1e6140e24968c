package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"waitroom/internal/booking"
)

// What the full tables have, as at the end of a great sale.
const (
	oldAdmissions = 1_000_000
	bigRoom       = 100_000
	flatCallers   = 64
)

// measureFlat: holds and confirms in the store with full tables against the same with
// empty ones, in turn: what is done for one visitor must not grow with all others.
func measureFlat(ctx context.Context, b *bench) error {
	name := func(what string) string {
		return fmt.Sprintf("%s in the store, %d callers, with %s admissions and a room of %s seats", what, flatCallers,
			count(int64(b.scale(oldAdmissions))), count(int64(b.scale(bigRoom))))
	}
	// A tenth is what two runs of the same differ by.
	near := func(m, floor float64) bool { return m >= 0.9*floor }
	holds := Figure{Name: name("holds"), Aim: "≥ 0.9 of empty tables", Unit: "/s", Met: near}
	confirms := Figure{Name: name("confirms"), Aim: "≥ 0.9 of empty tables", Unit: "/s", Met: near}
	err := onShop(ctx, b, func(empty *shopGround) error {
		return onShop(ctx, b, func(full *shopGround) error {
			if err := full.old(ctx, b.scale(oldAdmissions)); err != nil {
				return err
			}
			return b.repeat(func() error {
				for _, one := range []struct {
					g               *shopGround
					seats           int
					holds, confirms *[]float64
				}{{full, b.scale(bigRoom), &holds.Runs, &confirms.Runs}, {empty, b.scale(roomSeats), &holds.Floor, &confirms.Floor}} {
					held, bought, err := one.g.bothRates(ctx, b, one.seats)
					if err != nil {
						return err
					}
					*one.holds, *one.confirms = append(*one.holds, held), append(*one.confirms, bought)
				}
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	holds.Note = fmt.Sprintf("in that room; floor: the same in a room of %s seats in tables with nothing else, in turn; load %s", count(int64(b.scale(roomSeats))), load())
	confirms.Note = holds.Note
	b.report(holds)
	b.report(confirms)
	return nil
}

// old gives the shop n admissions of an earlier line, made within the last minutes: none
// is old enough to be forgotten.
func (g *shopGround) old(ctx context.Context, n int) error {
	const chunk = 100_000 // one transaction of the binary log
	for from := 0; from < n; from += chunk {
		_, err := g.floor.ExecContext(ctx, fmt.Sprintf(`INSERT INTO admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms)
			SELECT CONCAT('bench-0.abcdefgh.', seq, '.', LPAD(HEX(seq * 2654435761 %% 4294967296), 16, 'x')), 1000 * (? - seq), ? - seq, '', '', 0 FROM seq_%d_to_%d`,
			from+1, min(from+chunk, n)), time.Now().UnixMilli(), time.Now().UnixMilli())
		if err != nil {
			return err
		}
	}
	return nil
}

// bothRates holds in a new room for a stretch, then buys what is held, and says how
// many a second.
func (g *shopGround) bothRates(ctx context.Context, b *bench, seats int) (holds, confirms float64, err error) {
	list, err := g.fill(ctx, 1, seats, min(seats, b.scale(roomSeats)))
	if err != nil {
		return 0, 0, err
	}
	t, _, err := g.holds(ctx, list, flatCallers, b.span(stretch))
	if err = errors.Join(err, t.some()); err != nil {
		return 0, 0, err
	}
	held := list[:len(t.times)] // callers take them in order
	err = g.withDesk(ctx, func(desk *booking.Booker) error {
		bought, _, err := g.confirms(ctx, desk, held, flatCallers, b.span(stretch))
		confirms = bought.perSecond()
		if err == nil {
			err = bought.some()
		}
		return err
	})
	return t.perSecond(), confirms, err
}
