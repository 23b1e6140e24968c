package booking

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// addPriced gives "gig" seats that cost something.
func addPriced(t *testing.T, s *Store, seats string, price seat.Price) {
	t.Helper()
	if _, _, err := s.AddPricedSeats(t.Context(), "gig", ids(seats), price); err != nil {
		t.Fatal(err)
	}
}

// cashier notes what it is asked to authorise.
type cashier struct {
	FreeGateway
	asked []Charge
}

func (c *cashier) Authorise(ctx context.Context, charge Charge) (string, error) {
	c.asked = append(c.asked, charge)
	return c.FreeGateway.Authorise(ctx, charge)
}

// What seats cost stays the same from the hold to the booking, whoever asks, and however
// often.
func TestAmounts(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		gateway := &cashier{}
		b := newBooker(t, dsn, 0, func(p *Parts) { p.Gateway = gateway })
		s := b.store
		addPriced(t, s, "A-1 A-2", seat.Price{Amount: 1250, Currency: "EUR"})
		addPriced(t, s, "B-1", seat.Price{Amount: seat.MaxAmount, Currency: "EUR"})
		addPriced(t, s, "C-1 C-2", seat.Price{})
		for seats, want := range map[string]seat.Price{
			"A-1 B-1 C-1": {Amount: 1250 + seat.MaxAmount, Currency: "EUR"},
			"A-2":         {Amount: 1250, Currency: "EUR"},
			"C-2":         {},
		} {
			p := newPass()
			wantHold := func(what string, h seat.Hold, err error) {
				t.Helper()
				if got := (seat.Price{Amount: h.Amount, Currency: h.Currency}); err != nil || got != want {
					t.Errorf("%s %s: got %+v, %v, want %+v", what, seats, got, err, want)
				}
			}
			wantBooking := func(what string, b Booking, err error) {
				t.Helper()
				if got := (seat.Price{Amount: b.Amount, Currency: b.Currency}); err != nil || got != want {
					t.Errorf("%s %s: got %+v, %v, want %+v", what, seats, got, err, want)
				}
			}
			h, _, err := b.Hold(t.Context(), p, ids(seats))
			wantHold("hold", h, err)
			again, _, err := b.Hold(t.Context(), p, ids(seats))
			wantHold("the same hold", again, err)
			longer, err := b.Extend(t.Context(), p, h.ID)
			wantHold("extended", longer, err)
			v, err := b.Visit(t.Context(), p)
			wantHold("visit", *v.Hold, err)
			gateway.asked = nil
			bought, err := b.Confirm(t.Context(), p, h.ID)
			wantBooking("confirm", bought, err)
			if len(gateway.asked) != 1 || gateway.asked[0].Amount != want.Amount || gateway.asked[0].Currency != want.Currency {
				t.Errorf("%s: the gateway was asked for %+v, want %+v once", seats, gateway.asked, want)
			}
			bought, err = b.Confirm(t.Context(), p, h.ID)
			wantBooking("confirm again", bought, err)
			v, err = b.Visit(t.Context(), p)
			wantBooking("visit", *v.Booking, err)
		}
	})
}

// Seats that exist keep what they cost, and one room costs one currency, also when two who
// add seats at once name two.
func TestOneCurrencyOfARoom(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 2) // cost nothing
		euro := seat.Price{Amount: 1250, Currency: "EUR"}
		for _, c := range []struct {
			seats       string
			price       seat.Price
			added, kept int
			want        error
		}{
			{"A-1 A-2 A-3 A-3", euro, 1, 2, nil},
			{"A-1 A-2 A-3", euro, 0, 2, nil},
			{"A-3", seat.Price{Amount: 1300, Currency: "EUR"}, 0, 1, nil},
			{"A-4", seat.Price{Amount: 1300, Currency: "EUR"}, 1, 0, nil},
			{"A-1 A-4 A-5", seat.Price{Amount: 9, Currency: "USD"}, 0, 0, seat.ErrCurrency},
			{"A-1", seat.Price{Amount: 9, Currency: "USD"}, 0, 1, nil}, // nothing to add
			{"A-5", seat.Price{Amount: -1, Currency: "EUR"}, 0, 0, seat.ErrPrice},
			{"A-5", seat.Price{Amount: 1}, 0, 0, seat.ErrPrice},
			{"A-5", seat.Price{}, 1, 0, nil},
		} {
			added, kept, err := s.AddPricedSeats(t.Context(), "gig", ids(c.seats), c.price)
			if !errors.Is(err, c.want) || err == nil && (added != c.added || kept != c.kept) {
				t.Errorf("%s at %+v: got %d, %d, %v, want %d added, %d kept, %v", c.seats, c.price, added, kept, err, c.added, c.kept, c.want)
			}
		}
		wantSeats(t, s, "A-1 A-2 A-3 A-4 A-5")
		if h := mustHold(t, s, newPass(), "A-1 A-3 A-4", noon); h.Amount != 2550 || h.Currency != "EUR" {
			t.Errorf("got %d %s, want 2550 EUR", h.Amount, h.Currency)
		}
		errs := make([]error, 8)
		at(len(errs), func(i int) {
			_, _, errs[i] = s.AddPricedSeats(t.Context(), "hall", ids("A-1 B-1")[i%2:][:1], seat.Price{Amount: 5, Currency: []string{"EUR", "KRW"}[i%2]})
		})
		refused := 0
		for _, err := range errs {
			if errors.Is(err, seat.ErrCurrency) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
		}
		if all, err := s.Seats(t.Context(), "hall"); err != nil || len(all) != 1 || refused != len(errs)/2 {
			t.Errorf("two currencies at once: got seats %v, %v, and %d refused, want one's seat and the other's half refused", all, err, refused)
		}
	})
}

