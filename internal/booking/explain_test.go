package booking_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/boxoffice"
	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/shop"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
)

// A plan is flat when it reads few rows, whatever the table holds.
const (
	// planRows is more than any statement names: 64 acts of 6 seats, 500 rows of a purge.
	planRows = 2_500
	// planScan is a table so small that it may be read whole: one row per room, and
	// there are at most room.MaxRooms.
	planScan = room.MaxRooms
	// planSort rows may be sorted.
	planSort = 500
)

// wholeRooms are statements that read all seats of one room, by its key, and why.
var wholeRooms = map[*regexp.Regexp]string{
	regexp.MustCompile(`^SELECT id, state( AS \w+)? FROM seats WHERE room = \?( ORDER BY id)?$`):     "the map, made once per version",
	regexp.MustCompile(`^SELECT id(, amount, currency)? FROM seats WHERE room = \?( ORDER BY id)?$`): "seats are added, rarely",
}

// keyless are statements that lock rows which they find by something else than the primary
// key, and why they may.
var keyless = map[*regexp.Regexp]string{
	regexp.MustCompile(`FROM holds WHERE state = \? AND until_ms < \? ORDER BY until_ms LIMIT \? FOR UPDATE SKIP LOCKED$`): "the sweeper: it finds by time, and skips what is locked",
	regexp.MustCompile(`^DELETE FROM room_events WHERE gone_ms > \? AND gone_ms < \?$`):                                    "a row per room",
}

// locking are the statements that lock what they read.
var locking = regexp.MustCompile(`^(UPDATE|DELETE|REPLACE)|FOR UPDATE`)

// fill are the tables as after a great sale: a million admissions, five rooms of 20,000
// seats, the lapsed holds among them. {now} is the
// machine's clock, in ms.
var fill = []string{
	// A row in five is purged soon; what it is does not matter to a plan.
	`INSERT INTO admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms)
		SELECT CONCAT('r', 1 + seq % 5, '.abcdefgh.', seq, '.', LPAD(seq, 22, 'v')), 5, {now} - seq * 2500, '', '', IF(seq % 10, {now} - seq, 0) FROM seq_1_to_1000000`,
	`INSERT INTO admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms)
		SELECT CONCAT('r2.lapsed.', seq, '.', LPAD(seq, 22, 'w')), 5, {now}, CONCAT('lapsed', LPAD(seq, 10, '0')), '', 0 FROM seq_1_to_1000`,
	`INSERT INTO seats (room, id, state, hold)
		SELECT CONCAT('r', r.seq), CONCAT(CHAR(64 + row.seq), '-', number.seq), 'free', '' FROM seq_1_to_5 r, seq_1_to_4 row, seq_1_to_5000 number`,
	`UPDATE seats s JOIN seq_1_to_1000 n ON s.room = 'r2' AND s.id = CONCAT('A-', n.seq) SET s.state = 'held', s.hold = CONCAT('lapsed', LPAD(n.seq, 10, '0'))`,
	`INSERT INTO stock (room, seats, booked) SELECT CONCAT('r', seq), 20000, 0 FROM seq_1_to_5`,
	`INSERT INTO holds (id, admission, room, seats, state, until_ms, ended_ms)
		SELECT CONCAT('ended', LPAD(seq, 11, '0')), CONCAT('r1.abcdefgh.', seq, '.', LPAD(seq, 22, 'v')), 'old', 'A-1', ELT(1 + seq % 3, 'confirmed', 'released', 'expired'), {now} - seq, {now} - seq FROM seq_1_to_100000`,
	`INSERT INTO holds (id, admission, room, seats, state, until_ms, ended_ms)
		SELECT CONCAT('lapsed', LPAD(seq, 10, '0')), CONCAT('r2.lapsed.', seq, '.', LPAD(seq, 22, 'w')), 'r2', CONCAT('A-', seq), 'live', {now} - 3600000 + seq, 0 FROM seq_1_to_1000`,
	`INSERT INTO bookings (hold, admission, room, payment, booked_ms, captured_ms)
		SELECT CONCAT('ended', LPAD(seq, 11, '0')), CONCAT('a', seq), 'old', 'paid', {now} - 3600000 - seq, IF(seq % 200, {now}, 0) FROM seq_1_to_20000`,
	`INSERT INTO booked_seats (room, seat, hold)
		SELECT CONCAT('old', r.seq), CONCAT(CHAR(64 + row.seq), '-', number.seq), 'x' FROM seq_1_to_5 r, seq_1_to_4 row, seq_1_to_5000 number`,
	`INSERT INTO seat_log (room, at_ms, changes) SELECT CONCAT('r', 1 + seq % 5), {now} - seq, 'A-1=held,A-2=held' FROM seq_1_to_50000`,
	fillOutbox,
	fillFacts,
}

