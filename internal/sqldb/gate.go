package sqldb

import (
	"context"
	"fmt"
	"sync/atomic"
)

// mostWaiting bounds who waits for a connection: at 1,000 short transactions a second
// that is a wait of 4 s, longer than a visitor's patience and shorter than one's own
// memory of it.
const mostWaiting = 4096

// gate lets as many pass at once as there is room for, and the others in the order in
// which they came. database/sql serves whoever waits at random, so under load some wait
// for as long as the load lasts.
type gate struct {
	// inside has a token of each who is inside. A channel that is full serves its
	// senders in order.
	inside  chan struct{}
	waiting atomic.Int64
}

func newGate(room int) *gate { return &gate{inside: make(chan struct{}, room)} }

// enter waits until there is room or ctx ends. Who has entered leaves.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return ended(ctx, "before a connection was asked for")
	}
	select {
	case g.inside <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > mostWaiting {
		return fmt.Errorf("%w: %d wait for a connection already", ErrAway, mostWaiting)
	}
	select {
	case g.inside <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ended(ctx, "while waiting for a connection")
	}
}

func (g *gate) leave() { <-g.inside }
