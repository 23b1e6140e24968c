package booking

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/testenv"
)

// traces is what an operator's act leaves behind: the counter's row, and how much was logged.
func traces(t *testing.T, s *Store) (text string) {
	t.Helper()
	err := s.db.GetContext(t.Context(), &text, `SELECT CONCAT(seats, ' seats, ', booked, ' booked, rev ', rev, ', plan ', plan, ', ', (SELECT COUNT(*) FROM seat_log), ' logged')
		FROM stock WHERE room = 'gig'`)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// passOf is whose hold it is.
func passOf(t *testing.T, s *Store, id seat.HoldID) room.Admission {
	t.Helper()
	var text string
	if err := s.db.GetContext(t.Context(), &text, "SELECT admission FROM holds WHERE id = ?", id); err != nil {
		t.Fatal(err)
	}
	a, err := room.ParseAdmission(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What an operator blocks is neither left nor sold, and a hold of it is told that it is
// taken; what somebody has is never blocked.
func TestBlock(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 6)
		s.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return epoch, false }
		h, booked := mustHold(t, s, newPass(), "A-1", noon), newPass()
		if err := s.buy(t.Context(), booked, mustHold(t, s, booked, "A-2", noon).ID, noon); err != nil {
			t.Fatal(err)
		}
		block := func(c Choice, others bool, want error, changed int, taken string) {
			t.Helper()
			got, err := s.Block(t.Context(), "gig", c, "=press", others)
			var names []string
			for _, one := range got.Taken {
				names = append(names, string(one.ID)+":"+string(one.State))
			}
			if !errors.Is(err, want) || err == nil && got.Changed != changed || strings.Join(names, " ") != taken {
				t.Errorf("block %+v: got %+v, %v, want %d blocked, %s in the way, %v", c, got, err, changed, taken, want)
			}
		}
		before := traces(t, s)
		block(Choice{Seats: ids("A-3 A-1 A-2")}, false, seat.ErrTaken, 0, "A-1:held A-2:booked")
		block(Choice{Seats: ids("A-3 B-9")}, false, seat.ErrUnknown, 0, "")
		block(Choice{Seats: ids("A-3 B-9")}, true, seat.ErrUnknown, 0, "")
		block(Choice{Section: "N2"}, false, seat.ErrUnknown, 0, "")
		if got := traces(t, s); got != before {
			t.Errorf("refused: got %s, want %s", got, before)
		}
		block(Choice{Seats: ids("A-3 A-4 A-3")}, false, nil, 2, "")
		block(Choice{Seats: ids("A-3 A-4")}, false, nil, 0, "") // once more
		block(Choice{Seats: ids("A-1 A-4 A-5")}, true, nil, 1, "A-1:held")
		wantSeats(t, s, "A-1:held A-2:booked A-3:blocked A-4:blocked A-5:blocked A-6")
		if got, want := traces(t, s), "3 seats, 1 booked, rev 4, plan 1, 6 logged"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		var taken *seat.TakenError
		if _, _, err := s.Hold(t.Context(), newPass(), ids("A-3 A-6"), noon); !errors.As(err, &taken) || !slices.Equal(taken.Seats, ids("A-3")) {
			t.Errorf("hold of a blocked seat: got %v, want A-3 taken", err)
		}
		// The last two that are for sale go; the held one by its own buyer.
		for _, seats := range []string{"A-1", "A-6"} {
			p := newPass()
			id := h.ID
			if seats == "A-1" {
				p.Admission = passOf(t, s, h.ID)
			} else {
				id = mustHold(t, s, p, seats, noon).ID
			}
			if err := s.buy(t.Context(), p, id, noon); err != nil {
				t.Fatal(err)
			}
		}
		e := string(epoch)
		told := e + " sold_out 6, " + e + " 6:0/3"
		if got := stockFacts(t, s); got != told {
			t.Errorf("got %q, want %q", got, told)
		}
		// Given back, they are left again, which the line hears at once.
		got, err := s.Unblock(t.Context(), "gig", Choice{Seats: ids("A-1 A-3 A-4")})
		if err != nil || got.Changed != 2 || len(got.Taken) != 1 {
			t.Errorf("unblock: got %+v, %v, want two", got, err)
		}
		told += ", " + e + " 7:2/5"
		if got := stockFacts(t, s); got != told {
			t.Errorf("got %q, want %q", got, told)
		}
		mustHold(t, s, newPass(), "A-3 A-4", noon)
		if _, err := s.Unblock(t.Context(), "gig", Choice{Seats: ids("A-5")}); err != nil {
			t.Fatal(err)
		}
		block(Choice{Seats: ids("A-5")}, false, nil, 1, "")
		if got := stockFacts(t, s); got != told { // two are left all the time
			t.Errorf("got %q, want %q", got, told)
		}
		for _, err := range settled(t, s, []room.Name{"gig"}) {
			t.Error(err)
		}
	})
}

