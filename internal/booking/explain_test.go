package booking_test

import (
	"database/sql"
	"fmt"
	"math"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// A plan is flat when it reads few rows, whatever the table holds.
const (
	// planRows is more than any statement names: 64 acts of 6 seats, 500 rows of a purge.
	planRows = 2_500
	// planRead is how many a statement really touches: it finds 1,000 facts by ids and reads
	// them, in the table and in a list of ids.
	planRead = 5_000
	// planScan is a table so small that it may be read whole: one row per room, and
	// there are at most room.MaxRooms.
	planScan = room.MaxRooms
	// planSort rows may be sorted.
	planSort = 500
)

// wholeRooms are statements that read all seats of one room, by its key, and why.
var wholeRooms = map[*regexp.Regexp]string{
	regexp.MustCompile(`^SELECT id, state, category, amount, currency, unnumbered FROM seats WHERE room = \?$`):           "the map, each 10 s that somebody looks, and an operator's plan",
	regexp.MustCompile(`^SELECT s\.state, .* FROM seats s LEFT JOIN bookings b ON b\.hold = s\.hold WHERE s\.room = \?$`): "an operator's report",
	regexp.MustCompile(`^SELECT id(, amount, currency)? FROM seats WHERE room = \?( ORDER BY id)?$`):                      "seats are added, rarely",
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
		SELECT CONCAT('ended', LPAD(seq, 11, '0')), CONCAT('a', seq), 'old', IF(seq % 1000, 'paid', 'refused'), {now} - 3600000 - seq, IF(seq % 500, {now}, 0) FROM seq_1_to_20000`,
	`INSERT INTO booked_seats (room, seat, hold)
		SELECT CONCAT('old', r.seq), CONCAT(CHAR(64 + row.seq), '-', number.seq), 'x' FROM seq_1_to_5 r, seq_1_to_4 row, seq_1_to_5000 number`,
	// The first of them are minutes old.
	`INSERT INTO seat_log (room, at_ms, changes) SELECT CONCAT('r', 1 + seq % 5), {now} - (50000 - seq) * 20, 'A-1=held,A-2=held' FROM seq_1_to_50000`,
	"ALTER TABLE seat_log AUTO_INCREMENT = 50001",
	// A row in four is a day old.
	`INSERT INTO request_keys (admission, word, request, came_to, hold, made_ms)
		SELECT CONCAT('r', 1 + seq % 5, '.abcdefgh.', seq, '.', LPAD(seq, 22, 'v')), CONCAT('key', seq), REPEAT('x', 43), 'done', '', {now} - seq * 1000 FROM seq_1_to_115000`,
	fillOutbox,
	fillFacts,
}

const fillOutbox = `INSERT INTO outbox (type, body) SELECT 'waitroom.bookings.finished.v1',
		CONCAT('{"id":"old.', seq, '","room":"old","epoch":"abcdefgh","admission":"old.abcdefgh.', seq, '.', LPAD(seq, 22, 'v'), '","at_ms":', {now}, '}') FROM seq_1_to_5000`

// fillFacts are of keys of which Kafka has one in each partition.
var fillFacts = func() string {
	keys, spreads := make([]string, bookingtest.Partitions), make([]string, bookingtest.Partitions)
	for n, found := 0, 0; found < len(keys); n++ {
		key := fmt.Sprintf("%022d", n)
		if p := bookingtest.PartitionOf(key); keys[p] == "" {
			keys[p], spreads[p] = "'"+key+"'", fmt.Sprint(events.Spread([]byte(key)))
			found++
		}
	}
	of := func(list []string) string {
		return "ELT(1 + seq % " + fmt.Sprint(len(list)) + ", " + strings.Join(list, ", ") + ")"
	}
	return `INSERT INTO facts (topic, spread, msg_key, headers, payload, at_ms)
	SELECT 'waitroom.bookings', ` + of(spreads) + ", " + of(keys) + `, '{"ce_type":"waitroom.bookings.finished.v1"}', '{}', {now} FROM seq_1_to_20000`
}()

// full is what the loops emptied and is full again while the statements are explained: a
// plan is chosen by what the tables hold.
var full = []string{fillOutbox, fillFacts, "UPDATE holds SET state = 'live', ended_ms = 0 WHERE id LIKE 'lapsed%'",
	"UPDATE bookings SET captured_ms = 0, capture_ms = 0 WHERE booked_ms % 200 = 0 AND payment <> ''"}

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
	loopAll(t, tap, db, plain)
	tap.turn(false)
	run(t, plain, full)

	met := map[string]bool{}
	statements := tap.statements()
	for shape, statement := range statements {
		if into := bare.FindStringSubmatch(shape); into != nil && !planned.MatchString(shape) {
			met[into[1]] = true
			continue
		}
		if !planned.MatchString(shape) {
			t.Errorf("neither has a plan nor needs none: %s", shape)
			continue
		}
		for _, table := range explain(t, plain, shape, statement) {
			met[table] = true
		}
		if n := rowsRead(t, plain, statement); n > mostRead(shape) && !matches(wholeRooms, shape) {
			t.Errorf("read %d rows: %s", n, shape)
		}
	}
	var tables []string
	if err := plain.SelectContext(t.Context(), &tables, "SHOW TABLES"); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if !met[table] && table != "waitroom_migrations" {
			t.Errorf("no statement on %s ran: the tap does not see what runs", table)
		}
	}
	unmet(t, statements)
	t.Logf("%d statements", len(statements))
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

// planned are the statements that have a plan.
var planned = regexp.MustCompile(`(?i)^(SELECT .* FROM |UPDATE |DELETE |WITH |INSERT .* SELECT )`)

// bare are those that have none: they write rows by their keys, into the table that is
// named, or touch no table of the shop's.
var bare = regexp.MustCompile(`^(?:INSERT (?:IGNORE )?INTO (\w+) \([\w, ]+\) VALUES |SET |START TRANSACTION$|COMMIT$|ROLLBACK$|` +
	`SHOW GLOBAL VARIABLES |CREATE TABLE IF NOT EXISTS waitroom_migrations |DO RELEASE_LOCK\(|SELECT (?:GET_LOCK|TIMESTAMPDIFF|VERSION)\([^;]*$)`)

// deep are statements that may touch more rows than planRead, and how many.
var deep = map[*regexp.Regexp]int64{
	// The depth of the outbox, as far as it is counted.
	regexp.MustCompile(`^SELECT COUNT\(\*\) FROM \(SELECT id FROM \w+ LIMIT \?\)`): math.MaxInt64,
	// 1,000 facts of each lane, each written to a temporary table and read there.
	regexp.MustCompile(`FROM facts FORCE INDEX \(facts_lane\) WHERE lane = \?.* AS part`): 10_000,
}

// mostRead is how many rows a statement may touch.
func mostRead(shape string) int64 {
	for one, n := range deep {
		if one.MatchString(shape) {
			return n
		}
	}
	return planRead
}

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

func matches(list map[*regexp.Regexp]string, shape string) bool {
	for one := range list {
		if one.MatchString(shape) {
			return true
		}
	}
	return false
}

// rowsRead runs a statement, takes back what it changed, and says how many rows the server
// touched for it: an estimate knows nothing of rows that are read and thrown away.
func rowsRead(t *testing.T, db *sqlx.DB, statement string) (n int64) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	handlers := func() (sum int64) {
		rows, err := conn.QueryContext(t.Context(), "SHOW SESSION STATUS LIKE 'Handler_read%'")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var value int64
			if err := rows.Scan(&name, &value); err != nil {
				t.Fatal(err)
			}
			sum += value
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return sum
	}
	before := handlers()
	asking := handlers() - before // a look at the counters counts itself
	if _, err := conn.ExecContext(t.Context(), "START TRANSACTION"); err != nil {
		t.Fatal(err)
	}
	before = handlers()
	_, err = conn.ExecContext(t.Context(), statement)
	n = handlers() - before - asking
	if err != nil {
		t.Errorf("%s: %v", statement, err)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	return n
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
		whole := matches(wholeRooms, shape) && p.Type.String == "ref"
		free := !locking.MatchString(shape) || p.Key.String == "PRIMARY" || matches(keyless, shape)
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
