package outbox

import (
	"context"
	"time"
)

// Look asks who carries, and measures.
func (o *Outbox) Look(ctx context.Context) error { return o.look(ctx) }

// Step is one look at the tables by who carries.
func (o *Outbox) Step(ctx context.Context) (int, error) {
	old, err := o.carryOld(ctx)
	if err != nil {
		return 0, err
	}
	n, err := o.step(ctx)
	return old + n, err
}

// Leads says that this process carries.
func (o *Outbox) Leads() bool { return o.leading.Load() }

// Depth is how many facts wait.
func (o *Outbox) Depth(ctx context.Context) (int64, error) {
	n, err := o.facts.depth(ctx)
	if err != nil {
		return 0, err
	}
	old, err := o.old.depth(ctx)
	return n + old, err
}

// Clock has now date the facts.
func (o *Outbox) Clock(now func() time.Time) { o.now = now }

// Deletes are the statements that delete rows.
func Deletes(table string, ids []int64) []string {
	return []string{lockByKey(table, ids), deleteByKey(table, ids)}
}

// Lease is a lease of another process.
func (o *Outbox) Lease() *lease { return newLease(o.db, leaseName) }

// Take takes it.
func (l *lease) Take(ctx context.Context, polite time.Duration) (bool, error) {
	return l.take(ctx, polite)
}

// Give gives it back.
func (l *lease) Give(ctx context.Context) error { return l.give(ctx) }
