package booking

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/testenv"
)

// Holds of seats that don't exist cost what others cost. Where a batch of them names no
// seat that exists, one read more says for all of them whether the room has any.
func TestUnknownSeatsCostOneRead(t *testing.T) {
	dsn := testenv.MySQL(t)
	s := newStore(t, dsn, 2)
	mustHold(t, s, newPass(), "A-1", noon)
	acts := func(name room.Name, seats func(i int) []seat.ID) (list []*act) {
		for i := range batchMost {
			p := newPass()
			p.Room = name
			list = append(list, &act{kind: toHold, pass: p, id: p.Admission.String(), hold: seat.NewHoldID(), now: noon, seats: seats(i)})
		}
		return list
	}
	unknown := func(i int) seat.ID { return seat.ID(fmt.Sprintf("Z-%d", i+1)) }
	run := func(acts []*act) (reads int) {
		t.Helper()
		undo := errors.New("undo")
		err := s.db.Tx(t.Context(), func(tx *sqlx.Tx) error {
			selects := func() (n int) {
				var name string
				if err := tx.QueryRowxContext(t.Context(), "SHOW SESSION STATUS LIKE 'Com_select'").Scan(&name, &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			table := newTable(s, tx, false)
			before := selects()
			if err := table.load(t.Context(), acts); err != nil {
				return err
			}
			reads = selects() - before
			for _, a := range acts {
				a.err = table.decide(a)
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
		return reads
	}
	// A seat that is taken is read once, and not locked.
	usual := run(acts("gig", func(int) []seat.ID { return ids("A-1") }))
	for name, c := range map[string]struct {
		acts []*act
		more int
		want error
	}{
		"beside one that exists": {acts("gig", func(i int) []seat.ID { return []seat.ID{"A-1", unknown(i)} }), 0, seat.ErrUnknown},
		"nothing else":           {acts("gig", func(i int) []seat.ID { return []seat.ID{unknown(i)} }), 1, seat.ErrUnknown},
		"of a room without any":  {acts("nowhere", func(i int) []seat.ID { return []seat.ID{unknown(i)} }), 1, seat.ErrNoRoom},
	} {
		if got := run(c.acts); got != usual+c.more {
			t.Errorf("%s: %d holds needed %d reads, want %d", name, len(c.acts), got, usual+c.more)
		}
		for _, a := range c.acts {
			if !errors.Is(a.err, c.want) {
				t.Fatalf("%s: got %v, want %v", name, a.err, c.want)
			}
		}
	}
}
