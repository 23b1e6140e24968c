package seatmap_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is how long a test waits for what takes a second at most, on a busy machine,
// and less than a repair takes to come.
const soon = 5 * time.Second

// maps are Maps on a database, run until the test ends. change may be nil.
func maps(t testing.TB, db *sqldb.DB, change func(*seatmap.Parts, *seatmap.Config)) *seatmap.Maps {
	t.Helper()
	m := still(db, change)
	run(t, m)
	return m
}

// still is maps before Run.
func still(db *sqldb.DB, change func(*seatmap.Parts, *seatmap.Config)) *seatmap.Maps {
	parts := seatmap.Parts{DB: db, Load: loader(db), Now: func() (time.Time, bool) { return time.Now(), true }, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()}
	config := seatmap.Config{MaxStreams: 5000}
	if change != nil {
		change(&parts, &config)
	}
	return seatmap.New(config, parts)
}

func run(t testing.TB, m *seatmap.Maps) {
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }() // ends with the test, before its database
	t.Cleanup(func() { end(); <-done })
}

// loader reads a room as booking does, whose order for these names is that of SQL.
func loader(db *sqldb.DB) func(context.Context, room.Name) ([]seat.Seat, error) {
	return func(ctx context.Context, name room.Name) (seats []seat.Seat, err error) {
		var rows []struct {
			ID    seat.ID    `db:"id"`
			State seat.State `db:"state"`
		}
		if err := db.SelectContext(ctx, &rows, "SELECT id, state FROM seats WHERE room = ? ORDER BY LENGTH(id), id", name); err != nil {
			return nil, err
		}
		for _, r := range rows {
			seats = append(seats, seat.Seat{ID: r.ID, State: r.State})
		}
		if len(seats) == 0 {
			return nil, seat.ErrNoRoom
		}
		return seats, nil
	}
}

// set changes seats as booking does: the rows, and then the log, in a transaction.
func set(ctx context.Context, tx *sqlx.Tx, name room.Name, changes ...seat.Seat) error {
	for _, c := range changes {
		if _, err := tx.ExecContext(ctx, "UPDATE seats SET state = ? WHERE room = ? AND id = ?", c.State, name, c.ID); err != nil {
			return err
		}
	}
	return seatmap.Log(ctx, tx, name, time.Now(), changes)
}

func mustSet(t testing.TB, db *sqldb.DB, name room.Name, id seat.ID, to seat.State) {
	t.Helper()
	if err := db.Tx(t.Context(), func(tx *sqlx.Tx) error { return set(t.Context(), tx, name, seat.Seat{ID: id, State: to}) }); err != nil {
		t.Fatal(err)
	}
}

// answer is what …/seats?plan says.
type answer struct{ Version, Plan, Seats string }

func look(ctx context.Context, m *seatmap.Maps, name room.Name, since string) (a answer, err error) {
	w := httptest.NewRecorder()
	if err := m.Seats(w, httptest.NewRequest("GET", "/seats?plan&since="+since, nil).WithContext(ctx), name); err != nil {
		return a, err
	}
	return a, json.Unmarshal(w.Body.Bytes(), &a)
}

func mustLook(t testing.TB, m *seatmap.Maps, name room.Name) answer {
	t.Helper()
	a, err := look(t.Context(), m, name, "")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// becomes waits until the map shows these seats, and says how long that took.
func becomes(t testing.TB, m *seatmap.Maps, name room.Name, want string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		a := mustLook(t, m, name)
		if a.Seats == want {
			return time.Since(began)
		}
		if time.Since(began) > soon {
			t.Fatalf("got %s after %v, want %s", a.Seats, soon, want)
		}
		time.Sleep(5 * time.Millisecond) // the pause between two looks
	}
}

// shown is what the seats are in SQL, as the map writes them.
func shown(t testing.TB, db *sqldb.DB, name room.Name) string {
	t.Helper()
	seats, err := loader(db)(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range seats {
		b.WriteByte(s.State[0])
	}
	return b.String()
}

func TestAChangeShows(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := bookingtest.New(t, dsn, 4, nil)
		m := maps(t, b.DB, nil)
		first := mustLook(t, m, "gig")
		if first.Seats != "ffff" {
			t.Fatalf("got %+v, want four free seats", first)
		}
		mustSet(t, b.DB, "gig", "A-2", seat.Held)
		becomes(t, m, "gig", "fhff")
		mustSet(t, b.DB, "gig", "A-2", seat.Booked)
		mustSet(t, b.DB, "gig", "A-4", "other") // a word of a later version
		becomes(t, m, "gig", "fbfx")
		after := mustLook(t, m, "gig")
		if after.Plan != first.Plan || after.Version == first.Version {
			t.Errorf("got %+v after %+v, want the same plan and another version", after, first)
		}
	})
}

