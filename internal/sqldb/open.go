package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// Dialect names the family of the database.
type Dialect string

// The two families. MariaDB speaks MySQL.
const (
	MySQL  Dialect = "mysql"
	SQLite Dialect = "sqlite"
)

// Bounds of a pool. Times of its connections: session.go.
const (
	// conns is open and idle at most alike, so that a burst does not open and
	// close connections: 32 keep a server of some cores busy, and three bookers
	// stay below MySQL's default of 151.
	conns = 32
	// sqliteConns are readers beside the one writer; each maps the same file.
	sqliteConns = 8
	// openPause lies between two attempts at a server that is away.
	openPause = 200 * time.Millisecond
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	*sqlx.DB
	Dialect Dialect
	// conns is in front of the pool: as many as it has connections get through, in the
	// order in which they came.
	conns *gate
	// writer is SQLite's one writer: who is inside may begin, and then asks conns.
	// Waiters are served in order, where SQLite's own busy handler would let some
	// starve. Nil for MySQL, which has its own.
	writer *gate
	// patient opens connections whose statements have no limit of their own, for
	// migrations. Nil for SQLite, which has none anyway.
	patient driver.Connector
}

// Open is [Config.Open] of a DSN alone.
func Open(ctx context.Context, dsn string) (*DB, error) { return Config{DSN: dsn}.Open(ctx) }

// Open connects to the database and returns when it has answered. A server that is
// away is asked again until ctx ends, so that a binary may start before its database; one
// that refuses, whose certificate is not good, or that is older than MariaDB 10.6 or
// MySQL 8.0, is an error at once. The caller closes the DB.
func (c Config) Open(ctx context.Context) (*DB, error) {
	scheme, rest, _ := strings.Cut(c.DSN, ":")
	var (
		db    *DB
		where string
		err   error
	)
	switch scheme {
	case string(MySQL), overTLS:
		db, where, err = openMySQL(c)
	case string(SQLite):
		db, where, err = openSQLite(rest)
	default:
		return nil, ErrDSN
	}
	if err != nil {
		return nil, err
	}
	for {
		err := translate(db.ping(ctx))
		if err == nil {
			return db, nil
		}
		if errors.Is(err, ErrAway) && !isDenied(err) {
			select {
			case <-ctx.Done():
			case <-time.After(openPause):
				continue
			}
		}
		db.Close()
		return nil, fmt.Errorf("database at %s: %w", where, err)
	}
}

// ping asks the server for its version, which has to be new enough.
func (db *DB) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	if db.Dialect == SQLite {
		return db.PingContext(ctx)
	}
	var version string
	if err := db.GetContext(ctx, &version, "SELECT VERSION()"); err != nil {
		return err
	}
	return checkVersion(version)
}

func openMySQL(c Config) (*DB, string, error) {
	config, err := mysqlConfig(c)
	if err != nil {
		return nil, "", err
	}
	shop, err := newConnector(config)
	if err != nil {
		return nil, "", err
	}
	config.ReadTimeout = 0 // the kernel's probes, after 3 minutes, notice a host that vanished
	patient, err := newConnector(config)
	if err != nil {
		return nil, "", err
	}
	pool := sqlx.NewDb(sql.OpenDB(shop), "mysql")
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	pool.SetConnMaxIdleTime(idleFor)
	pool.SetConnMaxLifetime(connLife)
	return &DB{DB: pool, Dialect: MySQL, conns: newGate(conns), patient: patient}, config.Addr + "/" + config.DBName, nil
}

func openSQLite(rest string) (*DB, string, error) {
	path, err := sqlitePath(rest)
	if err != nil {
		return nil, "", err
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", lockWait.Milliseconds()),
		"journal_mode(WAL)",  // readers don't wait for the writer
		"synchronous(FULL)",  // a booking told to a visitor survives a power cut
		"temp_store(MEMORY)", // no second file beside the database
	}}
	pool, err := sqlx.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, "", fmt.Errorf("database at %s: %w", path, err)
	}
	pool.SetMaxOpenConns(sqliteConns)
	pool.SetMaxIdleConns(sqliteConns)
	return &DB{DB: pool, Dialect: SQLite, conns: newGate(sqliteConns), writer: newGate(1)}, path, nil
}
