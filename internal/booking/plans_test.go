package booking

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/venue"
)

// planOf is a plan of "A-1:A A-2:B GA*2:S": seats with their category, and places without
// numbers. What a category costs stands in prices: "A=4500 B=0"; all in EUR unless another
// currency stands there: "KRW A=9".
func planOf(t *testing.T, seats, prices string) *venue.Plan {
	t.Helper()
	currency := "EUR"
	var categories, sections []string
	for one := range strings.FieldsSeq(prices) {
		name, amount, ok := strings.Cut(one, "=")
		if !ok {
			currency = one
			continue
		}
		categories = append(categories, fmt.Sprintf(`{"category":%q,"amount":%s}`, name, amount))
	}
	for one := range strings.FieldsSeq(seats) {
		id, category, _ := strings.Cut(one, ":")
		if section, count, ok := strings.Cut(id, "*"); ok {
			sections = append(sections, fmt.Sprintf(`{"section":%q,"count":%s,"category":%q}`, section, count, category))
			continue
		}
		row, number, _ := strings.Cut(id, "-")
		sections = append(sections, fmt.Sprintf(`{"rows":[{"row":%q,"seats":%q,"category":%q}]}`, row, number, category))
	}
	p, err := venue.ReadJSON(strings.NewReader(fmt.Sprintf(`{"currency":%q,"categories":[%s],"sections":[%s]}`,
		currency, strings.Join(categories, ","), strings.Join(sections, ","))))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// emptyStore is a store without seats.
func emptyStore(t *testing.T, dsn string) *Store {
	t.Helper()
	s, err := NewStore(t.Context(), openDB(t, dsn), rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustImport(t *testing.T, s *Store, plan *venue.Plan, how ImportHow, want Imported) {
	t.Helper()
	if got, err := s.Import(t.Context(), "gig", plan, how); err != nil || got != want {
		t.Errorf("import: got %+v, %v, want %+v", got, err, want)
	}
}

// planIs compares what the seats of "gig" are said to be: "A-1:A:4500:EUR", and with their
// state where they are not free.
func planIs(t *testing.T, s *Store, want string) {
	t.Helper()
	list, err := s.Seats(t.Context(), "gig")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, one := range list {
		text := string(one.ID)
		if one.Unnumbered {
			text += "*"
		}
		text += ":" + one.Category
		if one.Price.Currency != "" {
			text += fmt.Sprintf(":%d:%s", one.Price.Amount, one.Price.Currency)
		}
		if one.State != seat.Free {
			text += ":" + string(one.State)
		}
		got = append(got, text)
	}
	if text := strings.Join(got, " "); text != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

// A plan adds what is missing and changes what nobody has; held and booked seats stay as
// they are. The same plan again changes nothing, and a look changes nothing either.
func TestImport(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		s.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return epoch, false }
		held, booked := newPass(), newPass()
		mustHold(t, s, held, "A-1", noon)
		if err := s.buy(t.Context(), booked, mustHold(t, s, booked, "A-2", noon).ID, noon); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Block(t.Context(), "gig", Choice{Seats: ids("A-4")}, "", false); err != nil {
			t.Fatal(err)
		}
		plan := planOf(t, "A-1:A A-2:A A-3:A A-4:B A-5:B GA*2:S", "A=4500 B=2500 S=0")
		want := Imported{Added: 3, Changed: 2, Kept: 2}
		before := traces(t, s)
		mustImport(t, s, plan, ImportHow{DryRun: true}, want)
		if got := traces(t, s); got != before {
			t.Errorf("a look: got %s, want %s", got, before)
		}
		mustImport(t, s, plan, ImportHow{}, want)
		is := "A-1::held A-2::booked A-3:A:4500:EUR A-4:B:2500:EUR:blocked A-5:B:2500:EUR GA-1*:S GA-2*:S"
		planIs(t, s, is)
		after := traces(t, s)
		if want := "6 seats, 1 booked, rev 4, plan 2, 6 logged"; after != want {
			t.Errorf("got %s, want %s", after, want)
		}
		mustImport(t, s, plan, ImportHow{}, Imported{Same: 5, Kept: 2})
		mustImport(t, s, plan, ImportHow{RemoveMissing: true}, Imported{Same: 5, Kept: 2})
		if got := traces(t, s); got != after {
			t.Errorf("the same again: got %s, want %s", got, after)
		}
		planIs(t, s, is)
		// What a hold costs is what its seats cost when it was made.
		if h := mustHold(t, s, newPass(), "A-3 A-5 GA-1", noon); h.Amount != 7000 || h.Currency != "EUR" {
			t.Errorf("got a hold for %d %s, want 7000 EUR", h.Amount, h.Currency)
		}
		// Prices alone change no count, so nothing is told of it.
		mustImport(t, s, planOf(t, "A-1:A A-4:B GA*1:S", "A=1 B=2 S=3"), ImportHow{}, Imported{Changed: 1, Kept: 2, Missing: 4})
		if got, want := traces(t, s), "6 seats, 1 booked, rev 4, plan 3, 8 logged"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// Free seats that a plan lacks go when that is asked for, others never; and the line hears
// at once that nothing is left, or something again.
func TestImportRemoves(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 5)
		s.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return epoch, false }
		booked := newPass()
		if err := s.buy(t.Context(), booked, mustHold(t, s, booked, "A-2", noon).ID, noon); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Block(t.Context(), "gig", Choice{Seats: ids("A-4")}, "", false); err != nil {
			t.Fatal(err)
		}
		plan := planOf(t, "A-2:A", "A=0")
		mustImport(t, s, plan, ImportHow{}, Imported{Kept: 1, Missing: 4})
		held := newPass()
		h := mustHold(t, s, held, "A-3", noon)
		mustImport(t, s, plan, ImportHow{RemoveMissing: true}, Imported{Kept: 1, Missing: 2, Removed: 2})
		planIs(t, s, "A-2::booked A-3::held A-4::blocked")
		if err := s.Release(t.Context(), held, h.ID, noon); err != nil {
			t.Fatal(err)
		}
		if got := stockFacts(t, s); got != "" {
			t.Errorf("with a seat left: got %q, want nothing told at once", got)
		}
		mustImport(t, s, plan, ImportHow{RemoveMissing: true}, Imported{Kept: 1, Missing: 1, Removed: 1})
		told := string(epoch) + " 5:0/1"
		if got := stockFacts(t, s); got != told {
			t.Errorf("got %q, want %q", got, told)
		}
		mustImport(t, s, planOf(t, "A-2:A B-1:A", "A=0"), ImportHow{}, Imported{Added: 1, Kept: 1, Missing: 1})
		told += ", " + string(epoch) + " 6:1/2"
		if got := stockFacts(t, s); got != told {
			t.Errorf("got %q, want %q", got, told)
		}
		if _, _, err := s.Hold(t.Context(), newPass(), ids("A-1"), noon); !errors.Is(err, seat.ErrUnknown) {
			t.Errorf("hold of a seat that was removed: got %v, want %v", err, seat.ErrUnknown)
		}
	})
}