// Ids are given before they are committed: a row may appear below one that was read.
func TestALateCommitShows(t *testing.T) {
	b := bookingtest.New(t, testenv.MySQL(t), 4, nil)
	m := maps(t, b.DB, nil)
	mustLook(t, m, "gig")
	late, err := b.DB.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), late, "gig", seat.Seat{ID: "A-1", State: seat.Held}); err != nil {
		t.Fatal(err)
	}
	mustSet(t, b.DB, "gig", "A-2", seat.Held) // with a greater id, committed first
	becomes(t, m, "gig", "fhff")
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	becomes(t, m, "gig", "hhff")

	// The same over the start of the reading: the row is below the log's end then.
	late, err = b.DB.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), late, "gig", seat.Seat{ID: "A-3", State: seat.Held}); err != nil {
		t.Fatal(err)
	}
	mustSet(t, b.DB, "gig", "A-2", seat.Free)
	other := maps(t, b.DB, nil)
	becomes(t, other, "gig", "hfff")
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	becomes(t, other, "gig", "hfhf")
}

// The same as late as a transaction can be committed at all, whole reads apart, and over
// a server that did not answer meanwhile. Then an id is given up: it was rolled back.
func TestTheLatestCommitShows(t *testing.T) {
	b := bookingtest.New(t, testenv.MySQL(t), 4, nil)
	m := still(b.DB, nil)
	m.Repair(time.Hour)
	run(t, m)
	mustLook(t, m, "gig")
	for _, c := range []struct {
		what, before, after string
		id                  seat.ID
		later               func()
	}{
		{"a lock wait and a commit", "fhff", "hhff", "A-1", func() { m.Late(sqldb.CommitWait) }},
		{"a server that stood still", "hfff", "hfhf", "A-3", func() { m.Unread(seatmap.KeepLog/2 - time.Second) }},
	} {
		late, err := b.DB.BeginTxx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := set(t.Context(), late, "gig", seat.Seat{ID: c.id, State: seat.Held}); err != nil {
			t.Fatal(err)
		}
		mustSet(t, b.DB, "gig", "A-2", map[byte]seat.State{'h': seat.Held, 'f': seat.Free}[c.before[1]])
		becomes(t, m, "gig", c.before)
		c.later()
		if err := late.Commit(); err != nil {
			t.Fatal(err)
		}
		if took := becomes(t, m, "gig", c.after); took > time.Second {
			t.Errorf("%s: got it after %v, want within a second", c.what, took)
		}
	}
	undone, err := b.DB.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), undone, "gig", seat.Seat{ID: "A-1", State: seat.Free}); err != nil {
		t.Fatal(err)
	}
	mustSet(t, b.DB, "gig", "A-4", seat.Held)
	becomes(t, m, "gig", "hfhh")
	if err := undone.Rollback(); err != nil {
		t.Fatal(err)
	}
	if m.Gaps() == 0 {
		t.Error("got no id that is asked for again, want the one that was passed over")
	}
	m.Late(seatmap.GapFor)
	for end := time.Now().Add(soon); m.Gaps() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %d ids that are asked for again, want none", m.Gaps())
		}
	}
}

// A change that falls between the read of a room and its map is not lost, and one
// that the read has seen already is not undone.
func TestAChangeBesideAReadShows(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := bookingtest.New(t, dsn, 4, nil)
		beside := func() {}
		m := maps(t, b.DB, func(p *seatmap.Parts, _ *seatmap.Config) {
			load := p.Load
			p.Load = func(ctx context.Context, name room.Name) ([]seat.Seat, error) {
				mustSet(t, b.DB, name, "A-1", seat.Held) // before: the log says so later, too
				mustSet(t, b.DB, name, "A-1", seat.Free)
				seats, err := load(ctx, name)
				beside()
				return seats, err
			}
		})
		beside = func() { mustSet(t, b.DB, "gig", "A-3", seat.Booked) }
		if got := mustLook(t, m, "gig").Seats; got != "ffbf" {
			t.Errorf("got %s, want ffbf at the first look", got)
		}
	})
}

