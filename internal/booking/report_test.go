package booking

import (
	"encoding/json"
	"errors"
	"testing"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// The report counts each seat once, by category and state, and its money as it was charged.
func TestReport(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := emptyStore(t, dsn)
		if _, err := s.Report(t.Context(), "gig"); !errors.Is(err, seat.ErrNoRoom) {
			t.Errorf("without seats: got %v, want %v", err, seat.ErrNoRoom)
		}
		mustImport(t, s, planOf(t, "A-1:A A-2:A A-3:A A-4:B A-5:B A-6:B GA*2:S", "A=4500 B=2500 S=0"), ImportHow{}, Imported{Added: 8})
		if _, err := s.AddSeats(t.Context(), "gig", ids("Z-1")); err != nil {
			t.Fatal(err)
		}
		other := newPass()
		other.Room = "other"
		if _, err := s.AddSeats(t.Context(), "other", ids("A-1")); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, other, "A-1", noon)
		var last seat.HoldID
		for _, seats := range []string{"A-1 A-4", "A-2 GA-1"} {
			p := newPass()
			last = mustHold(t, s, p, seats, noon).ID
			if err := s.buy(t.Context(), p, last, noon); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.captured(t.Context(), last, noon); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, newPass(), "A-3", noon)
		for note, seats := range map[string]string{"=HYPERLINK(\"x\")": "A-5", "": "A-6"} {
			if _, err := s.Block(t.Context(), "gig", Choice{Seats: ids(seats)}, note, false); err != nil {
				t.Fatal(err)
			}
		}
		// Later prices are of seats that nobody has.
		mustImport(t, s, planOf(t, "A-1:A A-4:A A-5:A", "A=1"), ImportHow{}, Imported{Changed: 1, Kept: 2, Missing: 6})
		want := `{"room":"gig","seats":{"total":9,"free":2,"held":1,"blocked":2,"booked":4},"categories":[` +
			`{"category":"","currency":"","seats":{"total":1,"free":1,"held":0,"blocked":0,"booked":0},"money":{"booked":0,"captured":0,"open":0}},` +
			`{"category":"A","currency":"EUR","seats":{"total":4,"free":0,"held":1,"blocked":1,"booked":2},"money":{"booked":9000,"captured":4500,"open":4500}},` +
			`{"category":"B","currency":"EUR","seats":{"total":2,"free":0,"held":0,"blocked":1,"booked":1},"money":{"booked":2500,"captured":0,"open":2500}},` +
			`{"category":"S","currency":"","seats":{"total":2,"free":1,"held":0,"blocked":0,"booked":1},"money":{"booked":0,"captured":0,"open":0}}],` +
			`"money":[{"currency":"EUR","money":{"booked":11500,"captured":4500,"open":7000},"bookings":11500}],` +
			`"blocked":[{"note":"","seats":1},{"note":"=HYPERLINK(\"x\")","seats":1}]}`
		r, err := s.Report(t.Context(), "gig")
		got, _ := json.Marshal(r)
		if err != nil || string(got) != want {
			t.Errorf("got\n%s\n%v, want\n%s", got, err, want)
		}
	})
}

// While visitors hold and buy, each report is one moment's: all seats are in it, and what
// is booked is what the bookings cost.
func TestReportIsOfOneMoment(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := emptyStore(t, dsn)
		mustImport(t, s, planOf(t, "A-1:A A-2:A A-3:A A-4:A A-5:A A-6:A A-7:A A-8:A", "A=7"), ImportHow{}, Imported{Added: 8})
		at(5, func(client int) {
			if client < 4 {
				seats := []string{"A-1 A-2", "A-3 A-4", "A-5 A-6", "A-7 A-8"}[client]
				for i := range 10 {
					p := newPass()
					h, _, err := s.Hold(t.Context(), p, ids(seats), noon)
					switch {
					case err != nil:
					case i == 9:
						err = s.buy(t.Context(), p, h.ID, noon)
					default:
						err = s.Release(t.Context(), p, h.ID, noon)
					}
					if err != nil {
						t.Error(err)
					}
				}
				return
			}
			for range 40 {
				r, err := s.Report(t.Context(), "gig")
				if err != nil {
					t.Error(err)
					return
				}
				c := r.Seats
				if c.Total != 8 || c.Free+c.Held+c.Booked != 8 || c.Free%2 != 0 || c.Booked%2 != 0 {
					t.Errorf("got %+v, want 8 seats, taken in twos", c)
				}
				for _, m := range r.Money {
					if m.Bookings != m.Money.Booked || m.Money.Booked != int64(7*c.Booked) {
						t.Errorf("got %+v of %d booked seats, want 7 each", m, c.Booked)
					}
				}
			}
		})
		for _, err := range settled(t, s, []room.Name{"gig"}) {
			t.Error(err)
		}
	})
}

// A shop that takes no money sold what it sold, and took nothing.
func TestReportOfAFreeShop(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		b := newBooker(t, dsn, 0, nil)
		addPriced(t, b.store, "A-1 A-2", seat.Price{Amount: 4500, Currency: "EUR"})
		p := newPass()
		if _, err := b.Confirm(t.Context(), p, mustHold(t, b.store, p, "A-1", noon).ID); err != nil {
			t.Fatal(err)
		}
		r, err := b.store.Report(t.Context(), "gig")
		if want := (Money{Booked: 4500}); err != nil || len(r.Money) != 1 || r.Money[0].Money != want {
			t.Errorf("got %+v, %v, want %+v", r.Money, err, want)
		}
	})
}
