package booking_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/boxoffice"
	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
	"waitroom/internal/shop"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
	"waitroom/internal/venue"
)

// actAll does with passes all that a visitor, an operator and the consumer can, with each
// of its outcomes.
func actAll(t *testing.T, s *booking.Store) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	pass := func() token.Pass {
		p := bookingtest.Pass()
		p.Room, p.Expires = "r1", now.Add(time.Hour)
		return p
	}
	must := func(err error, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	hold := func(p token.Pass, seats string) (seat.Hold, error) {
		h, _, err := s.Hold(ctx, p, bookingtest.IDs(seats), now)
		return h, err
	}
	ids := func(n int) (list []events.Admitted) {
		for range n {
			list = append(list, events.Admitted{ID: pass().Admission.String(), AdmittedAtUS: 5})
		}
		return list
	}
	// Many at once too: what is gathered makes other statements.
	done := make(chan error, 100)
	for i := range cap(done) {
		go func() {
			p := pass()
			h, err := hold(p, fmt.Sprintf("D-%d D-%d", i+1, i+200))
			if err == nil && i%2 == 0 {
				err = s.Release(ctx, p, h.ID, now)
			} else if err == nil {
				err = s.Leave(ctx, p, now)
			}
			done <- err
		}()
	}
	for range cap(done) {
		must(<-done, nil)
	}

	a, b := pass(), pass()
	known := ids(120)
	must(s.Admit(ctx, known, now), nil)
	must(s.Admit(ctx, append(ids(20), known...), now), nil)
	ha, err := hold(a, "A-1 A-2")
	must(err, nil)
	_, err = hold(a, "A-1 A-2")
	must(err, nil)
	_, err = hold(a, "A-3")
	must(err, seat.ErrHoldOpen)
	_, err = hold(b, "A-2 A-3")
	must(err, seat.ErrTaken)
	_, err = hold(b, "A-2 Z-9999")
	must(err, seat.ErrUnknown)
	elsewhere := pass()
	elsewhere.Room = "nowhere"
	_, err = hold(elsewhere, "A-1")
	must(err, seat.ErrNoRoom)
	_, err = s.Extend(ctx, a, ha.ID, now)
	if err != nil && !errors.Is(err, seat.ErrExtended) {
		t.Fatal(err)
	}
	for _, p := range []token.Pass{a, b} {
		_, err = s.Visit(ctx, p)
		must(err, nil)
	}
	must(s.Release(ctx, a, ha.ID, now), nil)
	must(s.Leave(ctx, b, now), nil)
	for _, name := range []room.Name{"r1", "r2"} {
		_, err = s.Seats(ctx, name)
		must(err, nil)
	}
	_, err = s.Rooms(ctx)
	must(err, nil)
	_, err = s.AddSeats(ctx, "r1", bookingtest.IDs("E-1 E-2"))
	must(err, nil)
	operate(t, s)
	must(s.Describe(ctx, events.Described{Room: "r1", Epoch: bookingtest.Epoch, CreatedMS: 1, Rev: 1, Title: "x"}), nil)
	must(s.Describe(ctx, events.Described{Room: "r1", Epoch: bookingtest.Epoch, CreatedMS: 1, Rev: 2, Title: "y"}), nil)
	for _, name := range []room.Name{"r3", "r4"} {
		must(s.Describe(ctx, events.Described{Room: name, Epoch: bookingtest.Epoch, CreatedMS: 1, Rev: 1, Title: "z"}), nil)
	}
	must(s.Gone(ctx, "r1", now), nil)
	_, err = s.Purge(ctx, now.Add(-28*24*time.Hour))
	must(err, nil)
}

