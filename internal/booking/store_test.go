package booking

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// Several seats are held all or none, and who was refused is told by name.
func TestHoldAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		mustHold(t, s, newPass(), "A-2 A-3", noon)
		p := newPass()
		_, _, err := s.Hold(t.Context(), p, ids("A-1 A-2 A-3 A-4"), noon)
		var taken *seat.TakenError
		if !errors.As(err, &taken) || !slices.Equal(taken.Seats, ids("A-2 A-3")) {
			t.Errorf("got %v, want A-2 and A-3 taken", err)
		}
		wantSeats(t, s, "A-1 A-2:held A-3:held A-4")
		mustHold(t, s, p, "A-1 A-4", noon) // the refusal left nothing of the pass behind
		wantFacts(t, s, "held held")

		for _, c := range []struct {
			seats string
			room  room.Name
			want  error
			name  string
		}{
			{"A-1 Z-9", "gig", seat.ErrUnknown, "Z-9"},
			{"Y-1 Z-9", "gig", seat.ErrUnknown, "Y-1,Z-9"},
			{"A-1", "no-seats", seat.ErrNoRoom, ""},
		} {
			p := newPass()
			p.Room = c.room
			if _, _, err := s.Hold(t.Context(), p, ids(c.seats), noon); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("hold %s in %s: got %v, want %v %s", c.seats, c.room, err, c.want, c.name)
			}
		}
	})
}

func TestHoldOncePerPass(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		p := newPass()
		first := mustHold(t, s, p, "A-1 A-2", noon)
		if want := noon.Add(rules.Hold); !first.Until.Equal(want) {
			t.Errorf("until: got %v, want %v", first.Until, want)
		}
		again, fresh, err := s.Hold(t.Context(), p, ids("A-1 A-2"), noon.Add(time.Second))
		if err != nil || fresh || again.ID != first.ID || !again.Until.Equal(first.Until) {
			t.Errorf("same seats: got %v, fresh %t, %v, want %v again", again, fresh, err, first)
		}
		if _, _, err := s.Hold(t.Context(), p, ids("A-3"), noon); !errors.Is(err, seat.ErrHoldOpen) {
			t.Errorf("other seats: got %v, want %v", err, seat.ErrHoldOpen)
		}
		late := noon.Add(rules.Hold + rules.Grace + time.Millisecond)
		if _, _, err := s.Hold(t.Context(), p, ids("A-1 A-2"), late); !errors.Is(err, seat.ErrHoldEnded) {
			t.Errorf("same seats, lapsed: got %v, want %v", err, seat.ErrHoldEnded)
		}
		// A hold ends with the pass at the latest.
		short := newPass()
		short.Expires = noon.Add(time.Minute)
		if got := mustHold(t, s, short, "A-4", noon).Until; !got.Equal(short.Expires) {
			t.Errorf("until: got %v, want the pass's %v", got, short.Expires)
		}
		wantFacts(t, s, "held held")
	})
}

func TestRelease(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 2)
		p := newPass()
		h := mustHold(t, s, p, "A-1", noon)
		if err := s.Release(t.Context(), newPass(), h.ID, noon); !errors.Is(err, seat.ErrNoHold) {
			t.Errorf("a stranger: got %v, want %v", err, seat.ErrNoHold)
		}
		for range 2 { // a repeat is done already
			if err := s.Release(t.Context(), p, h.ID, noon); err != nil {
				t.Errorf("release: %v", err)
			}
		}
		wantSeats(t, s, "A-1 A-2")
		if err := s.buy(t.Context(), p, h.ID, noon); !errors.Is(err, errLost) {
			t.Errorf("confirm: got %v, want %v", err, errLost)
		}
		h = mustHold(t, s, p, "A-1 A-2", noon)
		if err := s.buy(t.Context(), p, h.ID, noon); err != nil {
			t.Fatal(err)
		}
		if err := s.Release(t.Context(), p, h.ID, noon); !errors.Is(err, seat.ErrHoldEnded) {
			t.Errorf("release what is booked: got %v, want %v", err, seat.ErrHoldEnded)
		}
		wantSeats(t, s, "A-1:booked A-2:booked")
		wantFacts(t, s, "held released held confirmed finished sold_out")
	})
}