const fillOutbox = `INSERT INTO outbox (type, body) SELECT 'waitroom.bookings.finished.v1',
		CONCAT('{"id":"old.', seq, '","room":"old","epoch":"abcdefgh","admission":"old.abcdefgh.', seq, '.', LPAD(seq, 22, 'v'), '","at_ms":', {now}, '}') FROM seq_1_to_5000`

const fillFacts = `INSERT INTO facts (topic, spread, msg_key, headers, payload, at_ms)
	SELECT 'waitroom.bookings', seq, LPAD(seq, 22, 'v'), '{"ce_type":"waitroom.bookings.finished.v1"}', '{}', {now} FROM seq_1_to_5000`

// full is what the loops emptied and is full again while the statements are explained: a
// plan is chosen by what the tables hold.
var full = []string{fillOutbox, fillFacts, "UPDATE holds SET state = 'live', ended_ms = 0 WHERE id LIKE 'lapsed%'"}

// TestPlans runs all that a booker does on a million admissions and 100,000 seats, reads
// along, and has MariaDB explain each statement.
func TestPlans(t *testing.T) {
	dsn := testenv.MySQL(t)
	tap := newTap(t, dsn)
	plain := openPlain(t, dsn)
	db := bookingtest.Open(t, tap.dsn)
	var version string
	if err := plain.GetContext(t.Context(), &version, "SELECT VERSION()"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(version, "MariaDB") {
		t.Skipf("%s: the tables are filled by MariaDB's sequences", version)
	}
	store, err := booking.NewStore(t.Context(), db, bookingtest.Config.Rules())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	run(t, plain, fill)
	t.Logf("filled in %.1f s", time.Since(began).Seconds())

	tap.turn(true)
	actAll(t, store)
	loopAll(t, db, plain)
	tap.turn(false)
	run(t, plain, full)

	explained := map[string]bool{}
	for shape, statement := range tap.statements() {
		if !planned.MatchString(shape) || strings.Contains(shape, "information_schema") {
			continue
		}
		for _, table := range explain(t, plain, shape, statement) {
			explained[table] = true
		}
	}
	for _, table := range []string{"admissions", "holds", "seats", "stock", "bookings", "outbox", "facts", "room_events"} {
		if !explained[table] {
			t.Errorf("no statement on %s was explained: the tap does not see what runs", table)
		}
	}
}

// openPlain is for what the test itself asks: unread by the tap, and as long as it takes.
func openPlain(t *testing.T, dsn string) *sqlx.DB {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName, config.User = "tcp", u.Host, u.Path[1:], u.User.Username()
	config.Passwd, _ = u.User.Password()
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sqlx.NewDb(sql.OpenDB(connector), "mysql")
	t.Cleanup(func() { db.Close() })
	return db
}

// planned are the statements that have a plan, on tables of ours.
var planned = regexp.MustCompile(`(?i)^(SELECT .* FROM |UPDATE|DELETE|WITH|(INSERT|REPLACE) .* SELECT .* FROM)`)

// plan is a row of EXPLAIN.
type plan struct {
	ID           sql.NullInt64  `db:"id"`
	SelectType   sql.NullString `db:"select_type"`
	Table        sql.NullString `db:"table"`
	Type         sql.NullString `db:"type"`
	PossibleKeys sql.NullString `db:"possible_keys"`
	Key          sql.NullString `db:"key"`
	KeyLen       sql.NullString `db:"key_len"`
	Ref          sql.NullString `db:"ref"`
	Rows         sql.NullInt64  `db:"rows"`
	Extra        sql.NullString `db:"Extra"`
}

func (p plan) String() string {
	return fmt.Sprintf("table %s, type %s, key %s, %d rows, %s", p.Table.String, p.Type.String, p.Key.String, p.Rows.Int64, p.Extra.String)
}

// explain fails for a plan that grows with a table, and names the tables it saw.
func explain(t *testing.T, db *sqlx.DB, shape, statement string) (tables []string) {
	t.Helper()
	var plans []plan
	if err := db.SelectContext(t.Context(), &plans, "EXPLAIN "+statement); err != nil {
		t.Errorf("explain %s: %v", shape, err)
		return nil
	}
	for _, p := range plans {
		if !p.Table.Valid || strings.HasPrefix(p.Table.String, "<") || strings.Contains(p.Extra.String, "Table function") {
			continue // "no matching row", "tables optimized away"; what another row of the plan made; a list in JSON
		}
		tables = append(tables, p.Table.String)
		scan := p.Type.String == "ALL" || p.Type.String == "index"
		sorts := strings.Contains(p.Extra.String, "filesort") || strings.Contains(p.Extra.String, "temporary")
		limited := strings.Contains(strings.ToUpper(shape), "LIMIT ?") && !sorts
		whole := false
		for one := range wholeRooms {
			whole = whole || one.MatchString(shape) && p.Type.String == "ref"
		}
		free := !locking.MatchString(shape) || p.Key.String == "PRIMARY"
		for one := range keyless {
			free = free || one.MatchString(shape)
		}
		if !free {
			// What another index leads past is locked too, whoever's it is: a vanished
			// host's row then stops those who never wanted it.
			t.Errorf("locks by another key than the primary: %s\n\t%s", p, shape)
		}
		switch {
		case scan && p.Type.String == "index" && limited && !strings.Contains(shape, " WHERE "): // as far as its LIMIT
		case scan && p.Rows.Int64 > planScan:
			t.Errorf("reads the whole table: %s\n\t%s", p, shape)
		case sorts && p.Rows.Int64 > planSort:
			t.Errorf("sorts: %s\n\t%s", p, shape)
		case p.Rows.Int64 > planRows && !limited && !whole:
			t.Errorf("reads %d rows: %s\n\t%s", p.Rows.Int64, p, shape)
		}
	}
	if os.Getenv("WAITROOM_PLANS") != "" { // to look at
		t.Logf("%s\n\t%v", shape, plans)
	}
	return tables
}

// run makes the tables large, and has MariaDB count what they hold.
func run(t *testing.T, db *sqlx.DB, statements []string) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	now := fmt.Sprint(time.Now().UnixMilli())
	// MariaDB fills an empty table by sorted pages when nothing is to be checked.
	for _, statement := range append([]string{"SET unique_checks = 0, foreign_key_checks = 0"}, statements...) {
		if _, err := conn.ExecContext(t.Context(), strings.ReplaceAll(statement, "{now}", now)); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	var tables []string
	if err := db.SelectContext(t.Context(), &tables, "SHOW TABLES"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "SET unique_checks = 1, foreign_key_checks = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "ANALYZE TABLE "+strings.Join(tables, ", ")); err != nil {
		t.Fatal(err)
	}
}

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
	must(s.Describe(ctx, events.Described{Room: "r1", Epoch: bookingtest.Epoch, CreatedMS: 1, Rev: 1, Title: "x"}), nil)
	must(s.Describe(ctx, events.Described{Room: "r1", Epoch: bookingtest.Epoch, CreatedMS: 1, Rev: 2, Title: "y"}), nil)
	must(s.Gone(ctx, "r1", now), nil)
	_, err = s.Purge(ctx, now.Add(-28*24*time.Hour))
	must(err, nil)
}