// A plan that a room can't become changes nothing of it.
func TestImportRefuses(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := emptyStore(t, dsn)
		mustImport(t, s, planOf(t, "A-1:A A-2:A", "A=5"), ImportHow{}, Imported{Added: 2})
		h := mustHold(t, s, newPass(), "A-1", noon)
		before := traces(t, s)
		for name, c := range map[string]struct {
			plan *venue.Plan
			want error
		}{
			"a held seat costs another currency":    {planOf(t, "A-1:A A-2:A A-3:A", "KRW A=9"), seat.ErrCurrency},
			"a seat that stays costs another one":   {planOf(t, "A-3:A", "KRW A=9"), seat.ErrCurrency},
			"more seats than a room has places for": {&venue.Plan{Seats: tooMany()}, nil},
		} {
			for _, how := range []ImportHow{{}, {DryRun: true}} {
				if got, err := s.Import(t.Context(), "gig", c.plan, how); err == nil || c.want != nil && !errors.Is(err, c.want) || !how.DryRun && got != (Imported{}) {
					t.Errorf("%s: got %+v, %v, want %v", name, got, err, c.want)
				}
			}
		}
		if got := traces(t, s); got != before {
			t.Errorf("got %s, want %s", got, before)
		}
		planIs(t, s, "A-1:A:5:EUR:held A-2:A:5:EUR")
		// When nobody has a seat of the old currency any more, the new one is the room's.
		p := newPass()
		p.Admission = passOf(t, s, h.ID)
		if err := s.Release(t.Context(), p, h.ID, noon); err != nil {
			t.Fatal(err)
		}
		mustImport(t, s, planOf(t, "A-1:A A-2:A", "KRW A=9"), ImportHow{}, Imported{Changed: 2})
		planIs(t, s, "A-1:A:9:KRW A-2:A:9:KRW")
	})
}

