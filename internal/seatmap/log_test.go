package seatmap_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
)

// What a transaction changes stands in the log in its order, in rows that fit their
// column, and goes with the transaction.
func TestLog(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := bookingtest.New(t, dsn, 0, nil)
		var want []seat.Seat
		for i := range 600 { // three rows of names as long as they come
			want = append(want, seat.Seat{ID: seat.ID(fmt.Sprintf("SECTION1-ROWROWRW-%d", 1000+i)), State: seat.Booked})
		}
		want = append(want, seat.Seat{ID: "A-1", State: seat.Held}, seat.Seat{ID: "A-1", State: seat.Free})
		undone := errors.New("undone")
		for _, end := range []error{undone, nil} {
			err := b.DB.Tx(t.Context(), func(tx *sqlx.Tx) error {
				if err := seatmap.Log(t.Context(), tx, "gig", bookingtest.Noon, nil); err != nil {
					return err
				}
				return errors.Join(end, seatmap.Log(t.Context(), tx, "gig", bookingtest.Noon, want))
			})
			if !errors.Is(err, end) {
				t.Fatalf("got %v, want %v", err, end)
			}
		}
		var rows []struct {
			Room    string `db:"room"`
			AtMS    int64  `db:"at_ms"`
			Changes string `db:"changes"`
		}
		if err := b.DB.SelectContext(t.Context(), &rows, "SELECT room, at_ms, changes FROM seat_log ORDER BY id"); err != nil {
			t.Fatal(err)
		}
		if len(rows) != 3 {
			t.Errorf("got %d rows, want 3 of the one transaction that was committed", len(rows))
		}
		var got []seat.Seat
		for _, r := range rows {
			if r.Room != "gig" || r.AtMS != bookingtest.Noon.UnixMilli() || len(r.Changes) > 8000 {
				t.Errorf("got a row of %s at %d with %d bytes, want one of gig at noon with 8000 at most", r.Room, r.AtMS, len(r.Changes))
			}
			for one := range strings.SplitSeq(r.Changes, ",") {
				id, state, _ := strings.Cut(one, "=")
				got = append(got, seat.Seat{ID: seat.ID(id), State: seat.State(state)})
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
