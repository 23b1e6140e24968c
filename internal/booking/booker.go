package booking

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outage"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// consume hands batches of records to handle until ctx ends and commits their
// offsets after nil; after an error the same batch comes again.
type consume func(ctx context.Context, handle func(context.Context, []events.Record) error) error

type publisher interface {
	// Publish returns nil when all records are acknowledged by all replicas.
	Publish(ctx context.Context, records []events.Record) error
}

// Parts are what a Booker is made of. The caller closes them after Run.
type Parts struct {
	DB        *sqldb.DB
	Publisher publisher // of dead letters
	Wrote     func()    // called after a commit that put facts in the outbox; it does not block
	Consume   consume   // the topics of Reads; nil: admissions come by pass only
	Gateway   Gateway
	Now       func() time.Time // the seats' clock; nil: time.Now
	Log       *zap.Logger
	Metrics   prometheus.Registerer
}

// Booker is the shop without its edge: what visitors do with a pass, on the seats'
// clock, and the loops.
type Booker struct {
	config  Config
	store   *Store
	clock   *seatsClock
	publish publisher
	consume consume
	gateway Gateway
	keys    inHand
	events  *saleEvents
	log     *zap.Logger
	met     *metrics
	unsafe  *outage.Log // the database's settings
}

// New migrates the database and checks the clock against it: a skew above 2 s is
// seat.ErrSkew.
func New(ctx context.Context, config Config, p Parts) (*Booker, error) {
	store, err := NewStore(ctx, p.DB, config.Rules(), func(migration string, running time.Duration) {
		if running == 0 {
			return // most take milliseconds
		}
		p.Log.Info("the database's tables are being changed; other bookers go on meanwhile", zap.String("migration", migration), zap.Duration("running", running))
	})
	if err != nil {
		return nil, err
	}
	if p.Wrote != nil {
		store.wrote = p.Wrote
	}
	met := newMetrics(p.Metrics)
	clock := newSeatsClock(p.Now, p.DB.Now, p.Log, met)
	if p.Now == nil {
		clock.others = &moments{store}
	}
	if err := clock.begin(ctx); err != nil {
		return nil, err
	}
	b := &Booker{config: config, store: store, clock: clock, publish: p.Publisher, consume: p.Consume, gateway: p.Gateway, keys: inHand{keys: map[string]bool{}},
		events: newSaleEvents(store), log: p.Log, met: met,
		unsafe: outage.New(outage.Config{Log: p.Log, Down: "the database's settings risk what visitors were told", Up: "the database's settings are safe"})}
	store.rules.Line = b.events.line
	if _, err := b.events.look(ctx); err != nil { // so that the first page has them
		return nil, err
	}
	return b, nil
}

// Now is the seats' clock.
func (b *Booker) Now() time.Time { return b.clock.at() }

// Ending is the seats' clock for who deletes by it, which can't be taken back: false while it
// can't be trusted, and while a booker that started may still hear that it is wrong.
func (b *Booker) Ending() (now time.Time, sure bool) { return b.clock.ending() }

// PassTime is the clock by which a pass ends.
func (b *Booker) PassTime() time.Time { return b.clock.passTime() }

// Did counts what a visitor with a pass did, or the code of a refusal.
func (b *Booker) Did(name room.Name, cause string) {
	b.met.acts.WithLabelValues(string(name), cause).Inc()
}

// Hold is Store.Hold on the seats' clock.
func (b *Booker) Hold(ctx context.Context, pass token.Pass, seats []seat.ID) (h seat.Hold, fresh bool, err error) {
	return b.Once(Key{}).Hold(ctx, pass, seats)
}

// Extend is Store.Extend on the seats' clock.
func (b *Booker) Extend(ctx context.Context, pass token.Pass, id seat.HoldID) (seat.Hold, error) {
	return b.Once(Key{}).Extend(ctx, pass, id)
}

// Release is Store.Release on the seats' clock.
func (b *Booker) Release(ctx context.Context, pass token.Pass, id seat.HoldID) error {
	return b.Once(Key{}).Release(ctx, pass, id)
}

// Leave is Store.Leave on the seats' clock.
func (b *Booker) Leave(ctx context.Context, pass token.Pass) error {
	return b.store.Leave(ctx, pass, b.clock.at())
}

// Visit is Store.Visit.
func (b *Booker) Visit(ctx context.Context, pass token.Pass) (Visit, error) {
	return b.store.Visit(ctx, pass)
}

// Seats is Store.Seats.
func (b *Booker) Seats(ctx context.Context, name room.Name) ([]seat.Seat, error) {
	return b.store.Seats(ctx, name)
}

// Run runs the loops until ctx ends and returns when all of them have ended. The
// servers behind may go away and come back meanwhile; only a consumer that cannot
// run at all ends it early, with its error.
func (b *Booker) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var loops sync.WaitGroup
	loops.Go(func() { b.every(ctx, b.config.Sweep, "expiring holds", b.expire) })
	loops.Go(func() { b.every(ctx, stockEvery, "telling what is left of the seats", b.tellStock) })
	loops.Go(func() { b.every(ctx, captureEvery, "capturing payments", b.capture) })
	loops.Go(func() { b.every(ctx, eventsEvery, "reading what the sales are for", b.events.look) })
	loops.Go(func() { b.every(ctx, purgeEvery, "forgetting old rows", b.purge) })
	loops.Go(func() { b.every(ctx, settingsEvery, "reading the database's settings", b.settings) })
	loops.Go(func() {
		b.every(ctx, clockEvery, "checking the clock", func(ctx context.Context) (bool, error) { return false, b.clock.check(ctx) })
	})
	if b.consume != nil {
		loops.Go(func() {
			if err := b.consume(ctx, b.Consume); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	loops.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