// An older booker writes no log: its holds show after the next whole read, and what
// the log said before does not undo them.
func TestAnOlderBookersHoldShows(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 4, nil)
	m := still(b.DB, nil)
	m.Repair(100 * time.Millisecond)
	run(t, m)
	mustLook(t, m, "gig")
	mustSet(t, b.DB, "gig", "A-1", seat.Held)
	becomes(t, m, "gig", "hfff")
	if _, err := b.DB.Write(t.Context(), "UPDATE seats SET state = 'booked' WHERE id IN ('A-1', 'A-2')"); err != nil {
		t.Fatal(err)
	}
	becomes(t, m, "gig", "bbff")
}

// Seats that are added make another plan, within a second and on every booker.
func TestNewSeatsShow(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := bookingtest.New(t, dsn, 4, nil)
		one, two := still(b.DB, nil), still(bookingtest.Open(t, dsn), nil)
		for _, m := range []*seatmap.Maps{one, two} {
			m.Repair(time.Hour)
			run(t, m)
			mustLook(t, m, "gig")
		}
		first := mustLook(t, one, "gig")
		l := listen(t, streams(t, two), "one", "")
		l.hears("ffff")
		began := time.Now()
		b.AddSeats(t, 6)
		if e := l.hears("ffffff"); e.kind != "seats" || e.data.Plan == first.Plan {
			t.Errorf("got %+v, want the whole map of another plan", e)
		}
		becomes(t, one, "gig", "ffffff")
		if took := time.Since(began); took > time.Second {
			t.Errorf("got them after %v, want them within a second", took)
		}
		if after := mustLook(t, one, "gig"); after.Plan == first.Plan || after.Version == first.Version {
			t.Errorf("got %+v after %+v, want another plan and version", after, first)
		}
		b.AddSeats(t, 6) // there already: nothing is read for it
		mustSet(t, b.DB, "gig", "A-1", seat.Held)
		if e := l.hears("hfffff"); e.kind != "changes" {
			t.Errorf("got %+v, want the change alone", e)
		}
	})
}