func TestConfirmUntilGrace(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 3)
		in, out := newPass(), newPass()
		a, b := mustHold(t, s, in, "A-1", noon), mustHold(t, s, out, "A-2", noon)
		last := noon.Add(rules.Hold + rules.Grace)
		if err := s.buy(t.Context(), in, a.ID, last); err != nil {
			t.Errorf("at the last moment: %v", err)
		}
		if err := s.buy(t.Context(), out, b.ID, last.Add(time.Millisecond)); !errors.Is(err, errLost) {
			t.Errorf("a millisecond later: got %v, want %v", err, errLost)
		}
		// The seat is the lapsed hold's until the sweeper comes.
		var taken *seat.TakenError
		if _, _, err := s.Hold(t.Context(), newPass(), ids("A-2"), last.Add(time.Millisecond)); !errors.As(err, &taken) {
			t.Errorf("overtaking a lapsed hold: got %v, want it taken", err)
		}
		if ended, err := s.Expire(t.Context(), last, 10); len(ended) != 0 || err != nil {
			t.Errorf("expire within the grace: got %v, %v, want none", ended, err)
		}
		for i, want := range []int{1, 0} {
			if ended, err := s.Expire(t.Context(), last.Add(time.Millisecond), 10); len(ended) != want || err != nil {
				t.Errorf("expire, time %d: got %v, %v, want %d", i+1, ended, err, want)
			}
		}
		wantSeats(t, s, "A-1:booked A-2 A-3")
		if err := s.buy(t.Context(), out, b.ID, noon); !errors.Is(err, errLost) {
			t.Errorf("confirm what expired: got %v, want %v", err, errLost)
		}
		mustHold(t, s, out, "A-2", noon.Add(6*time.Minute)) // the slot was not freed with the seat
		wantFacts(t, s, "held held confirmed finished expired held")
	})
}

// Expire's limit bounds one step, and a hold that can't be ended does not keep
// the others from ending.
func TestExpireMany(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 5)
		for i, id := range ids("A-1 A-2 A-3 A-4 A-5") {
			mustHold(t, s, newPass(), string(id), noon.Add(time.Duration(i)*time.Second))
		}
		late := noon.Add(time.Hour)
		if ended, err := s.Expire(t.Context(), late, 2); err != nil || len(ended) != 2 {
			t.Errorf("got %v, %v, want 2 ended", ended, err)
		}
		wantSeats(t, s, "A-1 A-2 A-3:held A-4:held A-5:held")
		// A row that breaks the invariant, as a hand in the database would.
		if _, err := s.db.Write(t.Context(), "UPDATE seats SET hold = 'x' WHERE id = 'A-3'"); err != nil {
			t.Fatal(err)
		}
		ended, err := s.Expire(t.Context(), late, 10)
		if !errors.Is(err, errBroken) || len(ended) != 2 {
			t.Errorf("got %v, %v, want 2 ended and the broken one named", ended, err)
		}
		if ended, err := s.Expire(t.Context(), late, 10); err != nil || len(ended) != 0 {
			t.Errorf("then: got %v, %v, want the broken one set aside", ended, err)
		}
		wantSeats(t, s, "A-1 A-2 A-3:held A-4 A-5")
	})
}

func TestPassIsSpentOnce(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 9)
		for _, c := range []struct {
			name  string
			spend func(p token.Pass) error
			facts string
		}{
			{"confirmed", func(p token.Pass) error {
				return s.buy(t.Context(), p, mustHold(t, s, p, "A-1", noon).ID, noon)
			}, "held confirmed finished"},
			{"left", func(p token.Pass) error { return s.Leave(t.Context(), p, noon) }, "finished"},
			{"left with a hold", func(p token.Pass) error {
				mustHold(t, s, p, "A-2", noon)
				return s.Leave(t.Context(), p, noon)
			}, "held released finished"},
		} {
			p := newPass()
			before := outboxFacts(t, s)
			if err := c.spend(p); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if _, _, err := s.Hold(t.Context(), p, ids("A-3"), noon); !errors.Is(err, seat.ErrPassSpent) {
				t.Errorf("%s, then hold: got %v, want %v", c.name, err, seat.ErrPassSpent)
			}
			if err := s.Leave(t.Context(), p, noon); err != nil {
				t.Errorf("%s, then leave: %v", c.name, err)
			}
			if got := strings.TrimSpace(strings.TrimPrefix(outboxFacts(t, s), before)); got != c.facts {
				t.Errorf("%s: got facts %q, want %q", c.name, got, c.facts)
			}
			// Its event comes late, or again: the first row stays.
			err := s.Admit(t.Context(), []events.Admitted{{ID: p.Admission.String(), AdmittedAtUS: 1}}, noon)
			if err != nil {
				t.Errorf("%s, then its event: %v", c.name, err)
			}
			if v, err := s.Visit(t.Context(), p); err != nil || !v.Spent || (v.Booking != nil) != (c.name == "confirmed") {
				t.Errorf("%s: got visit %+v, %v, want spent", c.name, v, err)
			}
		}
		wantSeats(t, s, "A-1:booked A-2 A-3 A-4 A-5 A-6 A-7 A-8 A-9")
	})
}

