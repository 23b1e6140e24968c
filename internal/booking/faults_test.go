package booking

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
)

// What a neighbour's fault may cost the others.
const (
	// calm is for who needs nothing of what the fault holds. It is less than one wait for
	// a lock.
	calm = 4 * time.Second
	// patient is for who needs it: a vanished host's locks are gone within 10 s, and a
	// wait for them may have begun anew just before.
	patient = 20 * time.Second
)

// deadHost is a booker of another host that began to write and was never heard again: it
// holds what the statement locks until the server gives it up, or the test ends.
func deadHost(t *testing.T, dsn, statement string, args ...any) {
	t.Helper()
	tx, err := openDB(t, dsn).BeginTxx(context.WithoutCancel(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() }) // the server may have ended it before
	result, err := tx.ExecContext(t.Context(), statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := result.RowsAffected(); n != 1 {
		t.Fatalf("the dead host holds %d rows, want 1", n)
	}
}

// within runs act with a limit of its own and notes the slowest.
func within(t *testing.T, limit time.Duration, slowest *atomic.Int64, act func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	err := act(ctx)
	for {
		was, took := slowest.Load(), time.Since(began).Nanoseconds()
		if took <= was || slowest.CompareAndSwap(was, took) {
			return err
		}
	}
}

// A vanished host holds one row that the seats need. It costs those who need that row
// some seconds, and the others nothing.
func TestDeadHost(t *testing.T) {
	const others = 30
	for name, c := range map[string]struct {
		lock string
		args func(p token.Pass) []any
		// victim needs the row; it has a live hold of A-1 where held says so.
		held   bool
		victim func(ctx context.Context, s *Store, p token.Pass, h seat.Hold) error
	}{
		"an admission": {
			lock: "UPDATE admissions SET created_ms = created_ms + 1 WHERE id = ?",
			args: func(p token.Pass) []any { return []any{p.Admission.String()} },
			held: true,
			victim: func(ctx context.Context, s *Store, p token.Pass, h seat.Hold) error {
				return s.Release(ctx, p, h.ID, noon)
			},
		},
		"a seat": {
			lock: "UPDATE seats SET state = 'held', hold = 'of-the-dead' WHERE room = 'gig' AND id = 'A-1'",
			args: func(token.Pass) []any { return nil },
			victim: func(ctx context.Context, s *Store, p token.Pass, _ seat.Hold) error {
				_, _, err := s.Hold(ctx, p, ids("A-1"), noon)
				return err
			},
		},
		"the counter": {
			lock:   "UPDATE stock SET booked = booked + 1 WHERE room = 'gig'",
			args:   func(token.Pass) []any { return nil },
			held:   true,
			victim: func(ctx context.Context, s *Store, p token.Pass, h seat.Hold) error { return s.buy(ctx, p, h.ID, noon) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := testenv.MySQL(t)
			s := newStore(t, dsn, 3*others+1)
			elsewhere := newStore(t, dsn, 1) // another process
			p := newPass()
			var h seat.Hold
			if c.held {
				h = mustHold(t, s, p, "A-1", noon)
			}
			deadHost(t, dsn, c.lock, c.args(p)...)
			all, err := s.Seats(t.Context(), "gig")
			if err != nil {
				t.Fatal(err)
			}
			var free, victim atomic.Int64
			at(others+1, func(i int) {
				if i == 0 {
					err := within(t, patient, &victim, func(ctx context.Context) error { return c.victim(ctx, s, p, h) })
					if err != nil {
						t.Errorf("who needs %s: got %v, want it done once the dead host is given up", name, err)
					}
					return
				}
				other := newPass()
				one, two := all[i].ID, all[others+i].ID
				err := within(t, calm, &free, func(ctx context.Context) error {
					h, _, err := s.Hold(ctx, other, []seat.ID{one}, noon)
					if err == nil {
						err = s.Release(ctx, other, h.ID, noon)
					}
					if err == nil {
						_, err = elsewhere.Visit(ctx, other)
					}
					if err == nil {
						_, _, err = elsewhere.Hold(ctx, other, []seat.ID{two}, noon)
					}
					if err == nil {
						err = elsewhere.Leave(ctx, other, noon)
					}
					return err
				})
				if err != nil {
					t.Errorf("who needs nothing of it: got %v after %s, want everything as usual", err, calm)
				}
			})
			t.Logf("the slowest of the others needed %s, who needs it %s",
				time.Duration(free.Load()).Round(time.Millisecond), time.Duration(victim.Load()).Round(time.Millisecond))
		})
	}
}

// Holds whose rows contradict each other, as a hand in the database leaves them, are told
// once and set aside: those behind them expire.
func TestBrokenHoldsDontStopTheSweeper(t *testing.T) {
	for name, hand := range map[string]string{
		"the seat is another's":    "UPDATE seats SET hold = 'x' WHERE room = 'gig' AND id = ?",
		"the seat is free":         "UPDATE seats SET hold = '', state = 'free' WHERE room = 'gig' AND id = ?",
		"the pass is spent":        "UPDATE admissions SET spent_ms = 1 WHERE hold = (SELECT hold FROM seats WHERE room = 'gig' AND id = ?)",
		"the pass holds another":   "UPDATE admissions SET hold = 'x' WHERE hold = (SELECT hold FROM seats WHERE room = 'gig' AND id = ?)",
		"the pass is not recorded": "DELETE FROM admissions WHERE hold = (SELECT hold FROM seats WHERE room = 'gig' AND id = ?)",
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, dsn string) {
				const wrong, good = 20, 10
				s := newStore(t, dsn, wrong+good)
				all, err := s.Seats(t.Context(), "gig")
				if err != nil {
					t.Fatal(err)
				}
				for i, one := range all {
					mustHold(t, s, newPass(), string(one.ID), noon.Add(-time.Hour+time.Duration(i)*time.Second))
				}
				for _, one := range all[:wrong] {
					if _, err := s.db.Write(t.Context(), hand, one.ID); err != nil {
						t.Fatal(err)
					}
				}
				told, ended := 0, 0
				for range 3 {
					list, err := s.Expire(t.Context(), noon, 12)
					var set *asideError
					if errors.As(err, &set) {
						told += len(set.reasons)
					} else if err != nil {
						t.Fatal(err)
					}
					ended += len(list)
				}
				if told != wrong || ended != good {
					t.Errorf("after three steps of 12: %d are told and %d ended, want %d and %d", told, ended, wrong, good)
				}
				if list, err := s.Expire(t.Context(), noon, 12); err != nil || len(list) != 0 {
					t.Errorf("then: got %v, %v, want nothing", list, err)
				}
			})
		})
	}
}

