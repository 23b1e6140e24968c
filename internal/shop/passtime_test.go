package shop

import (
	"context"
	"testing"
	"time"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// A pass ends by the clock of passes, wherever the seats' clock stands after one of them was
// set; what is done with it hears its end on the seats' clock, and the page what is left.
func TestPassEndsByItsOwnClock(t *testing.T) {
	const lasts = 10 * time.Minute // of the pass, on the seats' clock when both are one
	for name, k := range map[string]struct {
		apart time.Duration // how far the clock of passes is ahead
		left  time.Duration // of the pass; 0: it is over
	}{
		"one clock":                {0, lasts},
		"the seats' is behind":     {9 * time.Minute, time.Minute},
		"an hour behind":           {time.Hour, 0},
		"the seats' is ahead":      {-time.Hour, lasts + time.Hour},
		"over, and in its grace":   {lasts + time.Second, 0},
		"over by the grace, too":   {lasts + bookingtest.Config.Grace, 0},
		"a moment before its end":  {lasts - time.Second, time.Second},
		"the seats' is days ahead": {-100 * time.Hour, lasts + 100*time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var held, confirmed token.Pass
			desk := &fakeDesk{apart: k.apart,
				visit: func(context.Context, token.Pass) (booking.Visit, error) { return booking.Visit{}, nil },
				hold: func(_ context.Context, p token.Pass, ids []seat.ID) (seat.Hold, bool, error) {
					held = p
					return seat.Hold{ID: seat.NewHoldID(), Seats: ids, Until: bookingtest.Noon}, true, nil
				},
				confirm: func(_ context.Context, p token.Pass, id seat.HoldID) (booking.Booking, error) {
					confirmed = p
					return booking.Booking{Hold: id, Seats: aHold.Seats}, nil
				}}
			edge, _ := newEdge(t, desk, Config{}, nil)
			c := client{t, edge.Handler()}
			auth := bearer(bookingtest.Pass())

			if k.left > 0 {
				if got := want[passAnswer](t, c.do("GET", "/rooms/gig/pass", auth, ""), 200); got.ExpiresMS != k.left.Milliseconds() {
					t.Errorf("got %d ms left, want %d", got.ExpiresMS, k.left.Milliseconds())
				}
			}
			w := c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-1"]}`)
			if k.left == 0 {
				wantProblem(t, "hold", w, wire.PassExpired)
			} else if got := held.Expires.Sub(bookingtest.Noon); w.Code != 201 || got != k.left {
				t.Errorf("hold: got %d %s and a pass of %v, want one of %v", w.Code, w.Body, got, k.left)
			}
			w = c.do("POST", "/rooms/gig/holds/"+string(seat.NewHoldID())+"/confirm", auth, "")
			if k.apart >= lasts+bookingtest.Config.Grace {
				wantProblem(t, "confirm", w, wire.PassExpired)
			} else if got := confirmed.Expires.Sub(bookingtest.Noon); w.Code != 200 || got != lasts-k.apart {
				t.Errorf("confirm: got %d %s and a pass of %v, want one of %v", w.Code, w.Body, got, lasts-k.apart)
			}
		})
	}
}

// movedDesk is a desk whose clocks move while a pass is verified.
type movedDesk struct {
	*fakeDesk
	moved *time.Duration
}

func (d movedDesk) Now() time.Time      { return d.fakeDesk.Now().Add(*d.moved) }
func (d movedDesk) PassTime() time.Time { return d.fakeDesk.PassTime().Add(*d.moved) }

// slowPasses are keys that have to be fetched first.
type slowPasses struct {
	bookingtest.Unsigned
	fetch func()
}

func (p slowPasses) TryPass(ctx context.Context, pass string, name room.Name, now time.Time, try func() error) (token.Pass, error) {
	p.fetch()
	return p.Unsigned.TryPass(ctx, pass, name, now, try)
}

// What the verification takes is not added to a pass, and clocks that are beside each other
// by less than one can see leave its end as it is.
func TestVerificationMovesNoEnd(t *testing.T) {
	const lasts = 10 * time.Minute // of the pass, by the clock of passes
	for name, k := range map[string]struct{ apart, fetch, ahead time.Duration }{
		"at once":                  {},
		"a fetch":                  {fetch: 8 * time.Second},
		"a bit beside":             {apart: 900 * time.Millisecond},
		"a bit beside, the other":  {apart: -900 * time.Millisecond},
		"beside":                   {apart: time.Minute, ahead: -time.Minute},
		"beside, and a fetch":      {apart: -time.Minute, fetch: 8 * time.Second, ahead: time.Minute},
		"a bit beside, and a wait": {apart: 900 * time.Millisecond, fetch: 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var held token.Pass
			var moved time.Duration
			desk := movedDesk{&fakeDesk{apart: k.apart,
				hold: func(_ context.Context, p token.Pass, ids []seat.ID) (seat.Hold, bool, error) {
					held = p
					return seat.Hold{ID: seat.NewHoldID(), Seats: ids, Until: bookingtest.Noon}, true, nil
				}}, &moved}
			edge, _ := newEdge(t, desk.fakeDesk, Config{}, func(p *Parts) {
				p.Desk, p.Passes = desk, slowPasses{fetch: func() { moved += k.fetch }}
			})
			c := client{t, edge.Handler()}
			if w := c.do("POST", "/rooms/gig/holds", bearer(bookingtest.Pass()), `{"seats":["A-1"]}`); w.Code != 201 {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			if got := held.Expires.Sub(bookingtest.Noon); got != lasts+k.ahead {
				t.Errorf("got a pass of %v on the seats' clock, want %v", got, lasts+k.ahead)
			}
		})
	}
}
