package sqldb

import (
	"testing"
	"time"

	"waitroom/internal/testenv"
)

// The clock goes on in the hour that comes twice, on a server whose zone has summer time:
// each moment is told as itself.
func testNowWhenSummerTimeEnds(t *testing.T, server *testenv.MariaDB) {
	db, err := Open(t.Context(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context()) // one session, whose clock is set
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var zone string
	if err := conn.QueryRowContext(t.Context(), "SELECT @@system_time_zone").Scan(&zone); err != nil || zone != "CET" && zone != "CEST" {
		t.Fatalf("got zone %q, %v, want a server in Berlin", zone, err)
	}
	end := time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC) // 03:00 becomes 02:00
	for _, sessions := range []string{"SYSTEM", "+00:00"} {
		for _, at := range []time.Time{end.Add(-time.Minute), end.Add(-time.Microsecond), end, end.Add(30 * time.Minute), end.Add(time.Hour)} {
			_, err := conn.ExecContext(t.Context(), "SET time_zone = ?, timestamp = ?", sessions, float64(at.UnixMicro())/1e6)
			if err != nil {
				t.Fatal(err)
			}
			var us int64
			if err := conn.QueryRowContext(t.Context(), mysqlNow).Scan(&us); err != nil || us != at.UnixMicro() {
				t.Errorf("zone %s, at %v: got %v, %v", sessions, at, time.UnixMicro(us).UTC(), err)
			}
		}
	}
}
