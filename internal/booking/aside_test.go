package booking

import (
	"errors"
	"testing"
	"time"

	"waitroom/internal/seat"
)

// What was set aside stays as it is, for an operator, whatever its visitor asks for: the
// seats are not given back, sold or given more time. The visitor may hold others, and leave.
func TestAsideStaysAside(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		b := newBooker(t, dsn, 4, nil)
		s := b.store
		p, leaver := newPass(), newPass()
		h, left := mustHold(t, s, p, "A-1 A-2", noon), mustHold(t, s, leaver, "A-3", noon)
		for _, id := range ids("A-2 A-3") { // by hand: somebody else's
			if _, err := s.db.Write(t.Context(), "UPDATE seats SET hold = 'x' WHERE room = 'gig' AND id = ?", id); err != nil {
				t.Fatal(err)
			}
		}
		late := h.Until.Add(2 * rules.Grace)
		b.clock.now = func() time.Time { return late }
		var set *asideError
		if ended, err := s.Expire(t.Context(), late, 10); len(ended) != 0 || !errors.As(err, &set) || len(set.reasons) != 2 {
			t.Fatalf("got %v, %v, want both set aside", ended, err)
		}
		if v, err := s.Visit(t.Context(), p); err != nil || v.Hold != nil || v.Spent {
			t.Errorf("visit: got %+v, %v, want a pass with nothing", v, err)
		}
		for what, do := range map[string]func() error{
			"release": func() error { return s.Release(t.Context(), p, h.ID, late) },
			"confirm": func() error { _, err := b.Confirm(t.Context(), p, h.ID); return err },
			"extend":  func() error { _, err := s.Extend(t.Context(), p, h.ID, late); return err },
		} {
			for range 2 {
				if err := do(); !errors.Is(err, seat.ErrHoldEnded) {
					t.Errorf("%s: got %v, want %v", what, err, seat.ErrHoldEnded)
				}
			}
		}
		for range 2 { // done already
			if err := s.Leave(t.Context(), leaver, late); err != nil {
				t.Errorf("leave: %v", err)
			}
		}
		if v, err := s.Visit(t.Context(), leaver); err != nil || !v.Spent {
			t.Errorf("who left: got %+v, %v, want a spent pass", v, err)
		}
		wantSeats(t, s, "A-1:held A-2:held A-3:held A-4")

		other, fresh, err := s.Hold(t.Context(), p, ids("A-4"), late)
		if err != nil || !fresh {
			t.Fatalf("another hold: got %v, %v, want it", fresh, err)
		}
		if err := s.buy(t.Context(), p, other.ID, late); err != nil {
			t.Errorf("buy it: %v", err)
		}
		wantSeats(t, s, "A-1:held A-2:held A-3:held A-4:booked")
		wantStates(t, s, map[seat.HoldID]string{h.ID: aside, left.ID: aside, other.ID: confirmed})
		wantFacts(t, s, "held held finished held confirmed finished")
	})
}
