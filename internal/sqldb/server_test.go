package sqldb

import (
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/testenv"
)

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		version, says string // says: "" for a good one
	}{
		{"10.11.19-MariaDB-0+deb12u1", ""},
		{"10.6.1-MariaDB", ""},
		{"11.4.2-MariaDB-log", ""},
		{"8.0.36", ""},
		{"8.4.0-commercial", ""},
		{"9.1.0", ""},
		{"10.5.23-MariaDB", "MariaDB 10.5 has no SKIP LOCKED: want 10.6 or newer"},
		{"5.7.44-log", "MySQL 5.7 has no SKIP LOCKED: want 8.0 or newer"},
		{"", "want MySQL 8.0 or newer"},
	} {
		err := checkVersion(c.version)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want %q", c.version, err, c.says)
		}
	}
}

// A row that another has locked is left out, or waited for, and SQLite's grammar, which
// has no word for it, is left alone.
func TestForUpdate(t *testing.T) {
	both(t, func(t *testing.T, dsn string) {
		db := opened(t, dsn)
		write(t, db, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY)", "INSERT INTO a VALUES (1), (2)")
		read := func(tx *sqlx.Tx, where string, skip bool) (ids []int) {
			if err := tx.Select(&ids, "SELECT id FROM a WHERE "+where+" ORDER BY id"+db.ForUpdate(skip)); err != nil {
				t.Error(err)
			}
			return ids
		}
		err := db.Tx(t.Context(), func(tx *sqlx.Tx) error {
			if got := read(tx, "id = 1", false); !slices.Equal(got, []int{1}) {
				t.Errorf("got %v, want row 1", got)
			}
			if db.Dialect == SQLite {
				return nil
			}
			return db.Tx(t.Context(), func(other *sqlx.Tx) error {
				if got := read(other, "id > 0", true); !slices.Equal(got, []int{2}) {
					t.Errorf("beside a lock on row 1: got %v, want row 2", got)
				}
				_, err := other.Exec("SELECT id FROM a WHERE id = 1" + db.ForUpdate(false) + " NOWAIT")
				if !again(err) {
					t.Errorf("without skip: got %v, want a wait", err)
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// What needs a server of its own shares this one, since a start takes a second.
func TestServer(t *testing.T) {
	t.Setenv("TZ", "Europe/Berlin") // the server's
	ca, cert, key := authority(t)
	server := testenv.StartMariaDB(t, "--ssl-cert="+cert, "--ssl-key="+key,
		"--log-bin="+t.TempDir()+"/log", "--server-id=1", "--sync-binlog=0")
	for _, c := range []struct {
		name string
		test func(*testing.T, *testenv.MariaDB)
	}{
		{"now when summer time ends", testNowWhenSummerTimeEnds},
		{"warnings", testWarnings},
		{"TLS", func(t *testing.T, server *testenv.MariaDB) { testTLS(t, server, ca) }},
		{"password file", testPasswordFile},
		{"read only", testReadOnlyServer},
		{"migrations cut off", testMigrateCut},
		{"restarted", testRestartedServer},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, server) })
	}
}

// Each bad setting is said with what to set, and a good server is left in peace.
func testWarnings(t *testing.T, server *testenv.MariaDB) {
	db := opened(t, server.DSN())
	says := func(what string, words ...string) {
		t.Helper()
		got, err := db.Warnings(t.Context())
		if err != nil || len(got) != len(words) {
			t.Errorf("%s: got %q, %v, want %d", what, got, err, len(words))
			return
		}
		for i, w := range words {
			if !strings.HasPrefix(got[i], w) {
				t.Errorf("%s: got %q, want %q", what, got[i], w)
			}
		}
	}
	server.Exec("SET GLOBAL sync_binlog = 1")
	says("good")
	server.Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 2", "SET GLOBAL sync_binlog = 0", "SET GLOBAL read_only = 1")
	says("three bad ones", "read_only is on", "innodb_flush_log_at_trx_commit is 2", "sync_binlog is 0")
	server.Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 1", "SET GLOBAL sync_binlog = 1", "SET GLOBAL read_only = 0")
	says("good again")
	server.Exec("SET GLOBAL sync_binlog = 0") // quicker for the others
}

// Variables that no server here has are judged as well.
func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		values map[string]string
		want   int
	}{
		"MySQL":               {map[string]string{"version": "8.4.0", "read_only": "OFF", "innodb_read_only": "OFF", "innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "ON", "log_bin": "ON", "sync_binlog": "1"}, 0},
		"no binary log":       {map[string]string{"version": "10.11.2-MARIADB", "log_bin": "OFF", "sync_binlog": "0"}, 0},
		"nothing known":       {nil, 0},
		"torn pages":          {map[string]string{"innodb_doublewrite": "OFF"}, 1},
		"replaced by an old":  {map[string]string{"version": "10.3.1-MARIADB"}, 1},
		"started for reading": {map[string]string{"innodb_read_only": "1"}, 1},
	} {
		if got := warnings(c.values); len(got) != c.want {
			t.Errorf("%s: got %q, want %d", name, got, c.want)
		}
	}
	lite := opened(t, "sqlite:"+t.TempDir()+"/test.db")
	if got, err := lite.Warnings(t.Context()); got != nil || err != nil {
		t.Errorf("SQLite: got %q, %v, want none", got, err)
	}
}