// operate does what an operator can with the plan of a room, a thousand seats at a time.
func operate(t *testing.T, s *booking.Store) {
	t.Helper()
	const head = `{"currency":"EUR","categories":[{"category":"A","amount":4500},{"category":"B","amount":2500}],"sections":[{"category":"A","rows":[`
	for _, c := range []struct {
		rows string
		how  booking.ImportHow
		want booking.Imported
	}{
		{`{"row":"A","seats":"1-1000"},{"row":"P","seats":"1-1000"}`, booking.ImportHow{DryRun: true}, booking.Imported{Added: 1000, Changed: 1000, Missing: 19_000}},
		{`{"row":"A","seats":"1-1000"},{"row":"P","seats":"1-1000"}`, booking.ImportHow{}, booking.Imported{Added: 1000, Changed: 1000, Missing: 19_000}},
		{`{"row":"A","seats":"1-1000"},{"row":"A","seats":"1001-5000","category":"B"},{"row":"B","seats":"1-5000","category":"B"},{"row":"C","seats":"1-5000","category":"B"},{"row":"D","seats":"1-4000","category":"B"}`,
			booking.ImportHow{RemoveMissing: true}, booking.Imported{Changed: 18_000, Same: 1000, Removed: 2000}},
	} {
		plan, err := venue.ReadJSON(strings.NewReader(head + c.rows + "]}]}"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Import(t.Context(), "r5", plan, c.how); err != nil || got != c.want {
			t.Errorf("import %s: got %+v, %v, want %+v", c.rows, got, err, c.want)
		}
	}
	if got, err := s.Block(t.Context(), "r5", booking.Choice{Category: "A"}, "closed", false); err != nil || got.Changed != 1000 {
		t.Errorf("block: got %+v, %v, want 1,000 seats", got, err)
	}
	if got, err := s.Unblock(t.Context(), "r5", booking.Choice{Seats: bookingtest.IDs("A-1 A-2")}); err != nil || got.Changed != 2 {
		t.Errorf("unblock: got %+v, %v, want two seats", got, err)
	}
	if got, err := s.Report(t.Context(), "r5"); err != nil || got.Seats != (booking.SeatCount{Total: 19_000, Free: 18_002, Blocked: 998}) {
		t.Errorf("report: got %+v, %v", got, err)
	}
}

// stuckLane is a partition that takes nothing for a while.
const stuckLane = 3

// till takes all money but what is refused, and is no FreeGateway.
type till struct{ booking.FreeGateway }

func (till) Capture(_ context.Context, reference string) error {
	if reference == "refused" {
		return seat.ErrDeclined
	}
	return nil
}

// loopAll buys, and lets the loops of a whole booker run until each has done its work:
// the lapsed holds are over, what is owed is taken or put off, visitors see the map
// change, no fact is left though a partition took none and rows were locked.
func loopAll(t *testing.T, tap *tap, db *sqldb.DB, plain *sqlx.DB) {
	t.Helper()
	kafka := bookingtest.NewQueue()
	kafka.Sicken(stuckLane, errors.New("no leader"))
	box, err := boxoffice.New(t.Context(), boxoffice.Options{
		Config: boxoffice.Config{Booking: bookingtest.Config, Shop: shop.Config{}, Map: seatmap.Config{MaxStreams: 1}}, DB: db, Passes: bookingtest.Unsigned{},
		Publisher: kafka, Gateway: till{}, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	desk, err := booking.New(t.Context(), bookingtest.Config, booking.Parts{DB: db, Publisher: kafka,
		Gateway: till{}, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 21)
	for i := range cap(done) {
		go func() {
			p := bookingtest.Pass()
			p.Room, p.Expires = "r3", time.Now().Add(time.Hour)
			seats := fmt.Sprintf("A-%d B-%d", i+1, i+1)
			var key booking.Key
			once := func(word string) booking.Acts { // a third of them with keys
				if i%3 == 0 {
					key, _ = booking.ParseKey(word, seats)
				}
				return desk.Once(key)
			}
			h, _, err := once("hold").Hold(t.Context(), p, bookingtest.IDs(seats))
			for range 2 {
				if err == nil {
					_, err = once("confirm").Confirm(t.Context(), p, h.ID)
				}
			}
			if err == nil {
				_, err = desk.Visit(t.Context(), p)
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	// A booking of an older booker gets its reference when it is looked at.
	old := bookingtest.Pass()
	old.Room, old.Expires = "r3", time.Now().Add(time.Hour)
	h, _, err := desk.Hold(t.Context(), old, bookingtest.IDs("C-1 C-2"))
	if err == nil {
		_, err = desk.Confirm(t.Context(), old, h.ID)
	}
	if err == nil {
		_, err = plain.ExecContext(t.Context(), "UPDATE bookings SET reference = NULL WHERE hold = ?", h.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if v, err := desk.Visit(t.Context(), old); err != nil || v.Booking == nil || v.Booking.Reference == "" {
		t.Fatalf("got %+v, %v, want a booking with a reference", v, err)
	}

	stranger, err := plain.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Rollback()
	var locked []int64
	if err := plain.SelectContext(t.Context(), &locked, "SELECT id FROM facts WHERE spread % ? <> ? ORDER BY id LIMIT 3", bookingtest.Partitions, stuckLane); err != nil {
		t.Fatal(err)
	}
	// The last of those that are stuck too: it can't be put aside, so the looks leave out its partition.
	var held int64
	if err := plain.GetContext(t.Context(), &held, "SELECT id FROM facts WHERE spread % ? = ? ORDER BY id DESC LIMIT 1", bookingtest.Partitions, stuckLane); err != nil {
		t.Fatal(err)
	}
	for _, id := range append([]int64{held}, locked...) {
		if err := stranger.GetContext(t.Context(), &id, "SELECT id FROM facts WHERE id = ? FOR UPDATE", id); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	watch(t, box.Handler())
	none := func(left string, args ...any) {
		t.Helper()
		for n, end := -1, time.Now().Add(tapLimit); n != 0; {
			if time.Now().After(end) {
				t.Fatalf("the loops leave %d: %s", n, left)
			}
			if err := plain.GetContext(t.Context(), &n, left, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	none("SELECT COUNT(*) FROM facts WHERE spread % ? <> ? AND id > ?", bookingtest.Partitions, stuckLane, locked[2])
	tap.await(t, "the facts that are locked are left out", `FROM facts .*NOT IN \(`)
	tap.await(t, "the partition that is stuck is put aside", `AS f .* SET f\.lane = \?`)
	tap.await(t, "the partition of a stuck row that is locked is left out", `AND NOT \(topic = '?`)
	tap.await(t, "lanes are asked for", `\(SELECT lane FROM facts .*AS gap`)
	tap.await(t, "lanes are read", `WHERE lane = \? .*AS part`)
	tap.await(t, "the map reads on", `FROM seat_log WHERE id > \? ORDER BY`)
	if _, err := plain.ExecContext(t.Context(), "INSERT INTO seat_log (id, room, at_ms, changes) SELECT MAX(id) + 5, 'r3', ?, 'D-9=free' FROM seat_log", time.Now().UnixMilli()); err != nil {
		t.Fatal(err)
	}
	tap.await(t, "the map asks for rows that come late", `FROM seat_log WHERE .* IN \(`)
	if err := stranger.Rollback(); err != nil {
		t.Fatal(err)
	}
	kafka.Sicken(stuckLane, nil)
	for _, left := range []string{
		"SELECT COUNT(*) FROM holds WHERE state = 'live' AND until_ms < UNIX_TIMESTAMP() * 1000 - 10000",
		"SELECT COUNT(*) FROM bookings WHERE captured_ms = 0 AND payment = 'paid'",
		"SELECT COUNT(*) FROM bookings WHERE captured_ms = 0 AND payment = 'refused' AND capture_ms = 0",
		"SELECT COUNT(*) FROM stock WHERE room IN ('r3', 'r4') AND (told_left < 0 OR told_rev <> rev)", // r4's is as before there were revisions
		"SELECT COUNT(*) FROM seat_log WHERE at_ms < UNIX_TIMESTAMP() * 1000 - 600000",
		"SELECT COUNT(*) FROM outbox",
		"SELECT COUNT(*) FROM facts",
	} {
		none(left)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// watch has a visitor of each room look at its plan and its map, and one stay.
func watch(t *testing.T, shop http.Handler) {
	t.Helper()
	server := httptest.NewServer(shop)
	t.Cleanup(server.Close)
	get := func(path string) *http.Response {
		t.Helper()
		p := bookingtest.Pass()
		p.Room = "r3"
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/rooms/r3/"+path, nil)
		r.Header.Set("Authorization", "Bearer "+p.Admission.String())
		// The process knows of its maps only once its loops have begun.
		for {
			answer, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { answer.Body.Close() })
			if answer.StatusCode == http.StatusOK {
				return answer
			}
			if answer.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("%s: got %s", path, answer.Status)
			}
		}
	}
	get("plan")
	get("seats")
	if _, err := get("live").Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
