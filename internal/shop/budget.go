package shop

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// The places of each kind: how many of its requests are with the desk at once. The
// others wait in order of arrival, so that a slow map never costs a confirm.
//
// The database's pool has 32 connections. A pass is read with one, so its places are
// connections: 8. Holds and purchases are gathered by the desk, which decides them in 16
// transactions at once; who waits there has no connection, so their places bound memory
// and nothing else. 8 are left for the maps and the loops. The map itself has no places: it
// is answered out of memory, and who may read it bounds itself.
//
// A purchase reads its hold before it is gathered, in its turn at the pool. It has as many
// places as a hold: fewer would be taken by one room whose counter somebody has locked.
const (
	readPlaces    = 8
	holdPlaces    = 1024
	confirmPlaces = 1024
)

// Why a request is not served.
var (
	errCrowd    = errors.New("more requests wait than --max-calls allows")
	errPatience = errors.New("requests waited for as long as --patience")
)

// budget is the places of one kind.
type budget struct {
	// set once
	kind     string
	places   *semaphore.Weighted // serves who waits in order of arrival
	most     int64               // with those that wait
	patience time.Duration
	shown    prometheus.Gauge // inside, for the operator

	inside atomic.Int64
}

func newBudget(kind string, places int, c Config, shown prometheus.Gauge) *budget {
	return &budget{kind: kind, places: semaphore.NewWeighted(int64(places)), most: int64(c.MaxCalls), patience: c.Patience, shown: shown}
}

// enter waits for a place, which leave gives back. At most requests it is refused at
// once.
func (b *budget) enter(ctx context.Context) error {
	if b.count(1) > b.most {
		b.count(-1)
		return errCrowd
	}
	if b.places.TryAcquire(1) {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	if b.places.Acquire(wait, 1) == nil {
		return nil
	}
	b.count(-1)
	if err := ctx.Err(); err != nil {
		return err
	}
	return errPatience
}

func (b *budget) leave() {
	b.places.Release(1)
	b.count(-1)
}

// count counts one more or less, and returns how many there are.
func (b *budget) count(change int64) int64 {
	b.shown.Add(float64(change))
	return b.inside.Add(change)
}
