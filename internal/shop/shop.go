// Package shop is the public edge of the shop: it verifies passes, bounds what one
// visitor may ask, and answers in the words of the protocol. What a visitor does is
// the desk's.
package shop

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/outage"
	"waitroom/internal/room"
	"waitroom/internal/seatmap"
	"waitroom/internal/token"
)

// Passes are what a visitor shows.
type Passes interface {
	// TryPass verifies a pass for room want at now; its errors are token's. Unless it is
	// known to be good, it asks try first, and try's error is the answer then.
	TryPass(ctx context.Context, pass string, want room.Name, now time.Time, try func() error) (token.Pass, error)
}

// Desk is what visitors with a pass do; booking.Booker is one.
type Desk interface {
	Once(key booking.Key) booking.Acts // what a request with a key asks for; the zero Key is none
	Leave(ctx context.Context, pass token.Pass) error
	Visit(ctx context.Context, pass token.Pass) (booking.Visit, error)
	Now() time.Time                  // the seats' clock
	PassTime() time.Time             // the clock by which passes end
	Did(name room.Name, code string) // counts what was done, or the code of a refusal
}

// Parts are what a Shop is made of.
type Parts struct {
	Desk    Desk
	Passes  Passes
	Maps    *seatmap.Maps
	Grace   time.Duration // for which an expired pass still confirms
	Page    http.Handler  // the seat page and its assets; nil: none
	Prefix  string        // of every path, "" or "/tickets"
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Shop is the edge of one booker. It is safe for concurrent use.
type Shop struct {
	// set once
	config  Config
	parts   Parts
	desk    Desk
	maps    *seatmap.Maps
	limits  *limits
	took    prometheus.Histogram
	refused *prometheus.CounterVec
	trouble *outage.Log // requests answered 503

	// The budgets of each kind of request.
	reading, holding, confirming *budget

	mu   sync.Mutex
	bare map[room.Name]bool // rooms without seats that were logged, bareRooms at most; guarded by mu
}

// New makes the edge of a booker.
func New(config Config, p Parts) *Shop {
	s := &Shop{config: config, parts: p, desk: p.Desk, maps: p.Maps, limits: newLimits(config, p.Log, p.Metrics),
		bare: map[room.Name]bool{},
		// No end is noted: what one request finds, another one may not need.
		trouble: outage.New(outage.Config{Log: p.Log, Quiet: refusedQuiet, Down: "requests can't be served now, visitors are told to come back"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "waitroom", Subsystem: "booker", Name: "request_seconds",
			Help: "How long requests with a pass took.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "refused_total",
			Help: "Requests that were refused, with a pass or without; cause is the code, or gone for a visitor who did not wait."}, []string{"cause"}),
	}
	requests := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "requests",
		Help: "Requests with a pass that are served or wait for their turn."}, []string{"kind"})
	p.Metrics.MustRegister(s.took, s.refused, requests)
	budget := func(kind string, places int) *budget {
		return newBudget(kind, places, config, requests.WithLabelValues(kind))
	}
	s.reading = budget("pass", readPlaces)
	s.holding, s.confirming = budget("hold", holdPlaces), budget("confirm", confirmPlaces)
	return s
}