// Prices that only a hand in the database can have made are not added up: the hold is
// refused and nothing is changed. What costs nothing adds nothing, whatever its currency.
func TestPricesByHand(t *testing.T) {
	for name, c := range map[string]struct {
		hand   string
		amount int64 // 0: refused
	}{
		"another currency":      {hand: "UPDATE seats SET currency = 'KRW' WHERE id = 'A-2'"},
		"no currency":           {hand: "UPDATE seats SET currency = '' WHERE id = 'A-1'"},
		"below zero":            {hand: "UPDATE seats SET amount = -1250 WHERE id = 'A-2'"},
		"more than the most":    {hand: "UPDATE seats SET amount = 9223372036854775807 WHERE id = 'A-2'"},
		"nothing":               {hand: "UPDATE seats SET amount = 0 WHERE id = 'A-2'", amount: 1250},
		"nothing, of any other": {hand: "UPDATE seats SET amount = 0, currency = 'KRW' WHERE id = 'A-2'", amount: 1250},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, dsn string) {
				s := newStore(t, dsn, 1)
				addPriced(t, s, "A-2 A-3", seat.Price{Amount: 1250, Currency: "EUR"})
				if _, err := s.db.Write(t.Context(), "UPDATE seats SET amount = ?, currency = ? WHERE id = 'A-1'", 1250, "EUR"); err != nil {
					t.Fatal(err)
				}
				if _, err := s.db.Write(t.Context(), c.hand); err != nil {
					t.Fatal(err)
				}
				if c.amount > 0 {
					if h := mustHold(t, s, newPass(), "A-1 A-2", noon); h.Amount != c.amount || h.Currency != "EUR" {
						t.Errorf("got %d %s, want %d EUR", h.Amount, h.Currency, c.amount)
					}
					return
				}
				if h, _, err := s.Hold(t.Context(), newPass(), ids("A-1 A-2"), noon); !errors.Is(err, errBroken) {
					t.Errorf("got %+v, %v, want it refused as broken", h, err)
				}
				wantSeats(t, s, "A-1 A-2 A-3")
				wantFacts(t, s, "")
				if h := mustHold(t, s, newPass(), "A-3", noon); h.Amount != 1250 {
					t.Errorf("its neighbour: got %d, want 1250", h.Amount)
				}
			})
		})
	}
	if sum := int64(50) * seat.MaxAmount; sum < 0 || sum > math.MaxInt64/2 {
		t.Errorf("the seats of one hold cost %d", sum)
	}
}

// A booker that knows no prices works beside: what its hold cost, nothing, is what the
// booking costs, and what a hold of the newer one costs is what is found of its booking.
func TestOlderBookerKnowsNoPrices(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		o := older{t, olderDB(t, dsn)}
		o.addSeats("gig", ids("A-1 A-2"))
		before := newPass()
		held := o.hold(before, "A-1", noon)
		b := newBookerOn(t, o, func(*Parts) {})
		s := b.store
		addPriced(t, s, "A-1 A-2 A-3 A-4 A-5", seat.Price{Amount: 1250, Currency: "EUR"})
		o.addSeats("gig", ids("A-6"))

		want := func(what string, p token.Pass, amount int64, currency string) {
			t.Helper()
			v, err := s.Visit(t.Context(), p)
			if err != nil || v.Booking == nil || v.Booking.Amount != amount || v.Booking.Currency != currency || v.Booking.Reference == "" {
				t.Errorf("%s: got %+v, %v, want a booking of %d %s with a reference", what, v.Booking, err, amount, currency)
				return
			}
			var row seat.Price
			if err := s.db.GetContext(t.Context(), &row, "SELECT amount, currency FROM bookings WHERE hold = ?", v.Booking.Hold); err != nil || row.Amount != amount || row.Currency != currency {
				t.Errorf("%s: got the row %+v, %v, want %d %s", what, row, err, amount, currency)
			}
		}
		if got, err := b.Confirm(t.Context(), before, held.id); err != nil || got.Amount != 0 || got.Currency != "" {
			t.Errorf("a hold of before the migration: got %+v, %v, want it to cost nothing", got, err)
		}
		want("a hold of before the migration", before, 0, "")
		beside := newPass()
		late := o.hold(beside, "A-3", noon) // it knows no price, and said none
		if got, err := b.Confirm(t.Context(), beside, late.id); err != nil || got.Amount != 0 || got.Currency != "" {
			t.Errorf("an older one's hold: got %+v, %v, want it to cost what was said", got, err)
		}
		want("an older one's hold", beside, 0, "")
		p := newPass()
		o.confirm(o.of(mustHold(t, s, p, "A-4 A-5", noon), p), "older-1", noon)
		want("confirmed by an older one", p, 2500, "EUR")
		if h := mustHold(t, s, newPass(), "A-2 A-6", noon.Add(time.Second)); h.Amount != 0 || h.Currency != "" {
			t.Errorf("an older one's seats: got %d %q, want them to cost nothing", h.Amount, h.Currency)
		}
	})
}
