package seatmap_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/booking/testkit"
	"waitroom/internal/seatmap"
	"waitroom/internal/venue"
)

// What an operator does shows on open maps by the log alone, long before a room is read
// again: seats that are blocked, other prices, seats that come and go.
func TestOperatorShows(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		shop := bookingtest.New(t, dsn, 3, nil)
		m := still(shop.DB, func(p *seatmap.Parts, _ *seatmap.Config) { p.Load = shop.Store.Seats })
		m.Repair(time.Hour)
		run(t, m)
		becomes(t, m, "gig", "fff")

		if _, err := shop.Store.Block(t.Context(), "gig", booking.Choice{Seats: bookingtest.IDs("A-2")}, "", false); err != nil {
			t.Fatal(err)
		}
		becomes(t, m, "gig", "fxf")
		if _, err := shop.Store.Unblock(t.Context(), "gig", booking.Choice{Seats: bookingtest.IDs("A-2")}); err != nil {
			t.Fatal(err)
		}
		becomes(t, m, "gig", "fff")

		bring := func(amount, seats, plan string) {
			t.Helper()
			p, err := venue.ReadCSV(strings.NewReader("row,seat,category\n"+seats), venue.Prices{Currency: "EUR", Amounts: map[string]int64{"A": int64(len(amount))}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := shop.Store.Import(t.Context(), "gig", p, booking.ImportHow{RemoveMissing: true}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for {
				w := httptest.NewRecorder()
				if err := m.Plan(w, httptest.NewRequest("GET", "/plan", nil), "gig"); err != nil {
					t.Fatal(err)
				}
				_, got, _ := strings.Cut(w.Body.String(), `"seats":`)
				if got == plan {
					return
				}
				if time.Since(began) > soon {
					t.Fatalf("got plan %s after %v, want %s", got, soon, plan)
				}
				time.Sleep(5 * time.Millisecond) // the pause between two looks
			}
		}
		bring("I", "A,1,A\nA,2,A\nA,3,A\n", `3,"prices":[{"category":"A","amount":1,"currency":"EUR"}],"sections":[{"name":"","rows":[{"name":"A","seats":"1-3"}]}]}`)
		bring("II", "A,1,A\nA,2,A\nA,3,A\n", `3,"prices":[{"category":"A","amount":2,"currency":"EUR"}],"sections":[{"name":"","rows":[{"name":"A","seats":"1-3"}]}]}`)
		bring("II", "A,1,A\nA,3,A\n", `2,"prices":[{"category":"A","amount":2,"currency":"EUR"}],"sections":[{"name":"","rows":[{"name":"A","seats":"1,3"}]}]}`)
		bring("II", "A,1,A\nA,3,A\nB,7,A\n", `3,"prices":[{"category":"A","amount":2,"currency":"EUR"}],"sections":[{"name":"","rows":[{"name":"A","seats":"1,3"},{"name":"B","seats":"7"}]}]}`)
		becomes(t, m, "gig", "fff")
	})
}
