package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// The times of a connection to MySQL, from the shortest to the longest, with what each
// has to be longer or shorter than.
const (
	// transactionIdle is how long a transaction may wait for its next statement. A booker
	// needs microseconds for it; one that vanished without a word gives its locks back
	// after this, while who waits for them (lockWait) still does.
	transactionIdle = 3 * time.Second
	// lockWait is how long a statement waits for another's row lock, and for a table
	// that is changed. The transactions of the shop take milliseconds; MySQL's defaults
	// of 50 s and a year would outlive every request.
	lockWait = 5 * time.Second
	// openWait bounds one dial with all that follows until the first statement.
	openWait = 5 * time.Second
	// idleFor is when the pool closes a connection that nobody used: before the server
	// does, and so soon that those to a server that vanished are gone before 10 s are.
	idleFor = 6 * time.Second
	// statementWait is how long a statement may stay without an answer, COMMIT too: a
	// lock wait and the work itself. Then the server has vanished or hangs.
	statementWait = 8 * time.Second
	// CommitWait is how long after one of its statements a transaction may still come to be
	// committed, where one of those behind it waits for a lock: that statement, the longest
	// pause of the booker between two, and the COMMIT. The others take no time beside it.
	CommitWait = statementWait + transactionIdle + statementWait
	// sessionIdle is when the server closes a connection in silence. On MySQL, which has
	// no time of its own for transactions, it is also when the locks of a booker that
	// vanished are given back.
	sessionIdle = 10 * time.Second
	// linkWait is how long the server waits for the rest of a statement, or for a client
	// that does not take an answer.
	linkWait = 10 * time.Second
	// connLife ends connections that are always in use, so that a server behind a name
	// or a balancer that was replaced is left, reads too.
	connLife = 3 * time.Minute
)

// setting is a variable of a session.
type setting struct {
	name, value string
	only        string // "" for all, "mysql" or "mariadb"
}

// sessions is what each connection sets.
var sessions = []setting{
	// Strict, whatever the server's default: a cut text is an error.
	{"sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'", ""},
	{"time_zone", "'+00:00'", ""},
	{"innodb_lock_wait_timeout", seconds(lockWait), ""},
	{"lock_wait_timeout", seconds(lockWait), ""},
	{"wait_timeout", seconds(sessionIdle), ""},
	{"net_read_timeout", seconds(linkWait), ""},
	{"net_write_timeout", seconds(linkWait), ""},
	// A level asked of BeginTx would cost a round trip per transaction.
	{"transaction_isolation", "'READ-COMMITTED'", "mysql"},
	{"tx_isolation", "'READ-COMMITTED'", "mariadb"},
	{"idle_transaction_timeout", seconds(transactionIdle), "mariadb"},
	{"idle_write_transaction_timeout", seconds(transactionIdle), "mariadb"},
	{"idle_readonly_transaction_timeout", seconds(transactionIdle), "mariadb"},
}

func seconds(d time.Duration) string { return fmt.Sprint(int(d.Seconds())) }

// allAtOnce sets everything in one round trip on every server: MariaDB alone reads what
// stands in /*M! */, and MySQL 8.0 and newer alone what stands in /*!80000 */.
func allAtOnce(settings []setting) string {
	var text strings.Builder
	text.WriteString("SET ")
	for i, s := range settings {
		pair := s.name + " = " + s.value
		if i > 0 {
			pair = ", " + pair
		}
		switch s.only {
		case "mysql":
			pair = " /*!80000 " + pair + " */"
		case "mariadb":
			pair = " /*M! " + pair + " */"
		}
		text.WriteString(pair)
	}
	return text.String()
}

// connector opens connections with the session's settings. It is safe for concurrent use.
type connector struct {
	driver.Connector
	config   *mysql.Config
	settings []setting
}

func newConnector(config *mysql.Config) (connector, error) {
	config = config.Clone()
	inner, err := mysql.NewConnector(config)
	if err != nil {
		return connector{}, ErrDSN
	}
	return connector{inner, config, sessions}, nil
}

// Connect returns within openWait, or linger after its caller left: a handshake that is
// given up counts against this host, and MySQL shuts out who does so often.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), openWait)
	defer cancel()
	var conn driver.Conn
	err := outlive(ctx, limited, func(ctx context.Context) (err error) {
		if conn, err = c.Connector.Connect(ctx); err != nil {
			return err
		}
		if err = c.set(ctx, conn.(driver.ExecerContext)); err != nil {
			conn.Close()
		}
		return err
	})
	if err != nil {
		if limited.Err() != nil && !errors.Is(err, ErrAway) {
			err = fmt.Errorf("%w: no connection within %v: %w", ErrAway, openWait, err)
		}
		return nil, err
	}
	return newConn(conn)
}

// set falls back to one variable after the other on a server that does not know one of
// them; it then goes without.
func (c connector) set(ctx context.Context, conn driver.ExecerContext) error {
	_, err := conn.ExecContext(ctx, allAtOnce(c.settings), nil)
	if !unknownVariable(err) {
		return err
	}
	for _, s := range c.settings {
		if _, err := conn.ExecContext(ctx, "SET "+s.name+" = "+s.value, nil); err != nil && !unknownVariable(err) {
			return err
		}
	}
	// Under this name all have it, and nobody may go without.
	_, err = conn.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil)
	return err
}

func unknownVariable(err error) bool {
	var my *mysql.MySQLError
	return errors.As(err, &my) && my.Number == 1193
}
