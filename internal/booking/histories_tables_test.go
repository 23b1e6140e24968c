package booking

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// settled compares the tables with one another, room by room: every seat with its hold,
// the counter and the keys with the bookings, every pass with its holds, and the facts
// with what happened. It says what is wrong of which history.
func settled(t *testing.T, s *Store, rooms []room.Name) map[int]error {
	t.Helper()
	wrong := map[int]error{}
	number := func(name room.Name) int { return slices.Index(rooms, name) }
	for what, query := range map[string]string{
		"seats that are not as their hold says": `SELECT DISTINCT s.room FROM seats s LEFT JOIN holds h ON h.id = s.hold
			WHERE NOT (s.state IN ('free', 'blocked') AND s.hold = '' OR s.state = 'held' AND h.state = 'live' OR s.state = 'booked' AND h.state = 'confirmed')`,
		"a counter that is not the bookings'": `SELECT room FROM stock k
			WHERE booked <> (SELECT COUNT(*) FROM seats s WHERE s.room = k.room AND s.state = 'booked')
			OR booked <> (SELECT COUNT(*) FROM booked_seats b WHERE b.room = k.room)
			OR seats <> (SELECT COUNT(*) FROM seats s WHERE s.room = k.room AND s.state <> 'blocked')`,
		"booked seats whose hold is not booked": `SELECT DISTINCT b.room FROM booked_seats b
			LEFT JOIN seats s ON s.room = b.room AND s.id = b.seat AND s.hold = b.hold AND s.state = 'booked' WHERE s.id IS NULL`,
		"a hold that costs something else than its seats": `SELECT h.room FROM holds h WHERE h.state IN ('live', 'confirmed')
			AND h.amount <> (SELECT COALESCE(SUM(s.amount), 0) FROM seats s WHERE s.room = h.room AND s.hold = h.id)`,
		"a confirmed hold without its booking": `SELECT h.room FROM holds h LEFT JOIN bookings b ON b.hold = h.id
			WHERE (h.state = 'confirmed') <> (b.hold IS NOT NULL)`,
		"a live hold that is not its pass's": `SELECT h.room FROM holds h JOIN admissions a ON a.id = h.admission
			WHERE (h.state = 'live') <> (a.hold = h.id) OR (h.state = 'confirmed') <> (a.booking = h.id) OR (a.hold <> '' AND a.spent_ms <> 0)`,
	} {
		var names []room.Name
		if err := s.db.SelectContext(t.Context(), &names, query); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, name := range names {
			wrong[number(name)] = errors.New(what)
		}
	}
	// One fact for each thing that happened: a hold is held once and ends once, a pass
	// is finished once. How a room sold out is settleStock's.
	want := map[string]room.Name{}
	for query, fact := range map[string]string{
		"SELECT id, room FROM holds": "held", "SELECT id, room FROM holds WHERE state = 'confirmed'": "confirmed",
		"SELECT id, room FROM holds WHERE state = 'released'": "released", "SELECT id, room FROM holds WHERE state = 'expired'": "expired",
		"SELECT id, '' AS room FROM admissions WHERE spent_ms <> 0": "finished",
	} {
		var rows []struct {
			ID   string
			Room room.Name
		}
		if err := s.db.SelectContext(t.Context(), &rows, query); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if a, err := room.ParseAdmission(r.ID); err == nil {
				r.Room = a.Room
			}
			want[fact+" "+r.ID] = r.Room
		}
	}
	got := map[string]int{}
	for _, b := range bookingFacts(t, s) {
		subject := b.Hold
		short := strings.TrimSuffix(strings.TrimPrefix(b.Type, "waitroom.bookings."), ".v1")
		switch {
		case short == "finished":
			subject = b.Admission
		case short == "sold_out":
			continue
		}
		key := short + " " + subject
		if got[key]++; got[key] > 1 {
			wrong[number(b.Room)] = fmt.Errorf("the fact %q stands there twice", key)
		}
		if _, ok := want[key]; !ok {
			wrong[number(b.Room)] = fmt.Errorf("the fact %q tells what did not happen", key)
		}
	}
	for key, name := range want {
		if got[key] == 0 {
			wrong[number(name)] = fmt.Errorf("the fact %q is missing", key)
		}
	}
	return wrong
}

// bookingFacts are all that were written and not published, but for those of the stock.
func bookingFacts(t *testing.T, s *Store) (facts []events.Booking) {
	t.Helper()
	for _, r := range outboxRecords(t, s) {
		if r.Headers["ce_type"] == events.TypeStock {
			continue
		}
		b, err := events.DecodeBooking(r.Headers, r.Value)
		if err != nil {
			t.Fatalf("fact %s: %v", r.Value, err)
		}
		facts = append(facts, b)
	}
	return facts
}
