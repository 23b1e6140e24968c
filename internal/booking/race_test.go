package booking

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// at runs n goroutines released together and waits for them.
func at(n int, run func(i int)) {
	start := make(chan struct{})
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	wait.Wait()
}

// One seat and 1,000 who want it at once: one gets it, 999 are told that it is
// taken, nobody sees an error.
func TestOneSeat(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 1)
		const crowd = 1000
		var won, taken atomic.Int64
		at(crowd, func(int) {
			_, _, err := s.Hold(t.Context(), newPass(), ids("A-1"), noon)
			var t1 *seat.TakenError
			switch {
			case err == nil:
				won.Add(1)
			case errors.As(err, &t1) && len(t1.Seats) == 1 && t1.Seats[0] == "A-1":
				taken.Add(1)
			default:
				t.Errorf("got %v, want the seat or a TakenError", err)
			}
		})
		if won.Load() != 1 || taken.Load() != crowd-1 {
			t.Errorf("got %d winners and %d taken, want 1 and %d", won.Load(), taken.Load(), crowd-1)
		}
		wantFacts(t, s, "held")
	})
}

// Overlapping sets of seats in every order: what was won adds up, seat by seat.
func TestOverlap(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 10)
		sets := []string{"A-1 A-2 A-3", "A-2 A-3 A-4", "A-1 A-10", "A-10 A-5 A-6 A-7", "A-7 A-8 A-9", "A-3 A-9", "A-4"}
		var mu sync.Mutex
		holders := map[seat.ID]int{}
		at(140, func(i int) {
			want := ids(sets[i%len(sets)])
			h, _, err := s.Hold(t.Context(), newPass(), want, noon)
			if err != nil && !errors.Is(err, seat.ErrTaken) {
				t.Errorf("got %v, want the seats or taken", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range h.Seats {
				holders[id]++
			}
		})
		seats, err := s.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range seats {
			want := 0
			if one.State == seat.Held {
				want = 1
			}
			if holders[one.ID] != want {
				t.Errorf("seat %s is %s: got %d holders, want %d", one.ID, one.State, holders[one.ID], want)
			}
		}
	})
}

// A hold resolves once, whoever comes at the same moment: two confirms, a
// release, a leave and two sweepers.
func TestHoldResolvesOnce(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		const rounds = 30
		s := newStore(t, dsn, rounds+1) // one stays free, so that no one books the last
		seats, err := s.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		outcomes := map[string]int{}
		for i := range rounds {
			p := newPass()
			h := mustHold(t, s, p, string(seats[i].ID), noon)
			// The last moment of the grace by one clock is past it by another.
			last := h.Until.Add(rules.Grace)
			before := outboxFacts(t, s)
			var confirms atomic.Int64
			at(6, func(i int) {
				var err error
				switch i {
				case 0, 1:
					if err = s.buy(t.Context(), p, h.ID, last); err == nil {
						confirms.Add(1)
					}
				case 2:
					if err = s.Release(t.Context(), p, h.ID, last); errors.Is(err, seat.ErrHoldEnded) {
						err = nil
					}
				case 3:
					err = s.Leave(t.Context(), p, last)
				default:
					_, err = s.Expire(t.Context(), last.Add(time.Millisecond), 10)
				}
				if err != nil && !errors.Is(err, errLost) {
					t.Errorf("round %d: %v", i, err)
				}
			})
			got := strings.TrimSpace(strings.TrimPrefix(outboxFacts(t, s), before))
			outcomes[got]++
			switch got {
			case "confirmed finished":
				if confirms.Load() != 1 {
					t.Errorf("got %d confirms, want 1", confirms.Load())
				}
			// The pass is spent by leaving, with the hold or after it.
			case "released finished", "expired finished":
				if confirms.Load() != 0 {
					t.Errorf("%s: got %d confirms, want none", got, confirms.Load())
				}
			default:
				t.Errorf("got facts %q, want one end of the hold and one of the pass", got)
			}
		}
		t.Logf("outcomes: %v", outcomes)
	})
}

// The last seats of a room are confirmed at once: sold_out is written once, after
// every other booking.
func TestLastSeatsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		const n = 40
		s := newStore(t, dsn, n)
		seats, err := s.Seats(t.Context(), "gig")
		if err != nil {
			t.Fatal(err)
		}
		passes, holds := make([]token.Pass, n), make([]seat.HoldID, n)
		for i := range n {
			passes[i] = newPass()
			holds[i] = mustHold(t, s, passes[i], string(seats[i].ID), noon).ID
		}
		at(n, func(i int) {
			if err := s.buy(t.Context(), passes[i], holds[i], noon); err != nil {
				t.Errorf("confirm: %v", err)
			}
		})
		facts := outboxFacts(t, s)
		if got := strings.Count(facts, "sold_out"); got != 1 || strings.Count(facts, "confirmed") != n {
			t.Errorf("got %d sold_out and %d confirmed, want 1 and %d", got, strings.Count(facts, "confirmed"), n)
		}
	})
}

// The same pass from many tabs asks for the same seats: one hold, one answer.
func TestOnePassManyTabs(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 2)
		p := newPass()
		var mu sync.Mutex
		got := map[seat.HoldID]bool{}
		at(20, func(int) {
			h, _, err := s.Hold(t.Context(), p, ids("A-1 A-2"), noon)
			if err != nil {
				t.Errorf("hold: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[h.ID] = true
		})
		if len(got) != 1 {
			t.Errorf("got %d holds, want 1", len(got))
		}
		wantFacts(t, s, "held")
	})
}

// A visitor who goes away in the middle leaves all or nothing behind.
func TestCancelled(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 1)
		at(50, func(i int) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
			defer cancel()
			p := newPass()
			h, _, err := s.Hold(ctx, p, ids("A-1"), noon)
			if err == nil {
				err = s.Release(t.Context(), p, h.ID, noon)
				if err != nil {
					t.Errorf("release: %v", err)
				}
			}
		})
		// Every hold that was committed is in the outbox, and resolves.
		s.quiet(t)
		held := strings.Count(outboxFacts(t, s), "held")
		for {
			ended, err := s.Expire(t.Context(), noon.Add(time.Hour), 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(ended) == 0 {
				break
			}
		}
		facts := outboxFacts(t, s)
		if got := strings.Count(facts, "released") + strings.Count(facts, "expired"); got != held {
			t.Errorf("got %d ends of %d holds, want as many", got, held)
		}
		wantSeats(t, s, "A-1")
	})
}
