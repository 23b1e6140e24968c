package booking

import (
	"errors"
	"testing"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// A booker that stood still sells by a clock that is behind, until it looks. Nothing is sold
// twice, what another booker ended is ended, and no hold ends twice.
func TestStoodStill(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		w := newFleet(t, dsn, 4)
		a, b := w.start(0), w.start(0)
		visitor := func() token.Pass {
			p := newPass()
			p.Expires = noon.Add(time.Hour)
			return p
		}
		hold := func(m *machine, p token.Pass, id string) seat.Hold {
			t.Helper()
			h, _, err := m.Hold(t.Context(), p, ids(id))
			if err != nil {
				t.Fatalf("hold %s: %v", id, err)
			}
			return h
		}
		w.pass(10 * time.Second)
		first := visitor()
		lost := hold(a, first, "A-1")
		a.still = true
		w.pass(rules.Hold + time.Minute)
		w.sweep()
		second := visitor()
		won := hold(b, second, "A-1")
		a.still = false

		// a goes on, six minutes behind, and has not looked yet.
		ended := func(p token.Pass, h seat.Hold) {
			t.Helper()
			if _, err := a.Confirm(t.Context(), p, h.ID); !errors.Is(err, seat.ErrHoldEnded) {
				t.Errorf("a confirms what b ended: got %v, want %v", err, seat.ErrHoldEnded)
			}
			if _, err := a.Extend(t.Context(), p, h.ID); !errors.Is(err, seat.ErrHoldEnded) {
				t.Errorf("a extends what b ended: got %v, want %v", err, seat.ErrHoldEnded)
			}
		}
		ended(first, lost)
		var taken *seat.TakenError
		if _, _, err := a.Hold(t.Context(), visitor(), ids("A-1")); !errors.As(err, &taken) {
			t.Errorf("a holds what b holds: got %v, want it taken", err)
		}
		third := visitor()
		short := hold(a, third, "A-2")
		w.sweep() // it is over, by b's clock
		ended(third, short)
		if _, err := b.Confirm(t.Context(), second, won.ID); err != nil {
			t.Errorf("b confirms its own: %v", err)
		}

		w.pass(clockEvery) // a looks
		a.wantTime(t, "a", w.run)
		fourth := visitor()
		hold(a, fourth, "A-3")
		w.pass(rules.Hold)
		w.sweep()
		wantSeats(t, w.store, "A-1:booked A-2 A-3:held A-4")
		w.pass(rules.Grace + 2*clockEvery)
		w.sweep()
		wantSeats(t, w.store, "A-1:booked A-2 A-3 A-4")
		wantFacts(t, w.store, "held expired held held expired confirmed finished held expired")
	})
}

// The clocks of the database and of a machine are set, and a booker is started there: what
// the others hold lives on, what it holds ends for all at the same time. So it is when it
// starts in the very moment, before the others have noticed.
func TestStartAfterClocksWereSet(t *testing.T) {
	for name, at := range map[string]time.Duration{"long after": time.Minute, "at once": 0} {
		for _, by := range []time.Duration{time.Hour, -time.Hour} {
			t.Run(name+" "+by.String(), func(t *testing.T) {
				each(t, func(t *testing.T, dsn string) {
					w := newFleet(t, dsn, 4)
					a := w.start(0)
					w.pass(10 * time.Second)
					mine := newPass()
					if _, _, err := a.Hold(t.Context(), mine, ids("A-1")); err != nil {
						t.Fatal(err)
					}
					w.there, a.set = by, by
					w.pass(at)
					b := w.start(by)
					w.sweep()
					wantSeats(t, w.store, "A-1:held A-2 A-3 A-4")
					w.pass(2 * listenFor)
					w.sweep()
					wantSeats(t, w.store, "A-1:held A-2 A-3 A-4")
					h, _, err := b.Hold(t.Context(), newPass(), ids("A-2"))
					if err != nil {
						t.Fatal(err)
					}
					if got := h.Until.Sub(a.Now()); got > rules.Hold || got < rules.Hold-clockEvery {
						t.Errorf("b's hold lasts %v by a's clock, want %v", got, rules.Hold)
					}
					w.pass(rules.Hold - 2*listenFor - at + rules.Grace + 2*clockEvery)
					w.sweep()
					wantSeats(t, w.store, "A-1 A-2:held A-3 A-4")
					w.pass(2*listenFor + at)
					w.sweep()
					wantSeats(t, w.store, "A-1 A-2 A-3 A-4")
				})
			})
		}
	}
}

// Where the database's clock is off by less than stops anybody, bookers still find out who
// stood still: who wakes is told the time, whenever it looks, and who starts later is too.
func TestStoodStillBesideAClockThatIsOff(t *testing.T) {
	for _, there := range []time.Duration{400 * time.Millisecond, -400 * time.Millisecond, 1800 * time.Millisecond} {
		for extra := time.Duration(0); extra <= freshFor+clockEvery; extra += clockEvery { // the moment that it finds has every age
			t.Run(there.String()+" "+extra.String(), func(t *testing.T) {
				t.Parallel()
				w := newFleet(t, sqliteDSN(t), 1)
				w.there = there
				a, b := w.start(0), w.start(0)
				w.pass(10 * time.Second)
				told, err := b.clock.others.read(t.Context())
				if age := told.age(w.now().Add(there)); err != nil || age > freshFor+clockEvery {
					t.Errorf("got %+v, %v, of %v ago, want the time told", told, err, age)
				}
				a.still = true
				w.pass(10*time.Minute + extra)
				a.still = false
				w.pass(10 * time.Second)
				a.wantTime(t, "a", w.run)
				b.wantTime(t, "b", w.run)
				c := w.start(0)
				w.pass(10 * time.Second)
				for who, m := range map[string]*machine{"a": a, "b": b, "c": c} {
					m.wantTime(t, who+" later", w.run)
					if _, err := m.clock.time(); err != nil {
						t.Errorf("%s: got %v, want it to go on", who, err)
					}
				}
			})
		}
	}
}