// A room all of whose seats are blocked has none left, which each new line hears too.
func TestAllBlockedIsTold(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 2)
		line := room.Epoch("aaaaaaaa")
		s.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return line, false }
		if _, err := s.Block(t.Context(), "gig", Choice{Seats: ids("A-1 A-2")}, "", false); err != nil {
			t.Fatal(err)
		}
		line = "bbbbbbbb"
		if _, err := s.TellStock(t.Context(), noon); err != nil {
			t.Fatal(err)
		}
		if got, want := stockFacts(t, s), "aaaaaaaa 2:0/0, bbbbbbbb 2:0/0"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// While an operator blocks and gives back, visitors hold, give back and buy: each seat is
// one's, and the counter counts those for sale.
func TestBlockBesideSale(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 10)
		at(5, func(client int) {
			for i := range 30 {
				n := (client*3+i)%9 + 1
				seats := ids(fmt.Sprintf("A-%d A-%d", n, n+1))
				if client < 2 {
					if _, err := s.Block(t.Context(), "gig", Choice{Seats: seats}, "", i%2 == 0); err != nil && !errors.Is(err, seat.ErrTaken) {
						t.Errorf("block: %v", err)
					}
					if _, err := s.Unblock(t.Context(), "gig", Choice{Seats: seats}); err != nil {
						t.Errorf("unblock: %v", err)
					}
					continue
				}
				p := newPass()
				h, _, err := s.Hold(t.Context(), p, seats, noon)
				switch {
				case errors.Is(err, seat.ErrTaken):
				case err != nil:
					t.Errorf("hold: %v", err)
				case i == 29:
					err = s.buy(t.Context(), p, h.ID, noon)
				default:
					err = s.Release(t.Context(), p, h.ID, noon)
				}
				if err != nil && !errors.Is(err, seat.ErrTaken) {
					t.Errorf("end of a hold: %v", err)
				}
			}
		})
		for _, err := range settled(t, s, []room.Name{"gig"}) {
			t.Error(err)
		}
	})
}

// What an operator does to seats locks none that somebody has: its buyer, and whoever is
// gathered with him, confirms meanwhile.
func TestOperatorsLockNobodysSeats(t *testing.T) {
	s := newStore(t, testenv.MySQL(t), 3)
	p := newPass()
	h := mustHold(t, s, p, "A-1", noon)
	err := s.tx(t.Context(), func(tx *sqlx.Tx) error {
		found, err := s.lockSeats(t.Context(), tx, "gig", ids("A-1 A-2 A-9"))
		if err != nil || len(found) != 2 || found["A-1"].State != seat.Held || found["A-2"].State != seat.Free {
			t.Errorf("got %+v, %v, want A-1 held and A-2 free", found, err)
		}
		began := time.Now()
		if err := s.buy(t.Context(), p, h.ID, noon); err != nil {
			t.Errorf("confirm: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second { // a lock is waited for three
			t.Errorf("a confirm took %s beside it", took)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	wantSeats(t, s, "A-1:booked A-2 A-3")
}
