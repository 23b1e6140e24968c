package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
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

// Bounds of a pool and of a wait.
const (
	// conns is open and idle at most alike, so that a burst does not open and
	// close connections: 32 keep a server of some cores busy, and three bookers
	// stay below MySQL's default of 151.
	conns = 32
	// sqliteConns are readers beside the one writer; each maps the same file.
	sqliteConns = 8
	// idleFor ends connections before a server's or a firewall's usual limits.
	idleFor = 5 * time.Minute
	// lockWait is how long a statement waits for another's row lock. The
	// transactions of the shop take milliseconds; MySQL's default of 50 s would
	// outlive every request.
	lockWait = 5 * time.Second
	// openWait bounds one dial and one ping.
	openWait = 5 * time.Second
	// openPause lies between two attempts at a server that is away.
	openPause = 200 * time.Millisecond
)

// ErrDSN is a database URL of no known form.
var ErrDSN = errors.New("database: want mysql://user:password@host:port/name or sqlite:path/to/file.db")

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

// Open connects to the database that dsn names and returns when it has answered.
// A server that is away is asked again until ctx ends, so that a binary may start
// before its database; one that refuses is an error at once. The caller closes
// the DB.
func Open(ctx context.Context, dsn string) (*DB, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	var (
		db    *DB
		where string
		err   error
	)
	switch Dialect(scheme) {
	case MySQL:
		db, where, err = openMySQL(dsn)
	case SQLite:
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
		if errors.Is(err, ErrAway) || (errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil) {
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

func (db *DB) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	return db.PingContext(ctx)
}

// CheckDSN reports whether Open would understand dsn, without connecting.
func CheckDSN(dsn string) error {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch Dialect(scheme) {
	case MySQL:
		_, err := mysqlConfig(dsn)
		return err
	case SQLite:
		_, err := sqlitePath(rest)
		return err
	}
	return ErrDSN
}

// mysqlConfig never returns the parser's own error: it would print the password.
func mysqlConfig(dsn string) (*mysql.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Host == "" || len(u.Path) < 2 || u.RawQuery != "" || u.Fragment != "" {
		return nil, ErrDSN
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName = "tcp", u.Host, u.Path[1:]
	if u.Port() == "" {
		config.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.Timeout = openWait
	// A statement that runs longer than this has lost its server; lock waits
	// end far earlier.
	config.ReadTimeout, config.WriteTimeout = 30*time.Second, 10*time.Second
	config.InterpolateParams = true // one round trip per statement
	config.ClientFoundRows = true   // rows matched, as SQLite counts them
	config.Logger = &mysql.NopLogger{}
	config.Params = map[string]string{
		// Strict, whatever the server's default: a cut text is an error.
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
		"innodb_lock_wait_timeout": fmt.Sprint(int(lockWait.Seconds())),
	}
	return config, nil
}

func openMySQL(dsn string) (*DB, string, error) {
	config, err := mysqlConfig(dsn)
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
	return &DB{DB: pool, Dialect: MySQL, conns: newGate(conns), patient: patient}, config.Addr + "/" + config.DBName, nil
}

// connector opens connections. The isolation is set once per connection, in the one
// statement that every MySQL and MariaDB knows; a level asked of BeginTx would cost a
// round trip per transaction.
type connector struct {
	driver.Connector
	config *mysql.Config
}

func newConnector(config *mysql.Config) (connector, error) {
	config = config.Clone()
	inner, err := mysql.NewConnector(config)
	if err != nil {
		return connector{}, ErrDSN
	}
	return connector{inner, config}, nil
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.(driver.ExecerContext).ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// sqlitePath reads what follows "sqlite:": a path, or "//" and an absolute one.
// A database in memory is refused: each connection would see one of its own.
func sqlitePath(rest string) (string, error) {
	path := rest
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		path = after
		if !filepath.IsAbs(path) {
			return "", ErrDSN
		}
	}
	if path == "" || strings.HasPrefix(path, ":") || strings.ContainsAny(path, "?#") {
		return "", ErrDSN
	}
	return path, nil
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
