package sqldb

import (
	"database/sql"
	"strings"
	"testing"

	"waitroom/internal/testenv"
)

// read is a variable of a session, "" where the server has none of that name.
func variable(t *testing.T, pool *sql.DB, name string) string {
	t.Helper()
	var key, value string
	err := pool.QueryRowContext(t.Context(), "SHOW SESSION VARIABLES LIKE '"+name+"'").Scan(&key, &value)
	if err != nil && err != sql.ErrNoRows {
		t.Fatal(err)
	}
	return value
}

// A session has every variable that its server knows, on servers that know all of them
// and on those that don't, where each is set by itself.
func TestSession(t *testing.T) {
	config, err := mysqlConfig(Config{DSN: testenv.MySQL(t)})
	if err != nil {
		t.Fatal(err)
	}
	all, err := newConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	other := all
	other.settings = append([]setting{{"no_such_variable", "1", ""}}, sessions...)
	for name, c := range map[string]connector{"all": all, "one unknown": other} {
		t.Run(name, func(t *testing.T) {
			pool := sql.OpenDB(c)
			defer pool.Close()
			known := 0
			for _, s := range sessions {
				got, want := variable(t, pool, s.name), strings.Trim(s.value, "'")
				if got == "" && s.only != "" {
					continue // of the other family
				}
				known++
				if got != want {
					t.Errorf("%s: got %q, want %q", s.name, got, want)
				}
			}
			if known < 8 {
				t.Errorf("got %d variables known, want those of all servers and the isolation", known)
			}
		})
	}
}

// Each time of a connection fits those it depends on.
func TestTimes(t *testing.T) {
	for _, c := range []struct {
		what string
		ok   bool
	}{
		{"a waiter outlasts a holder that vanished", transactionIdle < lockWait},
		{"a statement outlasts its lock wait", lockWait < statementWait},
		{"the pool closes before the server does", idleFor+1e9 < sessionIdle}, // its sweep runs once a second
		{"a dead server is left in time", statementWait <= back && idleFor <= back && openWait <= back},
	} {
		if !c.ok {
			t.Errorf("not true: %s", c.what)
		}
	}
}
