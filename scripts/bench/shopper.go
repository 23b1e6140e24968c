package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// shopper is a visitor with a pass that nobody has used, and the seat it wants.
type shopper struct {
	pass token.Pass
	seat seat.ID
	hold seat.HoldID // once it holds the seat
}

// admit makes n passes of a room and lets the shop know them, as Kafka does before
// their visitors come. Nobody wants another's seat: they are shared out at random
// among seats, of which there are enough.
func (g *shopGround) admit(ctx context.Context, name room.Name, seats []seat.ID, n int) ([]*shopper, error) {
	if n > len(seats) {
		return nil, fmt.Errorf("%d shoppers for %d seats", n, len(seats))
	}
	epoch, now := room.NewEpoch(), time.Now()
	order := rand.Perm(len(seats))
	list := make([]*shopper, n)
	admitted := make([]events.Admitted, n)
	for i := range list {
		a := room.Admission{Room: name, Epoch: epoch, Number: room.Number(i + 1), Visitor: room.NewVisitorID()}
		list[i] = &shopper{pass: token.Pass{Admission: a, Expires: now.Add(room.MaxPass)}, seat: seats[order[i]]}
		admitted[i] = events.Admitted{ID: a.String(), Room: name, Epoch: epoch, Number: a.Number, Visitor: a.Visitor, AdmittedAtUS: now.UnixMicro()}
	}
	return list, g.store.Admit(ctx, admitted, now)
}

// room makes a room with so many seats.
func (g *shopGround) room(ctx context.Context, count int) (room.Name, []seat.ID, error) {
	g.rooms++
	name := room.Name("bench-" + strconv.Itoa(g.rooms))
	seats, err := seat.Generate(count, 100)
	if err == nil {
		_, err = g.store.AddSeats(ctx, name, seats)
	}
	return name, seats, err
}

// fill makes rooms of so many seats each, and shoppers for all of them, in turn of
// this and that room.
func (g *shopGround) fill(ctx context.Context, rooms, seats, shoppers int) ([]*shopper, error) {
	all := make([]*shopper, shoppers)
	for i := range rooms {
		name, ids, err := g.room(ctx, seats)
		if err != nil {
			return nil, err
		}
		some, err := g.admit(ctx, name, ids, (shoppers-i+rooms-1)/rooms)
		if err != nil {
			return nil, err
		}
		for j, s := range some {
			all[j*rooms+i] = s
		}
	}
	return all, nil
}

// holdAll lets every shopper hold its seat, in the store.
func (g *shopGround) holdAll(ctx context.Context, list []*shopper, now func() time.Time) error {
	t := callers(ctx, 64, len(list), rowLimit, func(ctx context.Context, i int) error {
		h, _, err := g.store.Hold(ctx, list[i].pass, []seat.ID{list[i].seat}, now())
		list[i].hold = h.ID
		return err
	})
	return t.all(len(list))
}

// tally is what callers did.
type tally struct {
	took   time.Duration
	times  []float64 // of each act that was done, in ms
	failed int
	first  error // of those that failed
}

// all is an error unless n acts were done and none failed.
func (t tally) all(n int) error {
	if t.failed == 0 && len(t.times) < n {
		return fmt.Errorf("%d of %d done in %s", len(t.times), n, t.took)
	}
	return t.some()
}

// some is an error if any act failed.
func (t tally) some() error {
	if t.failed > 0 {
		return fmt.Errorf("%d failed, the first: %w", t.failed, t.first)
	}
	return nil
}

func (t tally) perSecond() float64 { return float64(len(t.times)) / t.took.Seconds() }

// at is a quantile in ms.
func (t tally) at(q float64) float64 { return quantile(t.times, q) }

// callers lets n callers do the acts, one after the other each, until all are done,
// d is over or ctx has ended. It returns when the last act under way has ended.
func callers(ctx context.Context, n, acts int, d time.Duration, act func(ctx context.Context, i int) error) (t tally) {
	t.times = make([]float64, acts)
	var next atomic.Int64
	var all sync.WaitGroup
	var mu sync.Mutex // of failed and first
	began := time.Now()
	for range n {
		all.Go(func() {
			for time.Since(began) < d {
				i := int(next.Add(1) - 1)
				if i >= acts || ctx.Err() != nil {
					return
				}
				start := time.Now()
				if err := act(ctx, i); err != nil {
					mu.Lock()
					if t.failed++; t.failed == 1 {
						t.first = err
					}
					mu.Unlock()
					continue
				}
				t.times[i] = max(time.Since(start).Seconds()*1e3, 1e-6) // 0 is not done
			}
		})
	}
	all.Wait()
	t.took = time.Since(began)
	t.times = slices.DeleteFunc(t.times, func(ms float64) bool { return ms == 0 })
	return t
}

// onTime begins an act each time one is due, at so many a second, whatever became of
// those before, and tells it when that was: its time runs from then on, also when
// this machine, or what the act waits for, was late. The acts' ctx ends after the
// limit. It returns when all have ended.
func onTime(ctx context.Context, perSecond float64, acts int, limit time.Duration, act func(ctx context.Context, i int, due time.Time) error) (t tally) {
	t.times = make([]float64, acts)
	var all sync.WaitGroup
	var mu sync.Mutex // of failed and first
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if t.failed++; t.failed == 1 {
			t.first = err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	for i := range acts {
		due := began.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		if d := time.Until(due); d > 0 && pause(ctx, d) != nil {
			fail(ctx.Err())
			break
		}
		all.Go(func() {
			if err := act(ctx, i, due); err != nil {
				fail(err)
				return
			}
			t.times[i] = max(time.Since(due).Seconds()*1e3, 1e-6) // 0 is not done
		})
	}
	all.Wait()
	t.took = time.Since(began)
	t.times = slices.DeleteFunc(t.times, func(ms float64) bool { return ms == 0 })
	return t
}
