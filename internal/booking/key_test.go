package booking

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

func mustKey(t *testing.T, word string, request ...string) Key {
	t.Helper()
	k, err := ParseKey(word, request...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseKey(t *testing.T) {
	long := strings.Repeat("k", 64)
	for header, word := range map[string]string{
		"8e03978e-40d5-43dd-bc93-6894a57f9324": "8e03978e-40d5-43dd-bc93-6894a57f9324",
		`"quoted.as:RFC_8941~"`:                "quoted.as:RFC_8941~",
		long:                                   long,
	} {
		if k, err := ParseKey(header); err != nil || k.word != word {
			t.Errorf("%q: got %q, %v, want %q", header, k.word, err, word)
		}
	}
	for _, header := range []string{"", `""`, `"`, `"open`, long + "k", "two words", "semi;colon", "ümlaut", "line\nbreak", "'; DROP TABLE seats"} {
		if _, err := ParseKey(header); !errors.Is(err, seat.ErrKey) {
			t.Errorf("%q: got %v, want %v", header, err, seat.ErrKey)
		}
	}
	if mustKey(t, "k", "ab", "c") == mustKey(t, "k", "a", "bc") {
		t.Error("two requests have one fingerprint")
	}
}

// What was asked for under a key comes to the same as before, whatever has happened since,
// and to nothing a second time; another key asks anew.
func TestKey(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 3)
		ctx, p, other := t.Context(), newPass(), newPass()
		hold := func(p token.Pass, key Key, seats string) (seat.Hold, bool, error) {
			return s.holdSeats(ctx, p, key, ids(seats), noon)
		}
		first := mustKey(t, "first", "A-1")
		h, fresh, err := hold(p, first, "A-1")
		if err != nil || !fresh {
			t.Fatalf("hold: got %v, %v", fresh, err)
		}
		if again, fresh, err := hold(p, first, "A-1"); err != nil || !fresh || again.ID != h.ID {
			t.Errorf("hold again: got %+v, %v, %v, want the same, as new as it was", again, fresh, err)
		}
		if _, _, err := hold(p, mustKey(t, "first", "A-2"), "A-2"); !errors.Is(err, seat.ErrKeyReused) {
			t.Errorf("the key for other seats: got %v, want %v", err, seat.ErrKeyReused)
		}
		wantSeats(t, s, "A-1:held A-2 A-3")

		// Once more, by which it would have been extended already.
		longer := mustKey(t, "longer")
		for range 2 {
			if got, err := s.extend(ctx, p, longer, h.ID, noon); err != nil || !got.Until.Equal(h.Until.Add(rules.Extend)) {
				t.Errorf("extend: got %v, %v, want until %v", got.Until, err, h.Until.Add(rules.Extend))
			}
		}
		if _, err := s.extend(ctx, p, mustKey(t, "longest"), h.ID, noon); !errors.Is(err, seat.ErrExtended) {
			t.Errorf("extend under another key: got %v, want %v", err, seat.ErrExtended)
		}

		// What is taken may be had later, under the same key too, as the answer says. A key is
		// its pass's own.
		if _, _, err := hold(other, first, "A-1 A-2"); !errors.Is(err, seat.ErrTaken) {
			t.Errorf("a taken seat: got %v, want %v", err, seat.ErrTaken)
		}
		back := mustKey(t, "back")
		for range 2 {
			if err := s.release(ctx, p, back, h.ID, noon); err != nil {
				t.Errorf("release: %v", err)
			}
		}
		wantSeats(t, s, "A-1 A-2 A-3")
		if again, fresh, err := hold(p, first, "A-1"); err != nil || !fresh || again.ID != h.ID {
			t.Errorf("the first key after its hold was given back: got %+v, %v, %v, want the same hold", again, fresh, err)
		}
		wantSeats(t, s, "A-1 A-2 A-3")
		if _, fresh, err := hold(other, first, "A-1 A-2"); err != nil || !fresh {
			t.Errorf("the refused key again: got %v, %v, want the seats", fresh, err)
		}
		wantSeats(t, s, "A-1:held A-2:held A-3")

		// What was there already is there, each time; what is refused for good is refused.
		for range 2 {
			if _, fresh, err := hold(other, mustKey(t, "there", "A-1 A-2"), "A-1 A-2"); err != nil || fresh {
				t.Errorf("seats that it holds: got %v, %v, want the hold that is there", fresh, err)
			}
		}
		none := mustKey(t, "none", "B-1")
		if _, _, err := hold(p, none, "B-1"); !errors.Is(err, seat.ErrUnknown) {
			t.Errorf("no such seat: got %v, want %v", err, seat.ErrUnknown)
		}
		if _, err := s.AddSeats(ctx, "gig", ids("B-1")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := hold(p, none, "B-1"); !errors.Is(err, seat.ErrUnknown) {
			t.Errorf("the refused key, when the seat is there: got %v, want %v", err, seat.ErrUnknown)
		}

		// A pass that has ended hears what a key came to, and begins nothing.
		if again, _, err := hold(p, first.Late(), "A-1"); err != nil || again.ID != h.ID {
			t.Errorf("late: got %+v, %v, want the hold of before", again, err)
		}
		if _, _, err := hold(p, mustKey(t, "late", "B-1").Late(), "B-1"); !errors.Is(err, token.ErrExpired) {
			t.Errorf("late, another key: got %v, want %v", err, token.ErrExpired)
		}
		wantSeats(t, s, "A-1:held A-2:held A-3 B-1")
	})
}

