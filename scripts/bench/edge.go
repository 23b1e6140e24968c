package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// edgeColumns is the head of the table of what goes through HTTP.
const edgeColumns = "figure | aim | median | least – greatest | p50, p95, p99, max in ms | answers besides | floor | processor time of one, in µs: booker + database + buyers | processors idle | note"

// EdgeFigure is one row of it.
type EdgeFigure struct {
	Figure
	what     string // whose times are shown
	expected string // an answer that is no success and yet right
	deeds    []Deeds
	costs    []edgeCost
}

// edgeCost is processor time in µs, and the share of all processors that was idle.
type edgeCost struct{ booker, db, buyers, idle float64 }

func (b *bench) reportEdge(f EdgeFigure) {
	others := map[string]int{} // of all runs
	for _, d := range f.deeds {
		for word, n := range d.Others {
			others[word] += n
		}
	}
	var besides []string
	sentAway := false
	for word, n := range others {
		sentAway = sentAway || word != f.expected
		besides = append(besides, count(int64(n))+" × "+word)
	}
	slices.Sort(besides)
	if besides == nil {
		besides = []string{"none"}
	}
	if f.Met != nil && sentAway {
		f.Met = func(float64, float64) bool { return false } // who was sent away was not served
	}
	at := middle(f.Runs)
	d, cost := f.deeds[at], f.costs[at]
	t := d.Acts[f.what]
	n := d.Others[f.expected] // requests that were answered as they should
	for _, one := range d.Acts {
		n += one.N
	}
	each := func(us float64) float64 { return us / float64(max(1, n)) }
	b.table.print(edgeColumns, cells(append(f.head(),
		fmt.Sprintf("%s, %s, %s, %s", number(t.P50), number(t.P95), number(t.P99), number(t.Max)),
		strings.Join(besides, ", "), f.beside(),
		fmt.Sprintf("%.0f + %.0f + %.0f", each(cost.booker), each(cost.db), each(cost.buyers)),
		fmt.Sprintf("%.0f %%", 100*cost.idle), f.Note+"; load "+load())...))
}

// through has the buyers do a task at a booker, and says what it cost.
func (g *shopGround) through(shop *booker, crowd *proc, o Task) (d Deeds, c edgeCost, err error) {
	o.Address = shop.address
	var before, after Usage
	if err := shop.ask("usage", &before); err != nil {
		return d, c, err
	}
	spent1, err := g.spent()
	if err != nil {
		return d, c, err
	}
	used1, all1, err := busy()
	if err != nil {
		return d, c, err
	}
	if d, err = task(crowd, o); err != nil {
		return d, c, err
	}
	used2, all2, err := busy()
	if err != nil {
		return d, c, err
	}
	spent2, err := g.spent()
	if err != nil {
		return d, c, err
	}
	if err := shop.ask("usage", &after); err != nil {
		return d, c, err
	}
	return d, edgeCost{after.since(before).CPUUS, spent2.db - spent1.db, d.CPUUS, 1 - (used2-used1)/max(1, all2-all1)}, nil
}

// trial is one booker, and buyers for its shoppers.
type trial struct {
	list  []*shopper
	shop  *booker
	crowd *proc
}

// try runs one of it: shoppers of one room, which hold their seats already if they
// shall.
func (g *shopGround) try(ctx context.Context, seats, shoppers int, holding bool, do func(*trial) error) error {
	list, err := g.fill(ctx, 1, seats, shoppers)
	if err != nil {
		return err
	}
	if holding {
		if err := g.holdAll(ctx, list, time.Now); err != nil {
			return err
		}
	}
	shop, err := g.running(ctx)
	if err != nil {
		return err
	}
	defer shop.end()
	crowd, err := g.send(ctx, list)
	if err != nil {
		return err
	}
	defer crowd.end()
	return do(&trial{list, shop, crowd})
}