// loopAll buys, and lets the loops of a whole booker run until each has done its work:
// the lapsed holds are over, what is owed is taken, no fact is left.
func loopAll(t *testing.T, db *sqldb.DB, plain *sqlx.DB) {
	t.Helper()
	box, err := boxoffice.New(t.Context(), boxoffice.Options{
		Config: boxoffice.Config{Booking: bookingtest.Config, Shop: shop.Config{}}, DB: db, Passes: bookingtest.Unsigned{},
		Publisher: bookingtest.NewQueue(), Gateway: booking.FreeGateway{}, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	desk, err := booking.New(t.Context(), bookingtest.Config, booking.Parts{DB: db, Publisher: bookingtest.NewQueue(),
		Gateway: booking.FreeGateway{}, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 21)
	for i := range cap(done) {
		go func() {
			p := bookingtest.Pass()
			p.Room, p.Expires = "r3", time.Now().Add(time.Hour)
			h, _, err := desk.Hold(t.Context(), p, bookingtest.IDs(fmt.Sprintf("A-%d B-%d", i+1, i+1)))
			for range 2 {
				if err == nil {
					_, err = desk.Confirm(t.Context(), p, h.ID)
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
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	for _, left := range []string{
		"SELECT COUNT(*) FROM holds WHERE state = 'live' AND until_ms < UNIX_TIMESTAMP() * 1000 - 10000",
		"SELECT COUNT(*) FROM bookings WHERE captured_ms = 0 AND payment = 'paid'",
		"SELECT COUNT(*) FROM outbox",
		"SELECT COUNT(*) FROM facts",
	} {
		for n := -1; n != 0; {
			if err := plain.GetContext(t.Context(), &n, left); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