// Two bookers on one database, a thousand changes a second by many at once: both maps
// become what the seats are, and a change shows within a second.
func TestTwoBookersUnderLoad(t *testing.T) {
	dsn := testenv.MySQL(t)
	b := bookingtest.New(t, dsn, 1000, nil)
	one, two := maps(t, b.DB, nil), maps(t, bookingtest.Open(t, dsn), nil)
	mustLook(t, one, "gig")
	mustLook(t, two, "gig")
	all, err := loader(b.DB)(t.Context(), "gig")
	if err != nil {
		t.Fatal(err)
	}
	states := []seat.State{seat.Free, seat.Held, seat.Booked}
	const writers, acts, each = 8, 40, 6 // 1,920 changes, as fast as the server takes them
	began := time.Now()
	var crowd sync.WaitGroup
	for w := range writers {
		crowd.Go(func() {
			for i := range acts {
				err := b.DB.Tx(t.Context(), func(tx *sqlx.Tx) error {
					var changes []seat.Seat
					for k := range each {
						// Seats that others change too, in one order, so that none waits in a ring.
						changes = append(changes, seat.Seat{ID: all[(w*31+i*17)%900+k*10].ID, State: states[(w+i+k)%3]})
					}
					return set(t.Context(), tx, "gig", changes...)
				})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	crowd.Wait()
	took := time.Since(began)
	want := shown(t, b.DB, "gig")
	t.Logf("%d changes in %v; maps whole after %v and %v", writers*acts*each, took.Round(time.Millisecond),
		becomes(t, one, "gig", want).Round(time.Millisecond), becomes(t, two, "gig", want).Round(time.Millisecond))
	for _, m := range []*seatmap.Maps{one, two} {
		mustSet(t, b.DB, "gig", all[0].ID, seat.Free)
		mustSet(t, b.DB, "gig", all[999].ID, seat.Booked)
		if took := becomes(t, m, "gig", "f"+want[1:999]+"b"); took > time.Second {
			t.Errorf("a change: got it after %v, want within a second", took)
		}
	}
}

// Who has seen a later map on another booker is not shown an earlier one.
func TestNoLookBack(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 4, nil)
	one, two := maps(t, b.DB, nil), maps(t, b.DB, nil)
	mustLook(t, two, "gig")
	for i := range 6 {
		state := []seat.State{seat.Held, seat.Free}[i%2]
		mustSet(t, b.DB, "gig", "A-1", state)
		want := string(state[0]) + "fff"
		becomes(t, one, "gig", want)
		seen := mustLook(t, one, "gig")
		there, err := look(t.Context(), two, "gig", seen.Version)
		if err != nil || there.Seats != want {
			t.Fatalf("change %d: got %s, %v on the other, want %s", i, there.Seats, err, want)
		}
	}
	// What no booker has seen is not waited for without end.
	began := time.Now()
	if _, err := look(t.Context(), two, "gig", "elsewhere.1.999999"); err != nil || time.Since(began) > soon {
		t.Errorf("got %v after %v, want the map after a second", err, time.Since(began))
	}
}

// One read serves all who come while it runs, and a room that could not be read is
// asked for again.
func TestOneReadServesAllWhoWait(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 4, nil)
	loads := 0 // by who has the turn of reading
	away := errors.New("away")
	came, goOn := make(chan struct{}), make(chan struct{})
	m := maps(t, b.DB, func(p *seatmap.Parts, _ *seatmap.Config) {
		load := p.Load
		p.Load = func(ctx context.Context, name room.Name) ([]seat.Seat, error) {
			if loads++; loads == 1 {
				close(came)
				<-goOn
				return nil, away
			}
			return load(ctx, name)
		}
	})
	var crowd sync.WaitGroup
	for range 20 {
		crowd.Go(func() {
			if _, err := look(t.Context(), m, "gig", ""); err != nil && !errors.Is(err, away) {
				t.Errorf("got %v, want the read's own error", err)
			}
		})
	}
	<-came
	// Whoever asked goes; the read does not.
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := look(gone, m, "gig", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone: got %v, want that", err)
	}
	close(goOn)
	crowd.Wait()
	if got := mustLook(t, m, "gig").Seats; got != "ffff" {
		t.Errorf("got %s, want the seats", got)
	}
	if loads > 2 {
		t.Errorf("got %d reads, want one for the crowd and one after it failed", loads)
	}
	if _, err := look(t.Context(), m, "nowhere", ""); !errors.Is(err, seat.ErrNoRoom) {
		t.Errorf("a room without seats: got %v, want that", err)
	}
	if rooms, seats := m.Rooms(); rooms != 1 || seats != 4 {
		t.Errorf("got %d rooms and %d seats in memory, want the one with its 4", rooms, seats)
	}
}

// A room at which nobody looks is forgotten, and without one nothing is read.
func TestQuietRoomsAreForgotten(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 4, nil)
	m := maps(t, b.DB, nil)
	mustLook(t, m, "gig")
	m.Age("gig", time.Hour)
	for end := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
		rooms, seats := m.Rooms()
		if rooms == 0 && seats == 0 && !m.Reading() {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %d rooms, %d seats, reading %t, want none", rooms, seats, m.Reading())
		}
	}
	mustSet(t, b.DB, "gig", "A-1", seat.Held)
	if got := mustLook(t, m, "gig").Seats; got != "hfff" {
		t.Errorf("got %s, want it as it is at the first look", got)
	}
	mustSet(t, b.DB, "gig", "A-2", seat.Held)
	becomes(t, m, "gig", "hhff")
}

// A database that is away is told, and the map goes on after it.
func TestDatabaseAway(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 4, nil)
	m := maps(t, b.DB, nil)
	mustLook(t, m, "gig")
	if _, err := b.DB.Write(t.Context(), "ALTER TABLE seat_log RENAME TO seat_log_away"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * soon); ; time.Sleep(5 * time.Millisecond) {
		if _, err := look(t.Context(), m, "gig", ""); errors.Is(err, seat.ErrAway) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the map is shown without a word although the log can't be read")
		}
	}
	if _, err := b.DB.Write(t.Context(), "ALTER TABLE seat_log_away RENAME TO seat_log"); err != nil {
		t.Fatal(err)
	}
	mustSet(t, b.DB, "gig", "A-1", seat.Held)
	for end := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
		a, err := look(t.Context(), m, "gig", "")
		if err == nil && a.Seats == "hfff" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %+v, %v, want the map as it is", a, err)
		}
	}
}

