package shop

import (
	"strings"
	"testing"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/seat"
	"waitroom/internal/wire"
)

// Every answer about a hold or a booking says what its seats cost; what costs nothing says
// nothing of it.
func TestAmountsAreAnswered(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := newShop(t, dsn, 1, nil) // A-1 costs nothing
		if _, _, err := b.below.Store.AddPricedSeats(t.Context(), "gig", bookingtest.IDs("A-2 A-3"), seat.Price{Amount: 12_500, Currency: "KRW"}); err != nil {
			t.Fatal(err)
		}
		c := client{t, b.Handler()}
		auth := bearer(bookingtest.Pass())
		w := c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-1","A-2","A-3"]}`)
		hold := want[holdAnswer](t, w, 201)
		both := price{25_000, "KRW"}
		if hold.price != both || !strings.Contains(w.Body.String(), `"amount":25000,"currency":"KRW"`) {
			t.Errorf("got %s, want %+v", w.Body, both)
		}
		path := "/rooms/gig/holds/" + string(hold.ID)
		if got := want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-1","A-2","A-3"]}`), 200); got.price != both {
			t.Errorf("again: got %+v, want %+v", got.price, both)
		}
		if got := want[holdAnswer](t, c.do("POST", path+"/extend", auth, ""), 200); got.price != both {
			t.Errorf("extended: got %+v, want %+v", got.price, both)
		}
		if got := want[passAnswer](t, c.do("GET", "/rooms/gig/pass", auth, ""), 200); got.Hold == nil || got.Hold.price != both {
			t.Errorf("after a reload: got %+v, want %+v", got.Hold, both)
		}
		for _, what := range []string{"confirmed", "confirmed again"} {
			if got := want[bookingAnswer](t, c.do("POST", path+"/confirm", auth, ""), 200); got.price != both {
				t.Errorf("%s: got %+v, want %+v", what, got.price, both)
			}
		}
		if got := want[passAnswer](t, c.do("GET", "/rooms/gig/pass", auth, ""), 200); got.Booking == nil || got.Booking.price != both {
			t.Errorf("after another reload: got %+v, want %+v", got.Booking, both)
		}

		b.below.AddSeats(t, 4)
		w = c.do("POST", "/rooms/gig/holds", bearer(bookingtest.Pass()), `{"seats":["A-4"]}`)
		if want[holdAnswer](t, w, 201); strings.Contains(w.Body.String(), "amount") || strings.Contains(w.Body.String(), "currency") {
			t.Errorf("a seat that costs nothing: got %s, want nothing said of it", w.Body)
		}

		// By hand only: a code that is the same each time, and no seat held.
		b.below.AddSeats(t, 6)
		for id, currency := range map[string]string{"A-5": "EUR", "A-6": "KRW"} {
			if _, err := b.below.DB.Write(t.Context(), "UPDATE seats SET amount = 1, currency = ? WHERE id = ?", currency, id); err != nil {
				t.Fatal(err)
			}
		}
		auth = bearer(bookingtest.Pass())
		for range 2 {
			wantProblem(t, "two currencies", c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-5","A-6"]}`), wire.Internal)
		}
		want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-6"]}`), 201)
	})
}
