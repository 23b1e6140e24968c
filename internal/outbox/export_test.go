package outbox

import (
	"context"
	"time"
)

// Step is one look at the table.
func (o *Outbox) Step(ctx context.Context) (int, error) { return o.step(ctx) }

// Depth is about how many facts wait.
func (o *Outbox) Depth(ctx context.Context) (int64, error) { return o.depth(ctx) }

// Clock has now date the facts.
func (o *Outbox) Clock(now func() time.Time) { o.now = now }
