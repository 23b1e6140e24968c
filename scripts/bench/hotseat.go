package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"waitroom/internal/wire"
)

// hotAnswer is what all but one are told.
const hotAnswer = "409 " + string(wire.SeatTaken)

// hotHolders want the same seat at the same moment.
const hotHolders = 1_000

// measureHotSeat: a crowd that asks for one seat, all at once, each on a connection of
// its own: one gets it, and all others are told that it is taken. The figure is the
// time until the last has been answered; a row in which anything else was answered is
// an error.
func measureHotSeat(ctx context.Context, b *bench) error {
	n := b.scale(hotHolders)
	f := EdgeFigure{what: toHold, Figure: Figure{Name: fmt.Sprintf("one seat, %s holders at once over HTTP, until the last is answered", count(int64(n))), Aim: "one 201, all others 409", Unit: "ms"}}
	ok := true
	err := onShop(ctx, b, func(g *shopGround) error {
		return b.repeat(func() error {
			return g.try(ctx, n, n, false, func(t *trial) error {
				floor, err := g.rawHotSeat(ctx, t.list)
				if err != nil {
					return err
				}
				for _, s := range t.list {
					s.seat = "A-1"
				}
				crowd, err := g.send(ctx, t.list)
				if err != nil {
					return err
				}
				defer crowd.end()
				// Due at once: a microsecond apart.
				d, cost, err := g.through(t.shop, crowd, Task{What: toHold, Count: n, Connections: n, PerSecond: 1e6, Span: patience})
				if err != nil {
					return err
				}
				ok = ok && d.Acts[toHold].N == 1 && d.Others[hotAnswer] == n-1
				f.Runs, f.Floor = append(f.Runs, d.TookUS/1e3), append(f.Floor, floor)
				f.deeds, f.costs = append(f.deeds, d), append(f.costs, cost)
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	f.expected = hotAnswer
	f.Met = func(float64, float64) bool { return ok }
	f.Note = "default flags, known passes; the times are the winner's; floor: UPDATE admissions and UPDATE seats by as many at once, rolled back where the seat was taken"
	b.reportEdge(f)
	return nil
}

// rawHotSeat is the floor: how long the same crowd takes by the statements alone, in
// ms. One wins there too, or it is no floor.
func (g *shopGround) rawHotSeat(ctx context.Context, list []*shopper) (float64, error) {
	if err := g.mirror(ctx, inTrips, list[0].pass.Room); err != nil {
		return 0, err
	}
	var won atomic.Int64
	t := callers(ctx, len(list), len(list), rowLimit, func(ctx context.Context, i int) error {
		one := *list[i]
		one.seat = "A-1"
		s := holdOf(inTrips, []*shopper{&one})
		tx, err := g.floor.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		for j, query := range s.queries[:2] {
			result, err := tx.ExecContext(ctx, query, s.args[j]...)
			if err != nil {
				return err
			}
			if matched, err := result.RowsAffected(); err != nil || matched == 0 {
				return err
			}
		}
		won.Add(1)
		return tx.Commit()
	})
	if won.Load() != 1 {
		return 0, errors.Join(fmt.Errorf("the floor: %d got the seat, want one", won.Load()), t.some())
	}
	return t.took.Seconds() * 1e3, t.some()
}
