package sqldb

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"waitroom/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a test on SQLite, and on MySQL or MariaDB when there is one.
func both(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db")) })
	t.Run("mysql", func(t *testing.T) { test(t, testenv.MySQL(t)) })
}

// opened is a database that is closed when the test ends.
func opened(t *testing.T, dsn string) *DB {
	t.Helper()
	db, err := Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func write(t *testing.T, db *DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Write(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// relayed is the shared server by way of a relay.
func relayed(t *testing.T) (dsn string, relay *testenv.Relay) {
	t.Helper()
	dsn = testenv.MySQL(t)
	config, err := mysqlConfig(Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	relay = testenv.NewRelay(t, config.Addr)
	return strings.Replace(dsn, config.Addr, relay.Addr, 1), relay
}