// A pass that no booker has seen has no row whose lock could guard a key, and nothing to
// keep: it holds nothing, each time.
func TestKeyOfANewPass(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 1)
		p, key := newPass(), mustKey(t, "back")
		for range 2 {
			if err := s.release(t.Context(), p, key, seat.NewHoldID(), noon); !errors.Is(err, seat.ErrNoHold) {
				t.Errorf("release: got %v, want %v", err, seat.ErrNoHold)
			}
		}
		var n int
		if err := s.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM request_keys"); err != nil || n != 0 {
			t.Errorf("got %d rows, %v, want none", n, err)
		}
	})
}

// Many at once with one key, on two bookers, do it once, and all of them hear of it.
func TestKeyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		stores := []*Store{newStore(t, dsn, 20)}
		if !strings.HasPrefix(dsn, "sqlite:") {
			other, err := NewStore(t.Context(), openDB(t, dsn), rules)
			if err != nil {
				t.Fatal(err)
			}
			stores = append(stores, other)
		}
		p, key := newPass(), mustKey(t, "once")
		h := mustHold(t, stores[0], p, "A-1", noon)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				got, err := stores[i%len(stores)].extend(t.Context(), p, key, h.ID, noon)
				if err != nil || !got.Until.Equal(h.Until.Add(rules.Extend)) {
					t.Errorf("extend: got %v, %v, want until %v", got.Until, err, h.Until.Add(rules.Extend))
				}
			})
		}
		all.Wait()
	})
}

// A confirm under a key is one booking; while the first one asks for the money a second
// one is told so. What a payment was declined for may be asked for again.
func TestKeyOfAConfirm(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		g := newTill(t)
		b := newBooker(t, dsn, 2, func(p *Parts) { p.Gateway = g })
		p := newPass()
		h := mustHold(t, b.store, p, "A-1", noon)
		acts := b.Once(mustKey(t, "buy", string(h.ID)))
		g.authorise = func(Charge) {
			g.authorise = nil
			if _, err := acts.Confirm(t.Context(), p, h.ID); !errors.Is(err, seat.ErrKeyBusy) {
				t.Errorf("beside the first: got %v, want %v", err, seat.ErrKeyBusy)
			}
		}
		first, err := acts.Confirm(t.Context(), p, h.ID)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := acts.Confirm(t.Context(), p, h.ID); err != nil || again.Reference != first.Reference {
			t.Errorf("again: got %+v, %v, want %+v", again, err, first)
		}
		if _, err := b.Once(mustKey(t, "buy", "another")).Confirm(t.Context(), p, h.ID); !errors.Is(err, seat.ErrKeyReused) {
			t.Errorf("for another hold: got %v, want %v", err, seat.ErrKeyReused)
		}
		wantTill(t, g, map[string]int{"captured": 1})
	})
}

// Two bookers confirm under one key at once, and each has asked for the money: one of the
// two sums is taken, the other one given back, and both answer the booking.
func TestKeyOfTwoConfirms(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		g := newTill(t)
		gateway := func(p *Parts) { p.Gateway = g }
		one, other := newBooker(t, dsn, 2, gateway), newBooker(t, dsn, 2, gateway)
		p := newPass()
		h := mustHold(t, one.store, p, "A-1", noon)
		key := mustKey(t, "buy", string(h.ID))
		var beside Booking
		g.authorise = func(Charge) {
			g.authorise = nil
			var err error
			if beside, err = other.Once(key).Confirm(t.Context(), p, h.ID); err != nil {
				t.Errorf("the other booker: %v", err)
			}
		}
		if got, err := one.Once(key).Confirm(t.Context(), p, h.ID); err != nil || got.Reference == "" || got.Reference != beside.Reference {
			t.Errorf("got %+v, %v, want %+v", got, err, beside)
		}
		wantTill(t, g, map[string]int{"captured": 1, "voided": 1})
	})
}

