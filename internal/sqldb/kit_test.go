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

// replaceAddr is a DSN by way of another address, such as a relay's.
func replaceAddr(dsn, old, now string) string { return strings.Replace(dsn, old, now, 1) }