// A stranger who has a row of a lapsed hold locked keeps the sweeper from that hold alone,
// and for no time.
func TestSweeperPassesLocksOver(t *testing.T) {
	for name, lock := range map[string]string{
		"a seat":       "UPDATE seats SET state = state WHERE room = 'gig' AND id = 'A-1'",
		"a hold":       "UPDATE holds SET state = state WHERE seats = 'A-1'",
		"an admission": "UPDATE admissions SET spent_ms = spent_ms WHERE hold = (SELECT hold FROM seats WHERE room = 'gig' AND id = 'A-1')",
	} {
		t.Run(name, func(t *testing.T) {
			dsn := testenv.MySQL(t)
			s := newStore(t, dsn, 10)
			for _, id := range ids("A-1 A-2 A-3") {
				mustHold(t, s, newPass(), string(id), noon)
			}
			stranger, err := openDB(t, dsn).BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Rollback()
			if _, err := stranger.ExecContext(t.Context(), lock); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			ended, err := s.Expire(t.Context(), noon.Add(time.Hour), 10)
			if err != nil || len(ended) != 2 {
				t.Errorf("got %v, %v, want the two that nobody has locked", ended, err)
			}
			if took := time.Since(began); took > 2*time.Second { // a lock is waited for 5 s
				t.Errorf("it took %s", took)
			}
			if err := stranger.Rollback(); err != nil {
				t.Fatal(err)
			}
			if ended, err := s.Expire(t.Context(), noon.Add(time.Hour), 10); err != nil || len(ended) != 1 {
				t.Errorf("then: got %v, %v, want the third", ended, err)
			}
		})
	}
}

// refusing is a till that captures all but one payment.
type refusing struct {
	*till
	refuse string
}

func (g *refusing) Capture(ctx context.Context, ref string) error {
	if ref == g.refuse {
		return errors.New("the account is closed")
	}
	return g.till.Capture(ctx, ref)
}

