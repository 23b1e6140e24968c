package shop

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// fakeDesk answers what a test tells it. Its functions may be nil where nothing asks.
type fakeDesk struct {
	hold    func(ctx context.Context, pass token.Pass, seats []seat.ID) (seat.Hold, bool, error)
	extend  func(ctx context.Context, pass token.Pass, id seat.HoldID) (seat.Hold, error)
	confirm func(ctx context.Context, pass token.Pass, id seat.HoldID) (booking.Booking, error)
	end     func(ctx context.Context, pass token.Pass) error // release and leave
	visit   func(ctx context.Context, pass token.Pass) (booking.Visit, error)
	apart   time.Duration // by which the clock of passes is ahead of the seats'

	mu   sync.Mutex
	did  []string
	keys []booking.Key
}

func (d *fakeDesk) Hold(ctx context.Context, pass token.Pass, seats []seat.ID) (seat.Hold, bool, error) {
	return d.hold(ctx, pass, seats)
}

func (d *fakeDesk) Once(key booking.Key) booking.Acts {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys = append(d.keys, key)
	return d
}

func (d *fakeDesk) Confirm(ctx context.Context, pass token.Pass, id seat.HoldID) (booking.Booking, error) {
	return d.confirm(ctx, pass, id)
}

func (d *fakeDesk) Extend(ctx context.Context, pass token.Pass, id seat.HoldID) (seat.Hold, error) {
	return d.extend(ctx, pass, id)
}

func (d *fakeDesk) Release(ctx context.Context, pass token.Pass, _ seat.HoldID) error {
	return d.end(ctx, pass)
}

func (d *fakeDesk) Leave(ctx context.Context, pass token.Pass) error { return d.end(ctx, pass) }

func (d *fakeDesk) Visit(ctx context.Context, pass token.Pass) (booking.Visit, error) {
	return d.visit(ctx, pass)
}

func (d *fakeDesk) Now() time.Time { return bookingtest.Noon }

func (d *fakeDesk) PassTime() time.Time { return bookingtest.Noon.Add(d.apart) }

func (d *fakeDesk) Did(_ room.Name, code string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did = append(d.did, code)
}

// newEdge is an edge over a desk that the test speaks for.
func newEdge(t testing.TB, desk *fakeDesk, config Config, change func(*Parts)) (*edge, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	parts := Parts{Desk: desk, Passes: bookingtest.Unsigned{}, Grace: bookingtest.Config.Grace, Log: zap.NewNop(), Metrics: reg}
	if change != nil {
		change(&parts)
	}
	if config.MaxSeats == 0 {
		config.MaxSeats = 6
	}
	if config.MaxCalls == 0 {
		config.MaxCalls = 64
	}
	return &edge{New(config, parts), t}, reg
}
