package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

// each runs a test on SQLite, and on MySQL or MariaDB when there is one.
func each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db")) })
	t.Run("mysql", func(t *testing.T) { test(t, testenv.MySQL(t)) })
}

func open(t *testing.T, dsn string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sqldb.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Write(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestCheckDSN(t *testing.T) {
	for dsn, ok := range map[string]bool{
		"mysql://u:p@127.0.0.1:3306/shop": true,
		"mysql://u:p@[::1]/shop":          true,
		"sqlite:shop.db":                  true,
		"sqlite:dir with space/shop.db":   true,
		"sqlite:///var/lib/shop.db":       true,
		"":                                false,
		"shop.db":                         false,
		"postgres://h/shop":               false,
		"mysql://u:p@h:3306":              false,
		"mysql://u:p@h:3306/":             false,
		"mysql://u:p@h:3306/shop?tls=1":   false,
		"mysql://u:s%zzecret@h/shop":      false,
		"sqlite:":                         false,
		"sqlite::memory:":                 false,
		"sqlite://relative.db":            false,
		"sqlite:shop.db?mode=memory":      false,
	} {
		err := sqldb.CheckDSN(dsn)
		if (err == nil) != ok {
			t.Errorf("CheckDSN(%q): got %v, want ok %t", dsn, err, ok)
		}
		if err != nil && strings.Contains(err.Error(), "ecret") {
			t.Errorf("CheckDSN(%q): got %q, want no password in it", dsn, err)
		}
	}
}

// A server that is away is waited for until the context ends, is named, and the
// password is not.
func TestOpenAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = sqldb.Open(ctx, "mysql://root:secret@"+addr+"/shop")
	if err == nil || !strings.Contains(err.Error(), addr+"/shop") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error that names %s and no password", err, addr)
	}
	if !errors.Is(err, sqldb.ErrAway) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrAway", err)
	}
}

func TestDuplicate(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn)
		exec(t, db, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY, u INT NOT NULL UNIQUE)", "INSERT INTO a VALUES (1, 1)")
		for _, s := range []string{"INSERT INTO a VALUES (1, 2)", "INSERT INTO a VALUES (2, 1)"} {
			if _, err := db.Write(t.Context(), s); !sqldb.IsDuplicate(err) {
				t.Errorf("%s: got %v, want a duplicate", s, err)
			}
		}
		if _, err := db.Write(t.Context(), "INSERT INTO a VALUES (3, NULL)"); err == nil || sqldb.IsDuplicate(err) {
			t.Errorf("a NULL: got %v, want another error than a duplicate", err)
		}
		// Rows are those matched, whether or not they change.
		for _, c := range []struct {
			query string
			want  int64
		}{{"UPDATE a SET u = 1 WHERE id = 1", 1}, {"UPDATE a SET u = 1 WHERE id = 7", 0}} {
			if got, err := db.Write(t.Context(), c.query); got != c.want || err != nil {
				t.Errorf("%s: got %d rows, %v, want %d", c.query, got, err, c.want)
			}
		}
	})
}

// Two transactions that lock two rows in opposite order both commit: the one that
// the database ends is run again. (SQLite has one writer, so there is no deadlock
// to end; the outcome is the same.)
func TestDeadlock(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn)
		exec(t, db, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)", "INSERT INTO a VALUES (1, 0), (2, 0)")
		var (
			both sync.WaitGroup // has the first row each
			wait sync.WaitGroup
			runs [2]int
		)
		both.Add(2)
		for i := range 2 {
			wait.Go(func() {
				err := db.Tx(t.Context(), func(tx *sqlx.Tx) error {
					runs[i]++
					if _, err := tx.Exec("UPDATE a SET n = n + 1 WHERE id = ?", i+1); err != nil {
						return err
					}
					if runs[i] == 1 && db.Dialect == sqldb.MySQL {
						both.Done()
						both.Wait()
					}
					_, err := tx.Exec("UPDATE a SET n = n + 1 WHERE id = ?", 2-i)
					return err
				})
				if err != nil {
					t.Errorf("transaction %d: got %v, want none", i, err)
				}
			})
		}
		wait.Wait()
		if db.Dialect == sqldb.MySQL && runs[0]+runs[1] < 3 {
			t.Errorf("got %d runs, want a deadlock and a run more", runs[0]+runs[1])
		}
		var sum int
		if err := db.GetContext(t.Context(), &sum, "SELECT SUM(n) FROM a"); err != nil || sum != 4 {
			t.Errorf("got sum %d, %v, want 4: each transaction counted once", sum, err)
		}
	})
}

// A statement of a transaction sees what others committed meanwhile, and nothing
// that they did not commit.
func TestReadCommitted(t *testing.T) {
	db := open(t, testenv.MySQL(t))
	exec(t, db, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)", "INSERT INTO a VALUES (1, 1)")
	read := func(tx *sqlx.Tx) (n int) {
		if err := tx.Get(&n, "SELECT n FROM a WHERE id = 1"); err != nil {
			t.Error(err)
		}
		return n
	}
	err := db.Tx(t.Context(), func(tx *sqlx.Tx) error {
		if got := read(tx); got != 1 {
			t.Errorf("before: got %d, want 1", got)
		}
		return db.Tx(t.Context(), func(other *sqlx.Tx) error {
			if _, err := other.Exec("UPDATE a SET n = 2 WHERE id = 1"); err != nil {
				return err
			}
			if got := read(tx); got != 1 {
				t.Errorf("not committed: got %d, want 1", got)
			}
			if err := other.Commit(); err != nil {
				return err
			}
			if got := read(tx); got != 2 {
				t.Errorf("committed: got %d, want 2", got)
			}
			return sql.ErrTxDone
		})
	})
	if !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("got %v, want the work's own error", err)
	}
}

// An error of the work rolls back and comes back as it is.
func TestRollback(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn)
		exec(t, db, "CREATE TABLE a (id INT NOT NULL PRIMARY KEY)")
		mine := errors.New("mine")
		err := db.Tx(t.Context(), func(tx *sqlx.Tx) error {
			if _, err := tx.Exec("INSERT INTO a VALUES (1)"); err != nil {
				return err
			}
			return mine
		})
		var n int
		if get := db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM a"); err != mine || n != 0 || get != nil {
			t.Errorf("got %v, %d rows, %v, want %v and no row", err, n, get, mine)
		}
	})
}

func TestNow(t *testing.T) {
	each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn)
		before := time.Now()
		got, err := db.Now(t.Context())
		after := time.Now()
		// The test's server is on this machine; julianday has a millisecond's grain.
		if err != nil || got.Before(before.Add(-2*time.Millisecond)) || got.After(after.Add(2*time.Millisecond)) {
			t.Errorf("got %v, %v, want from %v to %v", got, err, before, after)
		}
	})
}
