package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// migrateWait bounds, in seconds, how long one process waits for another's
// migrations.
const migrateWait = 60

// Migrate brings the database to the newest of the migrations in folder
// "mysql" or "sqlite" of fsys. Several processes may call it at once; one after
// the other does the work.
func Migrate(ctx context.Context, db *DB, fsys fs.FS) error {
	folder, err := fs.Sub(fsys, string(db.Dialect))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	dialect := database.DialectSQLite3
	options := []goose.ProviderOption{
		goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithDisableGlobalRegistry(true),
		goose.WithTableName("waitroom_migrations"),
	}
	if db.Dialect == MySQL {
		dialect = database.DialectMySQL
		options = append(options, goose.WithSessionLocker(serverLock{}))
	}
	provider, err := goose.NewProvider(dialect, db.DB.DB, folder, options...)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	// SQLite has no lock of a session. Two processes that start at once both
	// begin; SQLite lets one of them commit each step, and the other finds the
	// step done when it looks again: at most once per migration.
	for range len(provider.ListSources()) + 1 {
		if _, err = provider.Up(ctx); err == nil || db.Dialect == MySQL {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("migrations: %w", translate(err))
	}
	return nil
}

// serverLock is MySQL's lock by name. It belongs to the connection, so it ends
// with a process that dies; the name carries the database, since such locks are
// the server's.
type serverLock struct{}

const lockName = "CONCAT('waitroom-migrate-', MD5(DATABASE()))"

func (serverLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	var got sql.NullInt64
	err := conn.QueryRowContext(ctx, "SELECT GET_LOCK("+lockName+", ?)", migrateWait).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("another process migrates this database for too long")
	}
	return err
}

func (serverLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "DO RELEASE_LOCK("+lockName+")")
	return err
}