// Admissions are recorded once each, in any mix of new and known ones.
func TestAdmit(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 1)
		var batch []events.Admitted
		for range 2*admitRows + 7 {
			p := newPass()
			batch = append(batch, events.Admitted{ID: p.Admission.String(), AdmittedAtUS: 5})
		}
		for _, part := range [][]events.Admitted{batch[:150], batch, append(batch[3:4:4], batch[3]), nil} {
			if err := s.Admit(t.Context(), part, noon); err != nil {
				t.Fatal(err)
			}
		}
		var n int
		if err := s.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM admissions WHERE admitted_at_us = 5"); err != nil || n != len(batch) {
			t.Errorf("got %d rows, %v, want %d", n, err, len(batch))
		}
	})
}

// The last booking of a room says so, once; seats added later can sell out again.
func TestSoldOut(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 3)
		book := func(seats string) {
			p := newPass()
			if err := s.buy(t.Context(), p, mustHold(t, s, p, seats, noon).ID, noon); err != nil {
				t.Fatal(err)
			}
		}
		book("A-1 A-2")
		wantFacts(t, s, "held confirmed finished")
		book("A-3")
		wantFacts(t, s, "held confirmed finished held confirmed finished sold_out")
		for _, want := range []int{2, 0} { // adding is idempotent
			if got := addSeats(t, s, 5); got != want {
				t.Errorf("added %d seats, want %d", got, want)
			}
		}
		wantSeats(t, s, "A-1:booked A-2:booked A-3:booked A-4 A-5")
		book("A-4")
		book("A-5")
		if got := strings.Count(outboxFacts(t, s), "sold_out"); got != 2 {
			t.Errorf("got %d sold_out, want 2", got)
		}
	})
}

// What is old and done is forgotten; what is live or booked stays.
func TestPurge(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		booked, left, holding, fresh := newPass(), newPass(), newPass(), newPass()
		if err := s.buy(t.Context(), booked, mustHold(t, s, booked, "A-1", noon).ID, noon); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, left, "A-2", noon)
		if err := s.Leave(t.Context(), left, noon); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, holding, "A-3", noon)
		later := noon.Add(time.Hour)
		if err := s.Leave(t.Context(), fresh, later); err != nil {
			t.Fatal(err)
		}
		rows := func(table string) (n int) {
			if err := s.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM "+table); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n, err := s.Purge(t.Context(), noon); n != 0 || err != nil {
			t.Errorf("nothing is older than noon: got %d, %v, want 0", n, err)
		}
		if n, err := s.Purge(t.Context(), later); n != 4 || err != nil {
			t.Errorf("got %d, %v, want 2 admissions and 2 holds deleted", n, err)
		}
		for table, want := range map[string]int{"admissions": 2, "holds": 1, "bookings": 1, "booked_seats": 1, "seats": 4} {
			if got := rows(table); got != want {
				t.Errorf("%s: got %d rows, want %d", table, got, want)
			}
		}
		wantSeats(t, s, "A-1:booked A-2 A-3:held A-4")
	})
}

// A fact and what it tells are one transaction: while the outbox can't be
// written nothing changes, and while the act fails no fact is written.
func TestFactInTheSameTransaction(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		buyer, holder := newPass(), newPass()
		a, b := mustHold(t, s, buyer, "A-1", noon), mustHold(t, s, holder, "A-2", noon)
		rename := func(from, to string) {
			if _, err := s.db.Write(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
				t.Fatal(err)
			}
		}
		rename("facts", "hidden")
		for name, act := range map[string]func() error{
			"hold":    func() error { _, _, err := s.Hold(t.Context(), newPass(), ids("A-3"), noon); return err },
			"release": func() error { return s.Release(t.Context(), holder, b.ID, noon) },
			"confirm": func() error { return s.buy(t.Context(), buyer, a.ID, noon) },
			"leave":   func() error { return s.Leave(t.Context(), holder, noon) },
			"expire":  func() error { _, err := s.Expire(t.Context(), noon.Add(time.Hour), 10); return err },
		} {
			if err := act(); err == nil {
				t.Errorf("%s without an outbox: got no error, want one", name)
			}
			wantSeats(t, s, "A-1:held A-2:held A-3 A-4")
		}
		for _, p := range []token.Pass{buyer, holder} {
			if v, err := s.Visit(t.Context(), p); err != nil || v.Spent || v.Hold == nil {
				t.Errorf("got visit %+v, %v, want the hold live", v, err)
			}
		}
		rename("hidden", "facts")
		wantFacts(t, s, "held held")

		rename("stock", "hidden") // a confirm fails in its last statement
		if err := s.buy(t.Context(), buyer, a.ID, noon); err == nil {
			t.Error("confirm without a counter: got no error, want one")
		}
		rename("hidden", "stock")
		wantFacts(t, s, "held held")
		wantSeats(t, s, "A-1:held A-2:held A-3 A-4")
	})
}
