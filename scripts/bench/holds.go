package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/boxoffice"
	"waitroom/internal/events"
	"waitroom/internal/seat"
)

// roomSeats are the seats of a room of the shop's rows, as many as a concert hall has.
const roomSeats = 6_000

// stretch is how long callers call, unless all have bought before: two seconds, so that
// three runs beside three floors fit into rowLimit.
const stretch = 2 * time.Second

// shopColumns is the head of the table that has three floors beside each figure.
const shopColumns = "figure | aim | median | least – greatest | p50, p95, max in ms | floor: a trip each | floor: one trip | floor: 50 a transaction | processor time of one, in µs: here + database (floor) | note"

// ShopFigure is one row of it.
type ShopFigure struct {
	Figure
	tallies []tally
	floors  []floors
	costs   []spent // of one act, in µs
}

// add takes one run.
func (f *ShopFigure) add(t tally, cost spent, beside floors) {
	f.Runs, f.tallies = append(f.Runs, t.perSecond()), append(f.tallies, t)
	f.costs, f.floors = append(f.costs, cost), append(f.floors, beside)
}

func (b *bench) reportShop(f ShopFigure) {
	of := func(list []floors, pick func(floors) float64) string {
		var all []float64
		for _, one := range list {
			all = append(all, pick(one))
		}
		return fmt.Sprintf("%s (× %.2f)", number(median(all)), median(f.Runs)/median(all))
	}
	said := failures(f.tallies)
	if f.Met != nil && said != "" {
		f.Met = func(float64, float64) bool { return false } // none may fail
	}
	if said == "" {
		said = ", no errors"
	}
	at := middle(f.Runs)
	t, cost, floor := f.tallies[at], f.costs[at], f.floors[at].cost
	whole := append(f.head(),
		fmt.Sprintf("%s, %s, %s", number(t.at(0.5)), number(t.at(0.95)), number(t.at(1))),
		of(f.floors, func(f floors) float64 { return f.trips }),
		of(f.floors, func(f floors) float64 { return f.one }),
		of(f.floors, func(f floors) float64 { return f.gathered }),
		fmt.Sprintf("%.0f + %.0f (%.0f + %.0f)", cost.own, cost.db, floor.own, floor.db),
		f.Note+said+"; load "+load(),
	)
	b.table.print(shopColumns, cells(whole...))
}

// failures says how many acts of all runs failed, and how; nothing if none did.
func failures(list []tally) string {
	failed, first := 0, error(nil)
	for _, t := range list {
		failed += t.failed
		if first == nil {
			first = t.first
		}
	}
	if failed == 0 {
		return ""
	}
	return fmt.Sprintf(", **%s errors**, the first: %v", count(int64(failed)), first)
}

// measureHolds: holds per second in the store by passes that are known and fresh, each
// of a seat that nobody else wants.
func measureHolds(ctx context.Context, b *bench) error {
	for _, one := range []struct {
		rooms, callers int
		aim            float64 // 0: report
	}{{1, 1, 0}, {1, 8, 0}, {1, 64, 4000}, {1, 1000, 4000}, {8, 64, 4000}, {8, 1000, 4000}} {
		seats := b.scale(roomSeats)
		f := ShopFigure{Figure: Figure{Unit: "/s", Aim: "report",
			Name: fmt.Sprintf("holds in the store, %s callers, %s of %s seats", count(int64(one.callers)), plural(one.rooms, "room"), count(int64(seats)))}}
		if one.aim > 0 {
			f.Aim, f.Met = "≥ "+number(one.aim)+"/s", atLeast(one.aim)
		}
		f.Note = "one seat each; floor: UPDATE admissions, UPDATE seats, INSERT holds, INSERT facts"
		err := onShop(ctx, b, func(g *shopGround) error {
			return b.repeat(func() error {
				// Twice what the aim takes in a stretch.
				list, err := g.fill(ctx, one.rooms, seats, min(one.rooms*seats, b.scale(16_000)))
				if err != nil {
					return err
				}
				beside, err := g.measure(ctx, holdOf, list, one.callers, b.span(stretch))
				if err != nil {
					return err
				}
				t, cost, err := g.holds(ctx, list, one.callers, b.span(stretch))
				if err != nil {
					return err
				}
				f.add(t, cost, beside)
				return nil
			})
		})
		if err != nil {
			return err
		}
		b.reportShop(f)
	}
	return nil
}

