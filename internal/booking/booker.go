package booking

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

type passes interface {
	// ParsePass verifies a pass for room want at now; its errors are token's.
	ParsePass(ctx context.Context, pass string, want room.Name, now time.Time) (token.Pass, error)
}

// consume hands batches of records to handle until ctx ends and commits their
// offsets after nil; after an error the same batch comes again.
type consume func(ctx context.Context, handle func(context.Context, []events.Record) error) error

// Parts are what a Booker is made of. The caller closes them after Run.
type Parts struct {
	DB        *sqldb.DB
	Passes    passes
	Publisher publisher
	Consume   consume // the topics of Reads; nil: admissions come by pass only
	Gateway   Gateway
	Now       func() time.Time // the seats' clock; nil: time.Now
	Page      http.Handler     // the seat page and its assets; nil: none
	Prefix    string           // of every path, "" or "/tickets"
	Log       *zap.Logger
	Metrics   prometheus.Registerer
}

// Booker is the shop: its HTTP side and its loops.
type Booker struct {
	config  Config
	store   *Store
	clock   *seatsClock
	passes  passes
	publish publisher
	consume consume
	gateway Gateway
	outbox  *outbox
	maps    *seatMaps
	events  *saleEvents
	page    http.Handler
	prefix  string
	log     *zap.Logger
	met     *metrics
	refused *outage.Log   // requests answered 503
	calls   chan struct{} // one token per request in service

	mu   sync.Mutex
	bare map[room.Name]bool // rooms without seats that were logged, mapRooms at most; guarded by mu
}

// New migrates the database and checks the clock against it: a skew above 2 s is
// seat.ErrSkew.
func New(ctx context.Context, config Config, p Parts) (*Booker, error) {
	if p.Now == nil {
		p.Now = time.Now
	}
	store, err := NewStore(ctx, p.DB, config.Rules())
	if err != nil {
		return nil, err
	}
	met := newMetrics(p.Metrics)
	clock := newSeatsClock(p.Now, p.DB.Now, p.Log, met)
	if err := clock.check(ctx); err != nil {
		return nil, err
	}
	if _, err := clock.time(); err != nil {
		return nil, err
	}
	b := &Booker{
		config: config, store: store, clock: clock, passes: p.Passes, publish: p.Publisher, consume: p.Consume,
		gateway: p.Gateway, page: p.Page, prefix: p.Prefix, log: p.Log, met: met,
		outbox: &outbox{store: store, to: p.Publisher, met: met, now: p.Now, news: make(chan struct{}, 1), away: outage.New(outage.Config{
			Log: p.Log, Down: "facts of the shop cannot be published; trying again", Up: "facts of the shop are published again"})},
		maps: newSeatMaps(store.Seats), events: newSaleEvents(store), calls: make(chan struct{}, config.MaxCalls),
		bare: map[room.Name]bool{},
		// No end is noted: what one request finds, another one may not need.
		refused: outage.New(outage.Config{Log: p.Log, Quiet: refusedQuiet, Down: "requests can't be served now, visitors are told to come back"}),
	}
	store.wrote = b.outbox.poke
	if _, err := b.events.look(ctx); err != nil { // so that the first page has them
		return nil, err
	}
	return b, nil
}

// Run runs the loops until ctx ends and returns when all of them have ended. The
// servers behind may go away and come back meanwhile; only a consumer that cannot
// run at all ends it early, with its error.
func (b *Booker) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var loops sync.WaitGroup
	loops.Go(func() { b.outbox.run(ctx) })
	loops.Go(func() { b.every(ctx, b.config.Sweep, "expiring holds", b.expire) })
	loops.Go(func() { b.every(ctx, captureEvery, "capturing payments", b.capture) })
	loops.Go(func() { b.every(ctx, eventsEvery, "reading what the sales are for", b.events.look) })
	loops.Go(func() { b.every(ctx, purgeEvery, "forgetting old rows", b.purge) })
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

// settleLimit bounds what follows a confirm whose visitor may be gone already.
const settleLimit = 10 * time.Second

// Confirm buys the seats of a hold: authorise the money, book the seats, capture
// the money; void it if the seats were lost meanwhile. Confirming again what is
// confirmed answers the same booking.
func (b *Booker) Confirm(ctx context.Context, pass token.Pass, id seat.HoldID) (Booking, error) {
	now, err := b.clock.time()
	if err != nil {
		return Booking{}, err
	}
	h, err := b.store.hold(ctx, pass, id)
	switch {
	case err != nil:
		return Booking{}, err
	case h.State == confirmed:
		return Booking{Hold: h.ID, Seats: h.seats()}, nil
	case h.State != live || b.store.lapsed(h, now):
		return Booking{}, seat.ErrHoldEnded
	}
	ref, err := b.gateway.Authorise(ctx, Charge{ID: string(seat.NewHoldID()), Pass: pass.Admission, Hold: h.ID, Seats: h.seats()})
	if err != nil {
		return Booking{}, err
	}
	now, err = b.clock.time() // authorising takes its time
	if err == nil {
		err = b.store.confirm(ctx, pass, h, ref, now)
	}
	// From here on the visitor's patience is not asked: the money is reserved.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	if err == nil {
		b.settle(ctx, h, ref)
		return Booking{Hold: h.ID, Seats: h.seats()}, nil
	}
	return b.lost(ctx, h, ref, err)
}

// lost settles a confirm that did not succeed. An unsure commit is looked up; if
// it is not there now it may still be on its way, so its money is neither taken
// nor given back: the sweeper captures it, or it lapses.
func (b *Booker) lost(ctx context.Context, h holdRow, ref string, cause error) (Booking, error) {
	booking, found, err := b.store.booking(ctx, h)
	switch {
	case err == nil && found && booking.payment == ref:
		b.settle(ctx, h, ref)
		return booking, nil
	case errors.Is(cause, sqldb.ErrUnsure) && (err != nil || !found):
		return Booking{}, cause
	}
	if err := b.gateway.Void(ctx, ref); err != nil {
		b.met.failed.WithLabelValues("voiding a payment").Inc()
		b.log.Warn("payment was not voided and will lapse", zap.String("hold", string(h.ID)), zap.Error(err))
	}
	switch {
	case err == nil && found: // another confirm of the same hold was first
		return booking, nil
	case errors.Is(cause, errLost):
		return Booking{}, seat.ErrHoldEnded
	}
	return Booking{}, cause
}

// settle takes the money of a booking. When it can't, the sweeper will.
func (b *Booker) settle(ctx context.Context, h holdRow, ref string) {
	err := b.gateway.Capture(ctx, ref)
	if err == nil {
		err = b.store.captured(ctx, h.ID, b.clock.now())
	}
	if err != nil {
		b.met.failed.WithLabelValues("capturing a payment").Inc()
		b.log.Warn("payment is not captured yet; trying again", zap.String("hold", string(h.ID)), zap.Error(err))
	}
}

// outward puts the shop's own word before what its database says of itself, for
// the table of codes, which knows no driver.
func outward(err error) error {
	if errors.Is(err, sqldb.ErrAway) || errors.Is(err, sqldb.ErrUnsure) {
		return fmt.Errorf("%w: %w", seat.ErrAway, err)
	}
	return err
}
