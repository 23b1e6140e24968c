// Package boxoffice is the one wiring of the shop: the seats and their loops, the
// facts on their way to Kafka, and the edge, on one database that several bookers
// may share.
package boxoffice

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/booking"
	"waitroom/internal/events"
	"waitroom/internal/outbox"
	"waitroom/internal/room"
	"waitroom/internal/seatmap"
	"waitroom/internal/shop"
	"waitroom/internal/sqldb"
)

// Config is the shop's flags.
type Config struct {
	Booking booking.Config `embed:""`
	Shop    shop.Config    `embed:""`
	Map     seatmap.Config `embed:""`
}

// Check reports every value out of bounds, joined.
func (c Config) Check() error { return errors.Join(c.Booking.Check(), c.Shop.Check(), c.Map.Check()) }

// Options are what a BoxOffice is made of. The caller closes them after Run.
type Options struct {
	Config    Config
	DB        *sqldb.DB
	Passes    shop.Passes
	Publisher outbox.Publisher
	Consume   func(ctx context.Context, handle func(context.Context, []events.Record) error) error // see booking.Parts
	Gateway   booking.Gateway
	Now       func() time.Time // the seats' clock; nil: time.Now
	Page      http.Handler     // the seat page and its assets; nil: none
	Prefix    string           // of every path, "" or "/tickets"
	Log       *zap.Logger
	Metrics   prometheus.Registerer
}

// BoxOffice is one booker.
type BoxOffice struct {
	desk  *booking.Booker
	facts *outbox.Outbox
	maps  *seatmap.Maps
	edge  *shop.Shop
}

// New migrates the database and checks the clock against it.
func New(ctx context.Context, o Options) (*BoxOffice, error) {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	facts := outbox.New(o.DB, o.Publisher, now, o.Log, o.Metrics)
	desk, err := booking.New(ctx, o.Config.Booking, booking.Parts{DB: o.DB, Publisher: o.Publisher, Wrote: facts.Poke,
		Consume: o.Consume, Gateway: o.Gateway, Now: o.Now, Log: o.Log, Metrics: o.Metrics})
	if err != nil {
		return nil, err
	}
	maps := seatmap.New(o.Config.Map, seatmap.Parts{DB: o.DB, Load: desk.Seats, Now: desk.Ending, Log: o.Log, Metrics: o.Metrics})
	edge := shop.New(o.Config.Shop, shop.Parts{Desk: desk, Passes: o.Passes, Maps: maps, Grace: o.Config.Booking.Grace, Page: o.Page,
		Prefix: o.Prefix, Log: o.Log, Metrics: o.Metrics})
	return &BoxOffice{desk: desk, facts: facts, maps: maps, edge: edge}, nil
}

// Handler is what visitors reach.
func (b *BoxOffice) Handler() http.Handler { return b.edge.Handler() }

// Drain ends the live maps, so that no request lasts; it does not wait for them.
func (b *BoxOffice) Drain(context.Context) { b.maps.Drain() }

// Event is what a room's sale is for; see booking.Booker.
func (b *BoxOffice) Event(name room.Name) room.Event { return b.desk.Event(name) }

// Run runs the loops until ctx ends and returns when all of them have ended. A
// part that cannot run at all ends it early, with its error.
func (b *BoxOffice) Run(ctx context.Context) error {
	loops, ctx := errgroup.WithContext(ctx)
	written := make(chan struct{}) // closed when the desk writes no more facts
	loops.Go(func() error { defer close(written); return b.desk.Run(ctx) })
	loops.Go(func() error { b.facts.Run(ctx, written); return nil })
	loops.Go(func() error { b.maps.Run(ctx); return nil })
	return loops.Wait()
}
