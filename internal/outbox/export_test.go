package outbox

import (
	"context"
	"strings"
	"time"

	"waitroom/internal/sqldb"
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

// Adopt is what each look a second apart does besides: it finds lanes that have rows.
func (o *Outbox) Adopt(ctx context.Context) error { return o.adopt(ctx) }

// TryAll tries every lane that is known, triesMost at most.
func (o *Outbox) TryAll(ctx context.Context) error {
	o.StartTries(ctx)
	return o.SettleTries(ctx)
}

// StartTries begins to.
func (o *Outbox) StartTries(ctx context.Context) {
	for _, l := range o.stuck {
		l.due = time.Time{}
	}
	o.trySome(ctx)
}

// SettleTries waits for those under way.
func (o *Outbox) SettleTries(ctx context.Context) (err error) {
	for o.trying > 0 {
		t := <-o.tried
		o.settle(ctx, t)
		if deletingOf(t.err) != nil {
			err = t.err
		}
	}
	return err
}

// Handover is the lease lost and taken again: what was known of lanes is forgotten.
func (o *Outbox) Handover(ctx context.Context) error {
	o.lead(ctx, true)
	o.lead(ctx, false)
	o.lead(ctx, true)
	return o.adopt(ctx)
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

// Looks are the statements that read lanes, with their values.
func Looks(d sqldb.Dialect) map[string][]any {
	all := map[string][]any{}
	for _, of := range [][]rows{{{}}, {{lane: "t/8/3"}}, {{lane: "t/8/3"}, {where: " AND topic = 't' AND spread % 8 = 3"}}} {
		query, args := selectFacts(d, batchRows, of)
		all[query] = args
	}
	query, args := selectLanes(d, []string{"t/8/3", "t/8/4"})
	all[query] = args
	return all
}

// Deletes are the statements that delete rows.
func Deletes(table string, ids []int64) []string {
	return []string{lockByKey(table, ids), deleteByKey(table, ids)}
}

// Puts are those that put rows aside.
func Puts(ids []int64) []string {
	return []string{laneByKey(sqldb.MySQL, ids), strings.Replace(putByKey(sqldb.MySQL, ids), "?", "'t/8/3'", 1)}
}

// Lease is a lease of another process.
func (o *Outbox) Lease() *lease { return newLease(o.db, leaseName) }

// Take takes it.
func (l *lease) Take(ctx context.Context, polite time.Duration) (bool, error) {
	mine, _, err := l.take(ctx, polite)
	return mine, err
}

// Give gives it back.
func (l *lease) Give(ctx context.Context) error { return l.give(ctx) }
