// Package bookingtest is a shop for the tests of what stands around it: a database
// of the test's own with a room "gig", a clock that the test moves, and a Kafka that
// can be away.
package bookingtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/booking/testkit"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// What the tests of booking itself have too is testkit's.
var (
	Noon        = testkit.Noon
	Epoch       = testkit.Epoch
	SQLite      = testkit.SQLite
	Each        = testkit.Each
	Open        = testkit.Open
	Pass        = testkit.Pass
	IDs         = testkit.IDs
	NewQueue    = testkit.NewQueue
	PartitionOf = testkit.PartitionOf
	Kind        = testkit.Kind
)

// Partitions is testkit's.
const Partitions = testkit.Partitions

type (
	// Clock is testkit's.
	Clock = testkit.Clock
	// Queue is testkit's.
	Queue = testkit.Queue
)

// Config is the shop's, with holds of 5 minutes.
var Config = booking.Config{Hold: 5 * time.Minute, Extend: 2 * time.Minute, Grace: 2 * time.Second, Sweep: 10 * time.Millisecond, Keep: 30 * 24 * time.Hour}

// Shop is a desk on a database of its own, and the store below it.
type Shop struct {
	*booking.Booker
	DB    *sqldb.DB
	Store *booking.Store
	Clock *Clock
}

// New is a shop whose room "gig" has count seats, in rows of 10. Its clock stands at
// Noon. change may be nil.
func New(t testing.TB, dsn string, count int, change func(*booking.Parts)) *Shop {
	t.Helper()
	s := &Shop{DB: Open(t, dsn), Clock: &Clock{}}
	parts := booking.Parts{DB: s.DB, Publisher: NewQueue(), Gateway: booking.FreeGateway{}, Now: s.Clock.Now,
		Log: zap.NewNop(), Metrics: prometheus.NewRegistry()}
	if change != nil {
		change(&parts)
	}
	var err error
	if s.Booker, err = booking.New(t.Context(), Config, parts); err != nil {
		t.Fatal(err)
	}
	s.Clock.Set(Noon) // the start has checked the machine's
	if s.Store, err = booking.NewStore(t.Context(), s.DB, Config.Rules()); err != nil {
		t.Fatal(err)
	}
	if count > 0 {
		s.AddSeats(t, count)
	}
	return s
}

// AddSeats gives "gig" count seats.
func (s *Shop) AddSeats(t testing.TB, count int) {
	t.Helper()
	ids, err := seat.Generate(count, 10)
	if err == nil {
		_, err = s.Store.AddSeats(t.Context(), "gig", ids)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// MustHold holds "A-1 A-2".
func (s *Shop) MustHold(t testing.TB, p token.Pass, seats string) seat.Hold {
	t.Helper()
	h, _, err := s.Hold(t.Context(), p, IDs(seats))
	if err != nil {
		t.Fatalf("hold %s: %v", seats, err)
	}
	return h
}

// Seats says what is not free: "A-2:held A-3:booked".
func (s *Shop) Seats(t testing.TB) string {
	t.Helper()
	seats, err := s.Store.Seats(t.Context(), "gig")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, one := range seats {
		if one.State != seat.Free {
			list = append(list, string(one.ID)+":"+string(one.State))
		}
	}
	return strings.Join(list, " ")
}

// Unsigned takes an admission id for a pass that expires at Noon + 10 minutes.
type Unsigned struct{}

// TryPass implements shop.Passes. No pass is known.
func (Unsigned) TryPass(_ context.Context, pass string, want room.Name, now time.Time, try func() error) (token.Pass, error) {
	if err := try(); err != nil {
		return token.Pass{}, err
	}
	a, err := room.ParseAdmission(pass)
	if err != nil {
		return token.Pass{}, token.ErrMalformed
	}
	p := token.Pass{Admission: a, Expires: Noon.Add(10 * time.Minute)}
	if a.Room != want {
		return p, token.ErrOtherRoom
	}
	if !now.Before(p.Expires) {
		return p, token.ErrExpired
	}
	return p, nil
}
