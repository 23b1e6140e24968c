package outbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
)

// Bounds of the publisher.
const (
	// pollEvery is how soon the booker that carries finds the facts of the others: one
	// read of the table's beginning, 0.2 ms. Its own it carries at once.
	pollEvery = 25 * time.Millisecond
	// gather lies between the word that there are facts and the look: one batch for
	// what is committed together.
	gather = 5 * time.Millisecond
	// lookEvery is how often each booker asks who carries, and how deep the table is.
	lookEvery = time.Second
	// After a look or a step that failed, doubling. Attempts have no bound: meanwhile the
	// facts wait in the table, whose bound is the disk. It fills slowly, since the same
	// Kafka is needed to admit more visitors.
	pauseFirst = 100 * time.Millisecond
	pauseMost  = 5 * time.Second
	// tiredAfter is how long a booker that can publish nothing keeps the lease. Then it
	// gives it up, carries until somebody takes it, and takes it again when nobody has for
	// politeFor.
	tiredAfter = 5 * time.Second
	politeFor  = 2 * time.Second
	// stopLimit is how long a stop goes on publishing, giveLimit what giving up the lease
	// may take: together less than the 3.5 s that the loops have when the requests of a
	// stop took all of their time.
	stopLimit = 2500 * time.Millisecond
	giveLimit = 500 * time.Millisecond
)

// leaseName is the row of who carries facts.
const leaseName = "facts"

// Publisher is Kafka.
type Publisher interface {
	// Publish returns nil when all records are acknowledged by all replicas. Otherwise
	// an *events.Unpublished says which are not; any other error, that none is.
	Publish(ctx context.Context, records []events.Record) error
	// Partitions is how many a topic has; a key's is the rest of events.Spread by it.
	Partitions(ctx context.Context, topic string) (int, error)
}

// Outbox carries facts from the table to Kafka. Every booker runs one.
type Outbox struct {
	to    Publisher
	db    *sqldb.DB
	facts *table
	old   *table
	lease *lease
	now   func() time.Time // the seats' clock, which dates the facts
	log   *zap.Logger
	met   *metrics
	told  logs
	news  chan struct{} // of one: a fact was committed by this process

	leading atomic.Bool // this process carries; written by Run's goroutine

	// Owned by Run's goroutine.
	stuck  stuck
	tried  chan tried // of triesMost, so that no try waits for Run
	tries  sync.WaitGroup
	trying int       // tries whose outcome is not read from tried yet, those of a time before this one too
	failed time.Time // since when nothing could be published; zero: it can
	polite time.Duration
}

// New makes an outbox on a database whose tables are there once it runs.
func New(db *sqldb.DB, to Publisher, now func() time.Time, log *zap.Logger, reg prometheus.Registerer) *Outbox {
	facts, old := newTable(db), newOldTable(db)
	facts.twin, old.twin = old, facts
	return &Outbox{to: to, db: db, facts: facts, old: old, lease: newLease(db, leaseName), now: now, log: log,
		met: newMetrics(reg), told: newLogs(log), news: make(chan struct{}, 1), stuck: stuck{}, tried: make(chan tried, triesMost)}
}

// Poke says that there are facts. It never blocks.
func (o *Outbox) Poke() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// Run carries facts until ctx ends. Then it goes on until writers is closed, which says
// that this process writes no more (nil: it is closed), and until every fact that was
// there then is published, by this process or another, for 2.5 s at most; and gives up
// the lease. It returns when every goroutine of it has ended, 5 s after ctx at the latest:
// a statement that a server does not answer is left a second after its context.
func (o *Outbox) Run(ctx context.Context, writers <-chan struct{}) {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	last, endLast := context.WithCancel(context.WithoutCancel(ctx))
	defer endLast()
	defer context.AfterFunc(ctx, func() { // the timers end with their limits at the latest, for nothing
		time.AfterFunc(stopLimit, end)
		time.AfterFunc(stopLimit+giveLimit, endLast)
	})()
	var old sync.WaitGroup
	old.Go(func() { o.carryOldOnes(ctx, work) })

	var looked, retry time.Time // retry: not before is the next step, after one that failed
	pause := pauseFirst
	for ctx.Err() == nil {
		if time.Since(looked) >= lookEvery {
			looked = time.Now()
			o.told.look.Note(ctx, o.look(work))
		}
		wait, news := lookEvery-time.Since(looked), (<-chan struct{})(nil)
		switch {
		case !o.leading.Load():
		case time.Now().Before(retry): // what came of a try, or a lane that is due, is no reason to knock sooner
			o.trySome(work)
			wait = min(wait, time.Until(retry))
		default:
			n, err := o.step(work)
			o.told.step.Note(ctx, err)
			switch {
			case err != nil:
				rest := pause/2 + rand.N(pause) // nor are more facts
				wait, retry = min(wait, rest), time.Now().Add(rest)
				pause = min(2*pause, pauseMost)
			case n == batchRows: // there may be more
				wait, pause = 0, pauseFirst
			default:
				wait, pause, news = pollEvery, pauseFirst, o.news
			}
		}
		if o.await(ctx, wait, news) {
			o.await(ctx, gather, nil)
		}
	}
	old.Wait()
	o.flush(work, writers)
	end()
	o.tries.Wait()
	o.leave(last)
}