// Of two confirms of one hold, under two keys, both are answered the booking, and so are
// their repeats. A key whose confirm found nothing to pay for is kept as well.
func TestKeyOfTheLoser(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		g := newTill(t)
		b := newBooker(t, dsn, 2, func(p *Parts) { p.Gateway = g })
		p := newPass()
		h := mustHold(t, b.store, p, "A-1", noon)
		g.authorise = func(Charge) {
			g.authorise = nil
			if _, err := b.Once(mustKey(t, "winner")).Confirm(t.Context(), p, h.ID); err != nil {
				t.Errorf("the winner: %v", err)
			}
		}
		for range 2 {
			if _, err := b.Once(mustKey(t, "loser")).Confirm(t.Context(), p, h.ID); err != nil {
				t.Errorf("the loser: got %v, want the booking", err)
			}
		}
		if _, err := b.Once(mustKey(t, "third", "confirm")).Confirm(t.Context(), p, h.ID); err != nil {
			t.Errorf("a third: got %v, want the booking", err)
		}
		if _, _, err := b.Once(mustKey(t, "third", "hold")).Hold(t.Context(), p, ids("A-2")); !errors.Is(err, seat.ErrKeyReused) {
			t.Errorf("another request under its key: got %v, want %v", err, seat.ErrKeyReused)
		}
		wantTill(t, g, map[string]int{"captured": 1, "voided": 1})
	})
}

// A key tries again after a decline and after a database that was away, each time under
// another charge: by the same one a gateway would answer what it did before, a decline, or
// money that was let go since.
func TestKeyTriesAgain(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		g := newTill(t)
		b := newBooker(t, dsn, 1, func(p *Parts) { p.Gateway = g })
		p := newPass()
		h := mustHold(t, b.store, p, "A-1", noon)
		acts := b.Once(mustKey(t, "buy"))
		g.refuse = seat.ErrDeclined
		if _, err := acts.Confirm(t.Context(), p, h.ID); !errors.Is(err, seat.ErrDeclined) {
			t.Errorf("got %v, want %v", err, seat.ErrDeclined)
		}
		g.refuse = nil
		g.authorise = func(Charge) {
			g.authorise = nil
			b.clock.skewed.Store(true)
		}
		if _, err := acts.Confirm(t.Context(), p, h.ID); !errors.Is(err, seat.ErrSkew) {
			t.Errorf("got %v, want %v", err, seat.ErrSkew)
		}
		b.clock.skewed.Store(false)
		if _, err := acts.Confirm(t.Context(), p, h.ID); err != nil {
			t.Errorf("got %v, want the booking", err)
		}
		slices.Sort(g.charges)
		if got := slices.Compact(g.charges); len(got) != 3 {
			t.Errorf("got charges %q, want three", got)
		}
		wantTill(t, g, map[string]int{"captured": 1, "voided": 1})
	})
}

// A pass may use so many keys, and a day later they are forgotten.
func TestKeysAreBounded(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		b := newBooker(t, dsn, 2, nil)
		s, p := b.store, newPass()
		for i := range keysMost {
			if _, _, err := s.holdSeats(t.Context(), p, mustKey(t, fmt.Sprint("key", i)), ids("Z-1"), noon); !errors.Is(err, seat.ErrUnknown) {
				t.Fatalf("key %d: got %v, want %v", i+1, err, seat.ErrUnknown)
			}
		}
		beyond := mustKey(t, "beyond")
		if _, _, err := s.holdSeats(t.Context(), p, beyond, ids("A-1"), noon); !errors.Is(err, seat.ErrKeys) {
			t.Errorf("beyond the bound: got %v, want %v", err, seat.ErrKeys)
		}
		if _, _, err := s.holdSeats(t.Context(), newPass(), beyond, ids("A-1"), noon); err != nil {
			t.Errorf("another pass: %v", err)
		}
		for _, k := range []struct {
			after time.Duration
			left  int
		}{{24 * time.Hour, keysMost + 1}, {24*time.Hour + time.Millisecond, 0}} {
			b.clock.now = func() time.Time { return noon.Add(k.after) }
			if _, err := b.purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := s.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM request_keys"); err != nil || n != k.left {
				t.Errorf("after %s: got %d keys, %v, want %d", k.after, n, err, k.left)
			}
		}
		if _, _, err := s.holdSeats(t.Context(), p, beyond, ids("A-2"), noon); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// A transaction that fails keeps no key: what was not done is done by the repeat.
func TestKeyOfAFailure(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 1)
		p, key := newPass(), mustKey(t, "once", "A-1")
		if _, err := s.db.Exec("ALTER TABLE holds RENAME TO holds_gone"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.holdSeats(t.Context(), p, key, ids("A-1"), noon); err == nil {
			t.Fatal("got a hold without its table")
		}
		if _, err := s.db.Exec("ALTER TABLE holds_gone RENAME TO holds"); err != nil {
			t.Fatal(err)
		}
		if _, fresh, err := s.holdSeats(t.Context(), p, key, ids("A-1"), noon); err != nil || !fresh {
			t.Errorf("got %v, %v, want the hold", fresh, err)
		}
	})
}
