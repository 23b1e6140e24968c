package booking

import (
	"errors"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// A hold is extended once, while it lasts, and never beyond its pass.
func TestExtend(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		p := newPass()
		h := mustHold(t, s, p, "A-1", noon)
		if v, err := s.Visit(t.Context(), p); err != nil || h.More != rules.Extend || v.Hold.More != rules.Extend {
			t.Errorf("got %+v, %v, want an extension offered", v, err)
		}
		got, err := s.Extend(t.Context(), p, h.ID, noon.Add(time.Minute))
		if err != nil || !got.Until.Equal(h.Until.Add(rules.Extend)) || got.More != 0 {
			t.Errorf("got %+v, %v, want until %v", got, err, h.Until.Add(rules.Extend))
		}
		if _, err := s.Extend(t.Context(), p, h.ID, noon.Add(time.Minute)); !errors.Is(err, seat.ErrExtended) {
			t.Errorf("again: got %v, want %v", err, seat.ErrExtended)
		}
		if v, err := s.Visit(t.Context(), p); err != nil || v.Hold.More != 0 || !v.Hold.Until.Equal(got.Until) {
			t.Errorf("got %+v, %v, want no further extension", v, err)
		}
		// The sweeper and a confirm go by the new end.
		if ended, err := s.Expire(t.Context(), h.Until.Add(rules.Grace+time.Millisecond), 10); len(ended) != 0 || err != nil {
			t.Errorf("expire at the old end: got %v, %v, want none", ended, err)
		}
		if err := s.buy(t.Context(), p, h.ID, got.Until); err != nil {
			t.Errorf("confirm at the new end: %v", err)
		}
		if _, err := s.Extend(t.Context(), p, h.ID, noon); !errors.Is(err, seat.ErrHoldEnded) {
			t.Errorf("what is booked: got %v, want %v", err, seat.ErrHoldEnded)
		}

		short := newPass()
		short.Expires = noon.Add(rules.Hold + time.Minute)
		h = mustHold(t, s, short, "A-2", noon)
		if h.More != time.Minute {
			t.Errorf("a pass that ends a minute after its hold: %s are offered", h.More)
		}
		if got, err := s.Extend(t.Context(), short, h.ID, noon); err != nil || !got.Until.Equal(short.Expires) {
			t.Errorf("got %v, %v, want the end of the pass, %v", got.Until, err, short.Expires)
		}

		late := newPass()
		h = mustHold(t, s, late, "A-3", noon)
		if _, err := s.Extend(t.Context(), late, h.ID, h.Until.Add(time.Millisecond)); !errors.Is(err, seat.ErrHoldEnded) {
			t.Errorf("after its end: got %v, want %v", err, seat.ErrHoldEnded)
		}
		if _, err := s.Extend(t.Context(), newPass(), h.ID, noon); !errors.Is(err, seat.ErrNoHold) {
			t.Errorf("another's: got %v, want %v", err, seat.ErrNoHold)
		}
		s.rules.Extend = 0
		if v, err := s.Visit(t.Context(), late); err != nil || v.Hold.More != 0 {
			t.Errorf("none is given: got %+v, %v, want none offered", v.Hold, err)
		}
		if _, err := s.Extend(t.Context(), late, h.ID, noon); !errors.Is(err, seat.ErrExtended) {
			t.Errorf("none is given: got %v, want %v", err, seat.ErrExtended)
		}
	})
}

// A pass of an earlier line opens nothing new; what it holds it may buy or give back.
func TestPassOfAnEarlierLine(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		b := newBooker(t, dsn, 4, nil)
		buyer, giver, late := newPass(), newPass(), newPass()
		bought, given := mustHold(t, b.store, buyer, "A-1", noon), mustHold(t, b.store, giver, "A-2", noon)
		look := func() {
			t.Helper()
			if _, err := b.events.look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		take(t, b, describedRecord(epoch, 1000, 1, titled("old")))
		look()
		if _, _, err := b.store.Hold(t.Context(), late, ids("A-4"), noon); err != nil {
			t.Errorf("its own line: got %v", err)
		}
		newer := room.NewEpoch()
		take(t, b, describedRecord(newer, 2000, 1, titled("new")))
		look()
		if _, _, err := b.store.Hold(t.Context(), newPass(), ids("A-3"), noon); !errors.Is(err, seat.ErrEpoch) {
			t.Errorf("a new hold: got %v, want %v", err, seat.ErrEpoch)
		}
		if h, fresh, err := b.store.Hold(t.Context(), buyer, ids("A-1"), noon); err != nil || fresh || h.ID != bought.ID {
			t.Errorf("the hold it has: got %v, %v, %v", h, fresh, err)
		}
		if err := b.store.buy(t.Context(), buyer, bought.ID, noon); err != nil {
			t.Errorf("confirm: %v", err)
		}
		if err := b.store.Release(t.Context(), giver, given.ID, noon); err != nil {
			t.Errorf("release: %v", err)
		}
		for name, e := range map[string]room.Epoch{"the line's": newer, "one that was not told of yet": room.NewEpoch()} {
			p := newPass()
			p.Epoch = e
			h, _, err := b.store.Hold(t.Context(), p, ids("A-3"), noon)
			if err != nil {
				t.Errorf("%s: got %v, want the seat", name, err)
			} else if err := b.store.Release(t.Context(), p, h.ID, noon); err != nil {
				t.Error(err)
			}
		}
	})
}
