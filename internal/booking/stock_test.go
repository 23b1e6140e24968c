package booking

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// stockFacts are those in the outbox, as "rev:left/seats", and whether sold_out names the
// same rev.
func stockFacts(t *testing.T, s *Store) string {
	t.Helper()
	var list []string
	for _, r := range outboxRecords(t, s) {
		switch r.Headers["ce_type"] {
		case events.TypeStock:
			f, err := events.DecodeStock(r.Headers, r.Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("%s %d:%d/%d", f.Epoch, f.Rev, f.Left, f.Seats))
		case events.TypeSoldOut:
			f, err := events.DecodeBooking(r.Headers, r.Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("%s sold_out %d", f.Epoch, f.StockRev))
		}
	}
	return strings.Join(list, ", ")
}

// What is left is told once a second at most, at once when it becomes or leaves 0, and to
// each new line of the room anew.
func TestStockIsTold(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		line := room.Epoch("")
		s.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return line, false }
		now := noon
		told := func(want string) {
			t.Helper()
			if _, err := s.TellStock(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if got := stockFacts(t, s); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if _, err := s.db.Write(t.Context(), "DELETE FROM facts"); err != nil {
				t.Fatal(err)
			}
		}
		book := func(seats string) {
			t.Helper()
			p := newPass()
			if err := s.buy(t.Context(), p, mustHold(t, s, p, seats, now).ID, now); err != nil {
				t.Fatal(err)
			}
		}
		told("") // no line is known that could hear it
		line = "aaaaaaaa"
		told("aaaaaaaa 1:4/4")
		book("A-1")
		told("") // within the second
		book("A-2")
		now = now.Add(stockEvery)
		told("aaaaaaaa 3:2/4")
		now = now.Add(stockEvery)
		told("") // nothing new
		now = now.Add(stockAgain)
		told("aaaaaaaa 3:2/4") // for whoever forgot it
		book("A-3 A-4")
		told("aaaaaaaa sold_out 4, aaaaaaaa 4:0/4")
		line = "bbbbbbbb"
		now = now.Add(stockEvery)
		told("bbbbbbbb 4:0/4") // the new line does not know
		addSeats(t, s, 6)
		if got, want := stockFacts(t, s), "bbbbbbbb 5:2/6"; got != want { // at once
			t.Errorf("got %q, want %q", got, want)
		}
		told("bbbbbbbb 5:2/6, bbbbbbbb 5:2/6") // the machine's clock told it, which is not the test's
		// A booker of before revisions books.
		if _, err := s.db.Write(t.Context(), "UPDATE stock SET booked = booked + 1 WHERE room = 'gig'"); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
		told("bbbbbbbb 6:1/6")
	})
}

// Two bookers tell one stock once.
func TestStockIsToldOnce(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := newStore(t, dsn, 4)
		s.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return epoch, false }
		at(8, func(int) {
			if _, err := s.TellStock(t.Context(), noon); err != nil {
				t.Errorf("got %v", err)
			}
		})
		if got, want := stockFacts(t, s), string(epoch)+" 1:4/4"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Seats that a command adds are dated by the bookers' clock while one runs, so that what the
// line is told and the map's log are in one time; by the machine's where none does.
func TestAddedSeatsAreDatedByBookers(t *testing.T) {
	for name, k := range map[string]struct {
		ago   time.Duration // that a booker wrote its moment
		ahead time.Duration // of its clock, of the database's
		want  time.Duration // of the date, ahead of now
	}{
		"a booker runs":          {ago: time.Millisecond, ahead: time.Hour, want: time.Hour},
		"it is behind":           {ago: time.Millisecond, ahead: -time.Hour, want: -time.Hour},
		"it stopped":             {ago: time.Minute, ahead: time.Hour},
		"there never was one":    {},
		"its clock is as others": {ago: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, dsn string) {
				s := newStore(t, dsn, 1)
				if k.ago > 0 {
					theirs, err := s.db.Now(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					there := theirs.Add(-k.ago)
					if err := (moments{s}).write(t.Context(), moment{}, moment{SeatsMS: there.Add(k.ahead).UnixMilli(), ThereMS: there.UnixMilli()}); err != nil {
						t.Fatal(err)
					}
				}
				s.rules.Line = func(room.Name, room.Epoch) (room.Epoch, bool) { return epoch, false }
				if _, err := s.AddSeats(t.Context(), "hall", ids("A-1")); err != nil {
					t.Fatal(err)
				}
				var logged, told int64
				if err := s.db.GetContext(t.Context(), &logged, "SELECT at_ms FROM seat_log WHERE room = 'hall'"); err != nil {
					t.Fatal(err)
				}
				if err := s.db.GetContext(t.Context(), &told, "SELECT told_ms FROM stock WHERE room = 'hall'"); err != nil {
					t.Fatal(err)
				}
				for what, ms := range map[string]int64{"the log": logged, "the stock": told} {
					// Within a minute: the machine may be busy, and an hour is told from none.
					if got := time.Until(time.UnixMilli(ms)) - k.want; got.Abs() > time.Minute {
						t.Errorf("%s is dated %v beside the time wanted", what, got)
					}
				}
			})
		})
	}
}