// tooMany are more seats than a room may have beside those of the test.
func tooMany() (list []venue.Seat) {
	all, _ := seat.Generate(seat.MaxPerRoom-1, 1000)
	for _, id := range all {
		list = append(list, venue.Seat{ID: "X-" + id, Category: "A"})
	}
	return list
}

// The seats of a booker that knew of no plans are brought to one, in the midst of its sale,
// and it goes on beside it.
func TestImportBesideOlder(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		o := older{t, olderDB(t, dsn)}
		o.addSeats("gig", ids("A-1 A-2 A-3 A-4"))
		toBuy := o.hold(newPass(), "A-1", noon)
		bought := o.hold(newPass(), "A-2", noon)
		o.confirm(bought, "paid", noon)
		s := newBookerOn(t, o, func(*Parts) {}).store
		planIs(t, s, "A-1::held A-2::booked A-3: A-4:")
		mustImport(t, s, planOf(t, "A-1:A A-2:A A-3:A A-4:A A-5:A", "A=0"), ImportHow{}, Imported{Added: 1, Changed: 2, Kept: 2})
		if _, err := s.Block(t.Context(), "gig", Choice{Seats: ids("A-4 A-5")}, "", false); err != nil {
			t.Fatal(err)
		}
		planIs(t, s, "A-1::held A-2::booked A-3:A A-4:A:blocked A-5:A:blocked")
		// The older one sells all that is for sale, and says that it is sold out.
		o.confirm(toBuy, "paid", noon)
		o.confirm(o.hold(newPass(), "A-3", noon), "paid", noon)
		published(t, s, []string{"held A-1", "held A-2", "confirmed A-2", "finished", "confirmed A-1", "finished",
			"held A-3", "confirmed A-3", "finished", "sold_out"})
		for _, err := range settled(t, s, []room.Name{"gig"}) {
			if !strings.Contains(err.Error(), "fact") { // all published by now
				t.Error(err)
			}
		}
		var n int
		if err := o.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM seats WHERE room = 'gig' AND id = 'A-4' AND state = ?", seat.Free); err != nil || n != 0 {
			t.Errorf("an older booker finds a blocked seat free: %d, %v", n, err)
		}
	})
}

// A section or a category is blocked whole, general admission by its name.
func TestBlockByChoice(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := emptyStore(t, dsn)
		mustImport(t, s, planOf(t, "A-1:A A-2:B GA*3:S", "A=1 B=2 S=3"), ImportHow{}, Imported{Added: 5})
		if _, err := s.AddSeats(t.Context(), "gig", ids("N2-A-1 N2-A-2 N-A-1")); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			choice Choice
			want   string
		}{
			{Choice{Section: "GA"}, "GA-1 GA-2 GA-3"},
			{Choice{Section: "N2"}, "N2-A-1 N2-A-2"},
			{Choice{Category: "B"}, "A-2"},
			{Choice{Section: "GA", Category: "S"}, "GA-1 GA-2 GA-3"},
			{Choice{Section: "GA", Category: "A"}, ""},
			{Choice{Section: "A"}, ""}, // a row, not a section
			{Choice{Category: "Z"}, ""},
		} {
			_, err := s.Block(t.Context(), "gig", c.choice, "", false)
			if (c.want == "") != errors.Is(err, seat.ErrUnknown) || c.want != "" && err != nil {
				t.Errorf("%+v: got %v", c.choice, err)
			}
			list, err := s.Seats(t.Context(), "gig")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, one := range list {
				if one.State == seat.Blocked {
					got = append(got, string(one.ID))
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%+v: got %s blocked, want %s", c.choice, text, c.want)
			}
			if _, err := s.Unblock(t.Context(), "gig", c.choice); c.want != "" && err != nil {
				t.Error(err)
			}
		}
	})
}