// closedLoop: how many requests a second a booker serves, each of its connections
// asking again when it was answered. Its floor is the same statements, a trip each,
// by as many callers.
func closedLoop(ctx context.Context, b *bench, what string, n int, f EdgeFigure, of func(string, []*shopper) statements) error {
	f.what = what
	f.Note += fmt.Sprintf("; one seat each; floor: the statements in a trip each, %d callers, without HTTP", n)
	err := onShop(ctx, b, func(g *shopGround) error {
		return b.repeat(func() error {
			shoppers := 3_000 // twice the goal of confirms in a stretch
			if what == toHold {
				shoppers = roomSeats
			}
			return g.try(ctx, b.scale(roomSeats), b.scale(shoppers), what == toConfirm, func(t *trial) error {
				beside, err := g.trips(ctx, of, t.list, n, b.span(stretch))
				if err != nil {
					return err
				}
				d, cost, err := g.through(t.shop, t.crowd, Task{What: what, Count: len(t.list), Connections: n, Span: b.span(stretch)})
				if err != nil {
					return err
				}
				f.Runs, f.Floor = append(f.Runs, float64(d.Whole)/(d.TookUS/1e6)), append(f.Floor, beside)
				f.deeds, f.costs = append(f.deeds, d), append(f.costs, cost)
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	b.reportEdge(f)
	return nil
}

// measureEdgeHolds: holds per second over HTTP.
func measureEdgeHolds(ctx context.Context, b *bench) error {
	for _, n := range []int{64, 1000} {
		f := EdgeFigure{Figure: Figure{Name: fmt.Sprintf("holds over HTTP, one room, %s connections", count(int64(n))),
			Aim: "≥ 2,000/s, no other answers", Unit: "/s", Met: atLeast(2000), Note: "known passes, fresh and signed"}}
		if err := closedLoop(ctx, b, toHold, n, f, holdOf); err != nil {
			return err
		}
	}
	return nil
}

// measureEdgeConfirms: confirms per second over HTTP in one room.
func measureEdgeConfirms(ctx context.Context, b *bench) error {
	for _, n := range []int{64, 1000} {
		f := EdgeFigure{Figure: Figure{Name: fmt.Sprintf("confirms over HTTP, one room, %s connections", count(int64(n))),
			Aim: "≥ 800/s, no other answers", Unit: "/s", Met: atLeast(800), Note: "held before"}}
		if err := closedLoop(ctx, b, toConfirm, n, f, confirmOf); err != nil {
			return err
		}
	}
	return nil
}

// openRate is how many holds a second come in the open loop, and openSpan for how
// long: a queue that grows shows within it.
const (
	openRate = 1_500
	openSpan = 6 * time.Second
)

// measureOpen: how long a hold takes when they come at a fixed rate, whoever is still
// served: from the moment at which the buyer came.
func measureOpen(ctx context.Context, b *bench) error {
	f := EdgeFigure{what: toHold, Figure: Figure{Name: fmt.Sprintf("open loop at %s holds a second over HTTP, p95", count(openRate)), Aim: "≤ 150 ms, no other answers", Unit: "ms", Met: atMost(150),
		Note: "one room; by the schedule of arrivals, up to 2,000 connections; floor: p95 of the statements in a trip each, by the same schedule, without HTTP"}}
	span := b.span(openSpan)
	n := int(openRate * span.Seconds())
	err := onShop(ctx, b, func(g *shopGround) error {
		return b.repeat(func() error {
			return g.try(ctx, n, n, false, func(t *trial) error {
				if err := g.mirror(ctx, inTrips, t.list[0].pass.Room); err != nil {
					return err
				}
				floor := onTime(ctx, openRate, n, span+giveUp, func(ctx context.Context, i int, _ time.Time) error {
					return tripped(ctx, g.floor, holdOf(inTrips, t.list[i:i+1]))
				})
				if err := floor.some(); err != nil {
					return err
				}
				d, cost, err := g.through(t.shop, t.crowd, Task{What: toHold, Count: n, Connections: 2_000 / b.part, PerSecond: openRate, Span: span})
				if err != nil {
					return err
				}
				f.Runs, f.Floor = append(f.Runs, d.Acts[toHold].P95), append(f.Floor, floor.at(0.95))
				f.deeds, f.costs = append(f.deeds, d), append(f.costs, cost)
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	b.reportEdge(f)
	return nil
}

// closedBuyers come all at once and buy one after the other, for closedSpan.
const (
	closedBuyers = 1_000
	closedSpan   = 5 * time.Second
)

// measureClosed: a thousand connections, on each of which one buyer after the other
// holds and confirms.
func measureClosed(ctx context.Context, b *bench) error {
	name := func(what string) string {
		return fmt.Sprintf("closed loop of %s buyers over HTTP, hold and confirm: p95 of a %s", count(int64(b.scale(closedBuyers))), what)
	}
	f := EdgeFigure{what: toHold, Figure: Figure{Name: name(toHold), Aim: "≤ 600 ms, no other answers", Unit: "ms", Met: atMost(600)}}
	n, connections := b.scale(10_000), b.scale(closedBuyers)
	var buys []string
	then := f
	then.what, then.Name = toConfirm, name(toConfirm)
	err := onShop(ctx, b, func(g *shopGround) error {
		return b.repeat(func() error {
			return g.try(ctx, n, n, false, func(t *trial) error {
				if err := g.mirror(ctx, inTrips, t.list[0].pass.Room); err != nil {
					return err
				}
				holds, confirms, err := g.buyRaw(ctx, t.list, connections, b.span(closedSpan))
				if err != nil {
					return err
				}
				d, cost, err := g.through(t.shop, t.crowd, Task{What: toBuy, Count: n, Connections: connections, Span: b.span(closedSpan)})
				if err != nil {
					return err
				}
				for _, one := range []struct {
					f     *EdgeFigure
					floor []float64
				}{{&f, holds}, {&then, confirms}} {
					one.f.Runs, one.f.Floor = append(one.f.Runs, d.Acts[one.f.what].P95), append(one.f.Floor, quantile(one.floor, 0.95))
					one.f.deeds, one.f.costs = append(one.f.deeds, d), append(one.f.costs, cost)
				}
				buys = append(buys, number(float64(d.Whole)/(d.TookUS/1e6)))
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	f.Note = "one room, default flags; purchases a second in each run: " + strings.Join(buys, ", ") + "; floor: p95 of the same statements in a trip each by as many callers, without HTTP"
	then.Note = f.Note
	b.reportEdge(f)
	b.reportEdge(then)
	return nil
}