// A log that begins anew, on a database that was put back, is noticed.
func TestALogThatBeginsAnew(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 4, nil)
	m := still(b.DB, nil)
	m.Repair(time.Second)
	run(t, m)
	for range 5 {
		mustSet(t, b.DB, "gig", "A-1", seat.Held)
	}
	becomes(t, m, "gig", "hfff")
	for _, s := range []string{"DELETE FROM seat_log", "DELETE FROM sqlite_sequence WHERE name = 'seat_log'"} {
		if _, err := b.DB.Write(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	mustSet(t, b.DB, "gig", "A-2", seat.Held)
	for end := time.Now().Add(soon); m.At() != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got a log read to %d, want 1", m.At())
		}
	}
	becomes(t, m, "gig", "hhff")
}

func TestPurge(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := bookingtest.New(t, dsn, 0, nil)
		m := still(b.DB, nil)
		old, fresh := bookingtest.Noon.Add(-time.Second), bookingtest.Noon
		const olds = seatmap.PurgeRows + 3
		err := b.DB.Tx(t.Context(), func(tx *sqlx.Tx) error {
			for i := range olds + 2 {
				at := old
				if i >= olds {
					at = fresh
				}
				if err := seatmap.Log(t.Context(), tx, "gig", at, []seat.Seat{{ID: "A-1", State: seat.Held}}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for step, want := range []int64{seatmap.PurgeRows, 3, 0} {
			if n, err := m.Purge(t.Context(), fresh); n != want || err != nil {
				t.Errorf("step %d: got %d rows, %v, want %d", step, n, err, want)
			}
		}
		var n int
		if err := b.DB.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM seat_log"); n != 2 || err != nil {
			t.Errorf("got %d rows left, %v, want the two that are not old", n, err)
		}
	})
}

// Who does not trust its clock deletes nothing by it.
func TestAnUnsureClockPurgesNothing(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := bookingtest.New(t, dsn, 4, nil)
		sure := false
		m := still(b.DB, func(p *seatmap.Parts, _ *seatmap.Config) {
			p.Now = func() (time.Time, bool) { return time.Now().Add(time.Hour), sure }
		})
		mustSet(t, b.DB, "gig", "A-1", seat.Held)
		mustSet(t, b.DB, "gig", "A-2", seat.Held)
		rows := func() (n int) {
			t.Helper()
			if err := b.DB.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM seat_log"); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, want := range []int{rows(), 1} { // the newest one stays
			if more, err := m.Forget(t.Context()); more || err != nil {
				t.Errorf("got %t, %v", more, err)
			}
			if got := rows(); got != want {
				t.Errorf("sure %t: got %d rows, want %d", sure, got, want)
			}
			sure = true
		}
	})
}

// A log whose rows are all old still says how far it goes: who comes from a booker that
// has shown the last of them waits for nothing at one that was started since.
func TestAPurgedLogIsNotWaitedFor(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := bookingtest.New(t, dsn, 4, nil)
		one := maps(t, b.DB, nil)
		mustLook(t, one, "gig")
		mustSet(t, b.DB, "gig", "A-1", seat.Held)
		becomes(t, one, "gig", "hfff")
		seen := mustLook(t, one, "gig").Version
		for step, purged := 0, int64(1); purged > 0; step++ {
			var err error
			if purged, err = one.Purge(t.Context(), time.Now().Add(time.Hour)); err != nil || step > 10 {
				t.Fatalf("step %d: got %d rows, %v, want an end", step, purged, err)
			}
		}
		two := maps(t, b.DB, nil)
		mustLook(t, two, "gig")
		began := time.Now()
		a, err := look(t.Context(), two, "gig", seen)
		if took := time.Since(began); err != nil || a.Seats != "hfff" || took > 700*time.Millisecond {
			t.Errorf("got %s, %v after %v, want the map at the next tick, in a quarter of a second", a.Seats, err, took)
		}
	})
}

// At the bound of rooms the one longest not looked at makes place.
func TestRoomsAreBounded(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 1, nil)
	m := maps(t, b.DB, func(p *seatmap.Parts, _ *seatmap.Config) {
		p.Load = func(_ context.Context, name room.Name) ([]seat.Seat, error) {
			seats := make([]seat.Seat, 100_000)
			for i := range seats {
				seats[i] = seat.Seat{ID: seat.ID(fmt.Sprintf("A%d-%d", i/100, i%100+1)), State: seat.Free}
			}
			return seats, nil
		}
	})
	for i := range 12 {
		mustLook(t, m, room.Name(fmt.Sprintf("hall-%d", i)))
		if rooms, seats := m.Rooms(); rooms > 10 || seats > 1_000_000 {
			t.Fatalf("got %d rooms and %d seats in memory, want a million seats at most", rooms, seats)
		}
	}
}