// One payment that is refused at its capture keeps none of a hundred others from being
// taken.
func TestRefusedCaptureStopsNobody(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		const bookings = 100
		g := &refusing{till: newTill(t)}
		g.capture = func() error { return errors.New("gateway is away") }
		b := newBooker(t, dsn, bookings, func(p *Parts) { p.Gateway = g })
		all, err := b.store.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		for i, one := range all {
			at := noon.Add(time.Duration(i) * time.Millisecond)
			b.clock.now = func() time.Time { return at }
			p := newPass()
			if _, err := b.Confirm(t.Context(), p, mustHold(t, b.store, p, string(one.ID), at).ID); err != nil {
				t.Fatal(err)
			}
		}
		g.capture, g.refuse = nil, "ref-1" // the oldest
		b.clock.now = func() time.Time { return noon.Add(2 * captureAfter) }
		for range 5 {
			_, _ = b.capture(t.Context()) // it may say that one was refused
		}
		wantTill(t, g.till, map[string]int{"captured": bookings - 1, "authorised": 1})
	})
}

// lapsedHolds gives a room n seats, each held by a hold whose time is over.
func lapsedHolds(t *testing.T, s *Store, name room.Name, n int) {
	t.Helper()
	ids, err := seat.Generate(n, 100)
	if err == nil {
		_, err = s.AddSeats(t.Context(), name, ids)
	}
	if err != nil {
		t.Fatal(err)
	}
	insert := func(into, values string, row func(i int) []any) {
		t.Helper()
		const most = 500
		for from := 0; from < n; from += most {
			var args []any
			count := min(most, n-from)
			for i := range count {
				args = append(args, row(from+i)...)
			}
			if _, err := s.db.Write(t.Context(), "INSERT INTO "+into+" VALUES "+strings.Repeat(", "+values, count)[2:], args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	hold := func(i int) string { return fmt.Sprintf("%s%013d", name[:3], i) }
	admission := func(i int) string {
		p := newPass().Admission
		p.Room, p.Number = name, room.Number(i)+1
		p.Visitor = room.VisitorID(fmt.Sprintf("%022d", i))
		return p.String()
	}
	insert("admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms)", "(?, 5, 0, ?, '', 0)",
		func(i int) []any { return []any{admission(i), hold(i)} })
	insert("holds (id, admission, room, seats, state, until_ms, ended_ms)", "(?, ?, ?, ?, 'live', ?, 0)",
		func(i int) []any {
			return []any{hold(i), admission(i), name, ids[i], noon.Add(-time.Hour).UnixMilli() + int64(i)}
		})
	for from := 0; from < n; from += 500 {
		var text strings.Builder
		var args, in []any
		for i := from; i < min(from+500, n); i++ {
			text.WriteString(" WHEN ? THEN ?")
			args, in = append(args, ids[i], hold(i)), append(in, ids[i])
		}
		query := "UPDATE seats SET state = 'held', hold = CASE id" + text.String() + " END WHERE room = ? AND id IN (?" + strings.Repeat(", ?", len(in)-1) + ")"
		if _, err := s.db.Write(t.Context(), query, append(append(args, name), in...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// Several bookers end different holds: as many steps are full as one booker's would be,
// and none comes back with less because another one has what it looked for.
func TestSweepersDontMeet(t *testing.T) {
	const holds = 5000
	dsn := testenv.MySQL(t)
	stores := []*Store{newStore(t, dsn, 1), newStore(t, dsn, 1), newStore(t, dsn, 1)}
	for _, sweepers := range []int{1, 2, 3} {
		lapsedHolds(t, stores[0], room.Name(fmt.Sprintf("%c-room", 'a'+sweepers)), holds)
		var ended, steps atomic.Int64
		began := time.Now()
		at(sweepers, func(i int) {
			for {
				list, err := stores[i].Expire(t.Context(), noon, sweepRows)
				if err != nil {
					t.Errorf("sweeper %d of %d: %v", i+1, sweepers, err)
					return
				}
				if len(list) == 0 {
					return
				}
				steps.Add(1)
				ended.Add(int64(len(list)))
			}
		})
		if got := ended.Load(); got != holds {
			t.Errorf("%d sweepers say that they ended %d, want %d", sweepers, got, holds)
		}
		if most := int64(holds/sweepRows + sweepers - 1); steps.Load() > most {
			t.Errorf("%d sweepers needed %d steps, want at most %d", sweepers, steps.Load(), most)
		}
		t.Logf("%d lapsed holds, %d sweepers: %s", holds, sweepers, time.Since(began).Round(time.Millisecond))
	}
}
