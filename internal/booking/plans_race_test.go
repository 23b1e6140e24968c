package booking

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/testenv"
	"waitroom/internal/venue"
)

// While plans with other prices come and go, visitors hold, give back and buy: none is
// refused for it, and what is held or booked keeps the price that its visitor was told.
func TestImportBesideSale(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := emptyStore(t, dsn)
		var seats string
		for i := range 40 {
			seats += fmt.Sprintf(" A-%d:A", i+1)
		}
		// The other plan lacks seats, too, which go and come back.
		short := strings.Replace(strings.Replace(seats, " A-20:A", "", 1), " A-11:A", "", 1)
		plans := []*venue.Plan{planOf(t, seats, "A=10"), planOf(t, short, "A=25")}
		if _, err := s.Import(t.Context(), "gig", plans[0], ImportHow{}); err != nil {
			t.Fatal(err)
		}
		const rounds = 20
		at(6, func(client int) {
			if client == 0 {
				for i := range rounds {
					if _, err := s.Import(t.Context(), "gig", plans[i%2], ImportHow{RemoveMissing: true}); err != nil {
						t.Errorf("import %d: %v", i, err)
					}
				}
				return
			}
			for i := range rounds {
				p := newPass()
				n := (client*7+i*2)%39 + 1
				h, _, err := s.Hold(t.Context(), p, ids(fmt.Sprintf("A-%d A-%d", n, n+1)), noon)
				if errors.Is(err, seat.ErrTaken) || errors.Is(err, seat.ErrUnknown) {
					continue
				}
				if err != nil || h.Amount != 20 && h.Amount != 35 && h.Amount != 50 { // one may have been held while the other changed
					t.Errorf("got a hold for %d, %v, want one for two seats of 10 or 25", h.Amount, err)
					continue
				}
				if i%5 == 0 {
					err = s.buy(t.Context(), p, h.ID, noon)
				} else {
					err = s.Release(t.Context(), p, h.ID, noon)
				}
				if err != nil {
					t.Errorf("end of a hold: %v", err)
				}
			}
		})
		for _, err := range settled(t, s, []room.Name{"gig"}) {
			t.Error(err)
		}
	})
}

// Many seats, 20,000 without the race detector, get other prices while visitors hold and buy some of them: nobody is refused,
// or waits for much longer than the import takes.
func TestSaleGoesOnDuringAnImport(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		s := emptyStore(t, dsn)
		perRow := 1000
		if raceDetector {
			perRow = 220 // SQLite, which is Go itself, is ten times slower with it
		}
		plans := make([]*venue.Plan, 2)
		for i := range plans {
			var rows []string
			for r := range 20 {
				rows = append(rows, fmt.Sprintf(`{"row":%q,"seats":"1-%d"}`, seat.Row(r), perRow))
			}
			p, err := venue.ReadJSON(strings.NewReader(fmt.Sprintf(`{"currency":"EUR","categories":[{"category":"A","amount":%d}],"sections":[{"category":"A","rows":[%s]}]}`,
				10+i, strings.Join(rows, ","))))
			if err != nil {
				t.Fatal(err)
			}
			plans[i] = p
		}
		began := time.Now()
		mustImport(t, s, plans[0], ImportHow{}, Imported{Added: 20 * perRow})
		added := time.Since(began)
		var took time.Duration
		var longest [5]time.Duration // that an act of each client took
		done := make(chan struct{})
		var acts atomic.Int64
		at(6, func(client int) {
			if client == 5 {
				defer close(done)
				began := time.Now()
				if _, err := s.Import(t.Context(), "gig", plans[1], ImportHow{}); err != nil {
					t.Error(err)
				}
				took = time.Since(began)
				return
			}
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				began := time.Now()
				p := newPass()
				h, _, err := s.Hold(t.Context(), p, ids(fmt.Sprintf("%s-%d", seat.Row(i%20), client*perRow/5+i/20%(perRow/5)+1)), noon)
				if err == nil {
					err = s.buy(t.Context(), p, h.ID, noon)
				}
				if err != nil || h.Amount != 10 && h.Amount != 11 {
					t.Errorf("got a hold for %d, %v, want one for 10 or 11", h.Amount, err)
					return
				}
				acts.Add(1)
				longest[client] = max(longest[client], time.Since(began))
			}
		})
		wait := slices.Max(longest[:])
		t.Logf("%d seats added in %s, changed in %s, in which %d seats were sold, each within %s",
			20*perRow, added.Round(time.Millisecond), took.Round(time.Millisecond), acts.Load(), wait.Round(time.Millisecond))
		if wait > took+3*time.Second { // a busy machine
			t.Errorf("a visitor waited for %s, the import took %s", wait, took)
		}
		for _, err := range settled(t, s, []room.Name{"gig"}) {
			t.Error(err)
		}
	})
}

