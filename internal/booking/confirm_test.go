package booking

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

// till is a gateway that keeps books: it fails the test when money is captured
// that was voided or never authorised.
type till struct {
	t    *testing.T
	mu   sync.Mutex
	n    int
	refs map[string]string // authorised, captured, voided

	charges   []string       // what Authorise was asked for, by the charges' names
	refuse    error          // of Authorise
	authorise func(c Charge) // called between authorising and booking
	capture   func() error   // called first in Capture
}

func newTill(t *testing.T) *till { return &till{t: t, refs: map[string]string{}} }

func (g *till) Authorise(_ context.Context, c Charge) (string, error) {
	g.mu.Lock()
	g.charges = append(g.charges, c.ID)
	g.mu.Unlock()
	if g.refuse != nil {
		return "", g.refuse
	}
	g.mu.Lock()
	g.n++
	ref := fmt.Sprintf("ref-%d", g.n)
	g.refs[ref] = "authorised"
	g.mu.Unlock()
	if g.authorise != nil {
		g.authorise(c)
	}
	return ref, nil
}

func (g *till) Capture(_ context.Context, ref string) error {
	if g.capture != nil {
		if err := g.capture(); err != nil {
			return err
		}
	}
	return g.move(ref, "captured")
}

func (g *till) Void(_ context.Context, ref string) error { return g.move(ref, "voided") }

func (g *till) move(ref, to string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if was := g.refs[ref]; was != "authorised" && was != to {
		g.t.Errorf("%s: got %s after %q, want it after authorised", ref, to, was)
	}
	g.refs[ref] = to
	return nil
}

func (g *till) books() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	sums := map[string]int{}
	for _, state := range g.refs {
		sums[state]++
	}
	return sums
}

func wantTill(t *testing.T, g *till, want map[string]int) {
	t.Helper()
	if got := g.books(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("till: got %v, want %v", got, want)
	}
}

func TestConfirm(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		g := newTill(t)
		b := newBooker(t, dsn, 3, func(p *Parts) { p.Gateway = g })
		p := newPass()
		h := mustHold(t, b.store, p, "A-1 A-2", noon)

		g.refuse = seat.ErrDeclined
		if _, err := b.Confirm(t.Context(), p, h.ID); !errors.Is(err, seat.ErrDeclined) {
			t.Errorf("declined: got %v, want %v", err, seat.ErrDeclined)
		}
		wantSeats(t, b.store, "A-1:held A-2:held A-3")
		g.refuse = nil
		for range 2 { // a repeat answers the same and charges nothing
			got, err := b.Confirm(t.Context(), p, h.ID)
			if err != nil || got.Hold != h.ID || len(got.Seats) != 2 {
				t.Errorf("got %+v, %v, want the booking of %s", got, err, h.ID)
			}
		}
		wantTill(t, g, map[string]int{"captured": 1})
		wantSeats(t, b.store, "A-1:booked A-2:booked A-3")
		if _, err := b.Confirm(t.Context(), p, seat.NewHoldID()); !errors.Is(err, seat.ErrNoHold) {
			t.Errorf("no such hold: got %v, want %v", err, seat.ErrNoHold)
		}
	})
}

// The hold ends while the money is being reserved: the money is given back.
func TestConfirmLoses(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(b *Booker) error
		want error
	}{
		"expired": {func(b *Booker) error { _, err := b.store.Expire(t.Context(), noon.Add(time.Hour), 10); return err }, seat.ErrHoldEnded},
		"lapsed": {func(b *Booker) error {
			b.clock.now = func() time.Time { return noon.Add(rules.Hold + rules.Grace + time.Millisecond) }
			return nil
		}, seat.ErrHoldEnded},
		"skewed": {func(b *Booker) error { b.clock.skewed.Store(true); return nil }, seat.ErrSkew},
		"away":   {func(b *Booker) error { return b.store.db.Close() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, dsn string) {
				g := newTill(t)
				b := newBooker(t, dsn, 1, func(p *Parts) { p.Gateway = g })
				p := newPass()
				h := mustHold(t, b.store, p, "A-1", noon)
				g.authorise = func(Charge) {
					if err := c.end(b); err != nil {
						t.Error(err)
					}
				}
				if _, err := b.Confirm(t.Context(), p, h.ID); err == nil || (c.want != nil && !errors.Is(err, c.want)) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				wantTill(t, g, map[string]int{"voided": 1})
				if name != "away" {
					if facts := outboxFacts(t, b.store); strings.Contains(facts, "confirmed") {
						t.Errorf("got facts %q, want no confirmed", facts)
					}
				}
			})
		})
	}
}