// leave says what is left, and gives up the lease.
func (o *Outbox) leave(ctx context.Context) {
	n, err := o.facts.depth(ctx)
	o.told.look.Note(ctx, err)
	if err == nil && n > 0 {
		o.log.Warn("facts of the shop are left in the database: another booker publishes them, or the next start", zap.Int64("count", n))
	}
	if o.leading.Swap(false) {
		o.told.look.Note(ctx, o.lease.give(ctx)) // or it is over by itself in some seconds
	}
	o.met.leading.Set(0)
}

// await waits, and settles what was tried meanwhile. true says that there are facts.
func (o *Outbox) await(ctx context.Context, wait time.Duration, news <-chan struct{}) bool {
	if next, any := o.stuck.next(); any && o.trying < triesMost {
		wait = min(wait, time.Until(next))
	}
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-news:
		return true
	case t := <-o.tried:
		o.settle(ctx, t)
	case <-timer.C:
	}
	return false
}

// look asks who carries, and how much there is to carry.
func (o *Outbox) look(ctx context.Context) error {
	err := o.ask(ctx)
	if err != nil && !errors.Is(err, errUndeleted) {
		_ = o.facts.doubt(err) // whatever the question was
	}
	return err
}

func (o *Outbox) ask(ctx context.Context) error {
	if o.leading.Load() && !o.failed.IsZero() && time.Since(o.failed) > tiredAfter {
		o.polite, o.failed = politeFor, time.Time{}
		if err := o.lease.give(ctx); err != nil {
			return err
		}
	} else {
		mine, given, err := o.lease.take(ctx, o.polite)
		if err != nil {
			return err // whoever carries goes on
		}
		// Who gave it goes on until somebody takes it: for all that it knows nobody can
		// carry better, and a partition that is well may have a fact meanwhile.
		o.lead(ctx, mine || given && o.leading.Load())
	}
	if o.leading.Load() {
		for _, l := range o.stuck {
			l.past = false
		}
		// The step says when they are too many; what is left to ask here does not depend on it.
		if err := o.adopt(ctx); err != nil && !errors.Is(err, errTooManyStuck) {
			return err
		}
		if err := o.facts.again(ctx); err != nil {
			return err
		}
		if err := o.old.again(ctx); err != nil {
			return err
		}
	}
	return o.measure(ctx)
}

func (o *Outbox) lead(ctx context.Context, mine bool) {
	if o.leading.Swap(mine) == mine {
		return
	}
	o.failed = time.Time{}
	if mine {
		o.met.leading.Set(1)
		return
	}
	o.met.leading.Set(0)
	clear(o.stuck) // a try under way ends by itself, and is settled for nobody
	o.met.stuck.Set(0)
	o.told.step.Over(ctx) // nothing of it is tried here any more
	o.told.tries.Over(ctx)
	o.told.kafka.Over(ctx)
}

// measure reads how many facts wait, and since when the oldest does.
func (o *Outbox) measure(ctx context.Context) error {
	first, err := oldest(ctx, o.db)
	if err != nil {
		return err
	}
	left, err := o.old.read(ctx, 1, rows{})
	if err != nil {
		return err
	}
	if len(left) > 0 {
		if t := at(left[0].record); first.IsZero() || t.Before(first) {
			first = t
		}
	}
	var depth int64
	if !first.IsZero() {
		for _, t := range []*table{o.facts, o.old} {
			n, err := t.depth(ctx)
			if err != nil {
				return err
			}
			depth += n
		}
	}
	o.met.outbox.Set(float64(depth))
	if depth == 0 {
		first = o.now()
	}
	o.met.oldest.Set(max(0, o.now().Sub(first).Seconds()))
	return nil
}

// flush publishes until nothing is left that was there when writers was closed.
func (o *Outbox) flush(ctx context.Context, writers <-chan struct{}) {
	last := int64(-1) // not known yet
	for ; ctx.Err() == nil; o.await(ctx, gather, nil) {
		if !o.leading.Load() {
			mine, _, err := o.lease.take(ctx, 0)
			o.told.look.Note(ctx, err)
			if err == nil {
				o.lead(ctx, mine)
			}
		}
		if o.leading.Load() {
			err := o.adopt(ctx)
			if err == nil || errors.Is(err, errTooManyStuck) { // the step tries some of them
				_, err = o.step(ctx)
			}
			if o.told.step.Note(ctx, err); err != nil {
				o.await(ctx, pauseFirst, nil)
				continue
			}
		}
		if writers != nil && !isClosed(writers) {
			continue
		}
		var err error
		if last < 0 {
			if last, err = o.facts.last(ctx); err != nil {
				last = -1
				o.told.look.Note(ctx, err)
				continue
			}
		}
		first, err := o.facts.first(ctx)
		o.told.look.Note(ctx, err)
		if err == nil && (first == 0 || first > last) {
			if o.leading.Load() {
				_, _ = o.carryOld(ctx) // it is there when this fails, for whoever carries next
			}
			return
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