// holds lets n callers hold in the store.
func (g *shopGround) holds(ctx context.Context, list []*shopper, n int, d time.Duration) (tally, spent, error) {
	return g.act(ctx, list, n, d, func(ctx context.Context, s *shopper) error {
		h, fresh, err := g.store.Hold(ctx, s.pass, []seat.ID{s.seat}, time.Now())
		if err == nil && !fresh {
			err = errors.New("a fresh pass had a hold already")
		}
		s.hold = h.ID
		return err
	})
}

// act lets n callers act for the shoppers, one after the other, and says what one act
// cost. An error is of the bench: that all acts failed.
func (g *shopGround) act(ctx context.Context, list []*shopper, n int, d time.Duration, do func(context.Context, *shopper) error) (tally, spent, error) {
	before, err := g.spent()
	if err != nil {
		return tally{}, spent{}, err
	}
	t := callers(ctx, n, len(list), d, func(ctx context.Context, i int) error { return do(ctx, list[i]) })
	after, err := g.spent()
	if err == nil && len(t.times) == 0 {
		err = fmt.Errorf("nothing was done: %w", t.some())
	}
	return t, after.each(before, len(t.times)), err
}

// measureConfirms: confirms per second in one room by the desk, money included, which
// is free.
func measureConfirms(ctx context.Context, b *bench) error {
	for _, n := range []int{1, 64, 1000} {
		f := ShopFigure{Figure: Figure{Unit: "/s", Aim: "report", Name: fmt.Sprintf("confirms in the store, one room, %s callers", count(int64(n)))}}
		if n > 1 {
			f.Aim, f.Met = "≥ 1,500/s", atLeast(1500)
		}
		f.Note = "one seat each; floor: UPDATE admissions, holds, seats, INSERT booked_seats, bookings, two facts, UPDATE stock"
		err := onShop(ctx, b, func(g *shopGround) error {
			return g.withDesk(ctx, func(desk *booking.Booker) error {
				return b.repeat(func() error {
					// What the aim takes in a stretch: holding takes its time too.
					list, err := g.fill(ctx, 1, b.scale(roomSeats), b.scale(3_000))
					if err != nil {
						return err
					}
					if err := g.holdAll(ctx, list, time.Now); err != nil {
						return err
					}
					beside, err := g.measure(ctx, confirmOf, list, n, b.span(stretch))
					if err != nil {
						return err
					}
					t, cost, err := g.confirms(ctx, desk, list, n, b.span(stretch))
					if err != nil {
						return err
					}
					f.add(t, cost, beside)
					return nil
				})
			})
		})
		if err != nil {
			return err
		}
		b.reportShop(f)
	}
	return nil
}

// confirms lets n callers buy what is held.
func (g *shopGround) confirms(ctx context.Context, desk *booking.Booker, list []*shopper, n int, d time.Duration) (tally, spent, error) {
	return g.act(ctx, list, n, d, func(ctx context.Context, s *shopper) error {
		_, err := desk.Confirm(ctx, s.pass, s.hold)
		return err
	})
}

// shopDefaults are the shop's flags as they are when nobody sets one, and with args.
func shopDefaults(args ...string) (config boxoffice.Config, err error) {
	parser, err := kong.New(&config)
	if err == nil {
		_, err = parser.Parse(args)
	}
	return config, err
}

// discard is a Kafka that acknowledges at once and keeps nothing.
type discard struct{}

func (discard) Publish(context.Context, []events.Record) error { return nil }

// withDesk runs a desk with its loops while do runs.
func (g *shopGround) withDesk(ctx context.Context, do func(*booking.Booker) error) error {
	config, err := shopDefaults()
	if err != nil {
		return err
	}
	desk, err := booking.New(ctx, config.Booking, booking.Parts{DB: g.db, Publisher: discard{}, Gateway: booking.FreeGateway{},
		Now: time.Now, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	loops, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- desk.Run(loops) }() // ends with loops, and is waited for below
	err = do(desk)
	stop()
	return errors.Join(err, <-ended)
}

// plural is "1 room", "8 rooms".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(int64(n)) + " " + what + "s"
}