// Of two plans that come at once one is the room's in the end, whole, never some of each.
func TestImportsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		stores := []*Store{emptyStore(t, dsn), emptyStore(t, dsn)}
		start := planOf(t, "A-1:A A-2:B", "A=10 B=20")
		// Each changes another seat, and none that both do: nothing but the counter's plan tells
		// one of the other.
		plans := []*venue.Plan{planOf(t, "A-1:B A-2:B", "B=20"), planOf(t, "A-1:A A-2:A", "A=10")}
		for range 30 {
			if _, err := stores[0].Import(t.Context(), "gig", start, ImportHow{RemoveMissing: true}); err != nil {
				t.Fatal(err)
			}
			at(2, func(i int) {
				if _, err := stores[i].Import(t.Context(), "gig", plans[i], ImportHow{}); err != nil {
					t.Errorf("import: %v", err)
				}
			})
			list, err := stores[0].Seats(t.Context(), "gig")
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range list {
				if one.Price != list[0].Price || one.Category != list[0].Category || len(list) != 2 {
					t.Fatalf("got %+v, want one plan", list)
				}
			}
		}
		for _, err := range settled(t, stores[0], []room.Name{"gig"}) {
			t.Error(err)
		}
	})
}

// A seat that somebody takes between an import's look and its lock stays as it is, and is
// counted as what it is by then.
func TestImportMeetsATaker(t *testing.T) {
	for name, c := range map[string]struct {
		plan, prices string
		how          ImportHow
		want         Imported
		err          error
		is           string
	}{
		"of another price":    {"A-1:A A-2:A", "A=7", ImportHow{}, Imported{Changed: 1, Kept: 1}, nil, "A-1:A:5:EUR:held A-2:A:7:EUR"},
		"that is removed":     {"B-1:A", "A=5", ImportHow{RemoveMissing: true}, Imported{Added: 1, Removed: 1, Missing: 1}, nil, "A-1:A:5:EUR:held B-1:A:5:EUR"},
		"of another currency": {"A-1:A A-2:A B-1:A", "KRW A=9", ImportHow{}, Imported{}, seat.ErrCurrency, "A-1:A:5:EUR:held A-2:A:5:EUR"},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := testenv.MySQL(t) // SQLite has one writer: nobody comes between
			s := emptyStore(t, dsn)
			mustImport(t, s, planOf(t, "A-1:A A-2:A", "A=5"), ImportHow{}, Imported{Added: 2})
			plan := planOf(t, c.plan, c.prices)
			taker, err := s.db.BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer taker.Rollback()
			if _, err := taker.ExecContext(t.Context(), "UPDATE seats SET state = 'held', hold = 'x' WHERE room = 'gig' AND id = 'A-1'"); err != nil {
				t.Fatal(err)
			}
			type end struct {
				Imported
				err error
			}
			done := make(chan end, 1)
			go func() { // ends when the lock is given back
				got, err := s.Import(t.Context(), "gig", plan, c.how)
				done <- end{got, err}
			}()
			await(t, "the import to wait for the seat", func() bool {
				var n int
				err := s.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE '%FOR UPDATE'")
				return err == nil && n > 0
			})
			if err := taker.Commit(); err != nil {
				t.Fatal(err)
			}
			if got := <-done; got.Imported != c.want || !errors.Is(got.err, c.err) {
				t.Errorf("got %+v, %v, want %+v, %v", got.Imported, got.err, c.want, c.err)
			}
			planIs(t, s, c.is)
			if got, want := traces(t, s), "2 seats"; !strings.HasPrefix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