// Ten confirms of one hold, its release and its expiry at once, over and over: as
// many captures as bookings, and every other authorisation is given back.
func TestMoneyForSeatsOnly(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		const rounds = 8
		g := newTill(t)
		b := newBooker(t, dsn, rounds, func(p *Parts) { p.Gateway = g })
		seats, err := b.store.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		for i := range rounds {
			p := newPass()
			h := mustHold(t, b.store, p, string(seats[i].ID), noon)
			at(12, func(i int) {
				switch i {
				case 0:
					if err := b.store.Release(t.Context(), p, h.ID, noon); err != nil && !errors.Is(err, seat.ErrHoldEnded) {
						t.Errorf("release: %v", err)
					}
				case 1:
					if _, err := b.store.Expire(t.Context(), noon.Add(time.Hour), 10); err != nil {
						t.Errorf("expire: %v", err)
					}
				default:
					if _, err := b.Confirm(t.Context(), p, h.ID); err != nil && !errors.Is(err, seat.ErrHoldEnded) {
						t.Errorf("confirm: %v", err)
					}
				}
			})
		}
		var booked int
		if err := b.store.db.GetContext(t.Context(), &booked, "SELECT COUNT(*) FROM bookings"); err != nil {
			t.Fatal(err)
		}
		got := g.books()
		if got["captured"] != booked || got["authorised"] != 0 {
			t.Errorf("got %d bookings and till %v, want as many captured and none left", booked, got)
		}
	})
}

// A capture that fails is made up for by the loop, and not before the request
// that booked must have ended.
func TestCaptureLater(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		g := newTill(t)
		g.capture = func() error { return errors.New("gateway is away") }
		b := newBooker(t, dsn, 1, func(p *Parts) { p.Gateway = g })
		p := newPass()
		h := mustHold(t, b.store, p, "A-1", noon)
		if _, err := b.Confirm(t.Context(), p, h.ID); err != nil {
			t.Errorf("confirm: got %v, want the seat booked", err)
		}
		wantTill(t, g, map[string]int{"authorised": 1})
		b.clock.now = func() time.Time { return noon.Add(2 * captureAfter) }
		if _, err := b.capture(t.Context()); err == nil {
			t.Error("gateway still away: got no error, want one")
		}
		g.capture = nil
		b.clock.now = func() time.Time { return noon.Add(2*captureAfter + captureMost) } // it was put behind the others
		for range 2 {                                                                    // the second finds nothing left to do
			if _, err := b.capture(t.Context()); err != nil {
				t.Errorf("capture: %v", err)
			}
		}
		wantTill(t, g, map[string]int{"captured": 1})
	})
}

// A commit without an answer is looked up: booked is booked, and what is not
// there now is neither captured nor given back.
func TestConfirmUnsure(t *testing.T) {
	g := newTill(t)
	b := newBooker(t, sqliteDSN(t), 2, func(p *Parts) { p.Gateway = g })
	unsure := fmt.Errorf("%w: %w", sqldb.ErrUnsure, sqldb.ErrAway)

	p := newPass()
	row, err := b.store.hold(t.Context(), p, mustHold(t, b.store, p, "A-1", noon).ID)
	if err != nil {
		t.Fatal(err)
	}
	ref, _ := g.Authorise(t.Context(), Charge{})
	if _, err := b.lost(t.Context(), row, ref, unsure); !errors.Is(err, sqldb.ErrUnsure) {
		t.Errorf("not booked: got %v, want %v", err, unsure)
	}
	wantTill(t, g, map[string]int{"authorised": 1})
	// It arrives after all.
	if _, err := b.store.confirm(t.Context(), p, Key{}, row, ref, false, noon); err != nil {
		t.Fatal(err)
	}
	if got, err := b.lost(t.Context(), row, ref, unsure); err != nil || got.Hold != row.ID {
		t.Errorf("booked: got %+v, %v, want the booking", got, err)
	}
	wantTill(t, g, map[string]int{"captured": 1})
}
