package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
)

// Bounds of migrations. How long they may take at all is their context's.
const (
	// migrateTell is how often a migration that runs is told of again.
	migrateTell = 10 * time.Second
	// migrateLock, in seconds, is one wait for another process's migrations; it is
	// asked again until the context ends.
	migrateLock = 5
	// migratePause lies between two attempts at a statement that a table in use kept
	// from its lock: those who wait behind it get through meanwhile.
	migratePause = 200 * time.Millisecond
)

// Progress hears that a migration begins (running is 0), and every 10 s for how long it
// has run; so too when it waits for the migrations of another process. It is never
// called twice at once.
type Progress func(migration string, running time.Duration)

// Migrate brings the database to the newest of the migrations in folder "mysql" or
// "sqlite" of fsys. Several processes may call it at once; one after the other does the
// work. A large table takes minutes: ctx bounds them, and nothing else does.
//
// Wherever it is cut off, the next call goes on: on SQLite a migration is one
// transaction; on MySQL, where each change of a table stands by itself, one that is made
// already counts as done, and the migration is run again from its beginning. So
// there each statement must be one that may be run twice.
func Migrate(ctx context.Context, db *DB, fsys fs.FS, told ...Progress) error {
	steps, err := readMigrations(fsys, string(db.Dialect))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	tell := func(migration string, running time.Duration) {
		for _, t := range told {
			t(migration, running)
		}
	}
	if db.Dialect == SQLite {
		err = migrateSQLite(ctx, db, steps, tell)
	} else {
		err = migrateMySQL(ctx, db, steps, tell, func(string) {})
	}
	if err != nil {
		return fmt.Errorf("migrations: %w", translate(err))
	}
	return nil
}

// The table of what has been migrated is the one that goose makes, with its first row
// for version 0, since bookers of before have made it with goose and may run beside us.
const (
	mysqlVersions = `CREATE TABLE IF NOT EXISTS waitroom_migrations (
		id bigint(20) unsigned NOT NULL AUTO_INCREMENT,
		version_id bigint NOT NULL,
		is_applied boolean NOT NULL,
		tstamp datetime NULL default CURRENT_TIMESTAMP,
		PRIMARY KEY(id))`
	sqliteVersions = `CREATE TABLE IF NOT EXISTS waitroom_migrations (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now')))`
	readVersions  = "SELECT version_id FROM waitroom_migrations WHERE is_applied"
	insertVersion = "INSERT INTO waitroom_migrations (version_id, is_applied) VALUES (?, 1)"
)

// migrateSQLite runs what is missing. The look and the work are one transaction, which
// is the only one that writes, of this process and of others.
func migrateSQLite(ctx context.Context, db *DB, steps []migration, tell Progress) error {
	if _, err := db.Write(ctx, sqliteVersions); err != nil {
		return err
	}
	for _, step := range slices.Concat([]migration{{name: "waitroom_migrations"}}, steps) {
		err := db.Tx(ctx, func(tx *sqlx.Tx) error {
			var done []int64
			if err := tx.SelectContext(ctx, &done, readVersions); err != nil || slices.Contains(done, step.version) {
				return err
			}
			if len(step.statements) > 0 {
				defer telling(step.name, tell)()
			}
			for _, statement := range step.statements {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return fmt.Errorf("%s: %w", step.name, err)
				}
			}
			_, err := tx.ExecContext(ctx, insertVersion, step.version)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// migrateMySQL runs what is missing on a connection of its own, since a change of a
// large table takes longer than any statement of the shop may. before hears of each
// statement that follows; it is for tests.
func migrateMySQL(ctx context.Context, db *DB, steps []migration, tell Progress, before func(statement string)) error {
	pool := sql.OpenDB(db.patient)
	defer pool.Close()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := lock(ctx, conn, tell); err != nil {
		return err
	}
	defer func() {
		// Also after ctx; a lost connection has lost its lock.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK("+lockName+")")
	}()
	run := func(statement string, args ...any) error {
		before(statement)
		for {
			_, err := conn.ExecContext(ctx, statement, args...)
			if !again(err) {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", ctx.Err(), err)
			case <-time.After(migratePause):
			}
		}
	}
	if err := run(mysqlVersions); err != nil {
		return err
	}
	done, err := versions(ctx, conn)
	if err != nil {
		return err
	}
	if len(done) == 0 {
		if err := run(insertVersion, 0); err != nil {
			return err
		}
	}
	for _, step := range steps {
		if slices.Contains(done, step.version) {
			continue
		}
		err := func() error {
			defer telling(step.name, tell)()
			for _, statement := range step.statements {
				if err := run(statement); err != nil && !alreadyThere(err) {
					return fmt.Errorf("%s: %w", step.name, err)
				}
			}
			return run(insertVersion, step.version)
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

func versions(ctx context.Context, conn *sql.Conn) (done []int64, err error) {
	rows, err := conn.QueryContext(ctx, readVersions)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var version int64
		if err := rows.Scan(&version); err != nil {
			return nil, err
		}
		done = append(done, version)
	}
	return done, rows.Err()
}

// alreadyThere reports that a statement found its change made: by a migration that was
// cut off before it was written down.
func alreadyThere(err error) bool {
	var my *mysql.MySQLError
	if !errors.As(err, &my) {
		return false
	}
	switch my.Number {
	case 1050, // table exists
		1060, 1061, // column exists, key exists
		1068, // the primary key exists
		1091: // nothing of that name to drop
		return true
	}
	return false
}

// lockName is of MySQL's locks by name. It belongs to the connection, so it ends with a
// process that dies; it carries the database, since such locks are the server's. Bookers
// of before take the same.
const lockName = "CONCAT('waitroom-migrate-', MD5(DATABASE()))"

func lock(ctx context.Context, conn *sql.Conn, tell Progress) error {
	stop := func() {}
	defer func() { stop() }()
	for first := true; ; first = false {
		var got sql.NullInt64
		wait := migrateLock
		if first {
			wait = 0
		}
		if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK("+lockName+", ?)", wait).Scan(&got); err != nil {
			return err
		}
		if got.Int64 == 1 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: another process migrates this database", err)
		}
		if first {
			stop = telling("those of another process", tell)
		}
	}
}

// telling tells of a migration until the caller stops it.
func telling(name string, tell Progress) (stop func()) {
	begun := time.Now()
	tell(name, 0)
	quit, quitted := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop, which waits
		defer close(quitted)
		tick := time.NewTicker(migrateTell)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				tell(name, time.Since(begun).Round(time.Second))
			}
		}
	}()
	return func() { close(quit); <-quitted }
}
