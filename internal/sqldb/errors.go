package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// ErrAway wraps what a driver says when the database is out of reach, stopping
// or without room for another connection: the same call may succeed later.
var ErrAway = errors.New("database is out of reach")

// ErrUnsure is a commit without an answer: it may have taken effect, or may do so
// in a moment.
var ErrUnsure = errors.New("outcome of the commit is unknown")

// errBusy is a transaction that lost against others more often than Tx tries
// again: to the caller, the database is out of reach just now.
var errBusy = fmt.Errorf("%w: busy", ErrAway)

// IsDuplicate reports whether err says that a row of that primary or unique key
// exists already.
func IsDuplicate(err error) bool {
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		return my.Number == 1062
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return lite.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY || lite.Code() == lib.SQLITE_CONSTRAINT_UNIQUE
	}
	return false
}

// again reports whether the database ended the transaction for a reason that
// running it again heals.
func again(err error) bool {
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		switch my.Number {
		case 1205, // waited too long for a row lock
			1213, // deadlock: this one was chosen to end
			1020: // MariaDB, innodb_snapshot_isolation: the row changed since it was read
			return true
		}
		return false
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case lib.SQLITE_BUSY, lib.SQLITE_LOCKED: // another process writes
			return true
		}
	}
	return false
}

// isDenied reports that user or password were refused: while a server runs, because its
// password was changed and is not in our file yet.
func isDenied(err error) bool {
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == 1045 || my.Number == 1698)
}

// translate wraps driver errors that mean "away" in ErrAway, and the end of a caller's
// time, be it between two statements. Who went away hears only that.
func translate(err error) error {
	if err == nil || errors.Is(err, ErrAway) || errors.Is(err, context.Canceled) {
		return err
	}
	var (
		my      *mysql.MySQLError
		network net.Error // context.DeadlineExceeded is one too
		op      *net.OpError
	)
	away := errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) || errors.As(err, &op)
	if errors.As(err, &my) {
		switch my.Number {
		case 1040, 1203, // too many connections
			1053, 1927, // the server is stopping, or an operator ended the connection
			1021, 1114, 3100: // its disk or table is full
			away = true
		}
	}
	if again(err) || isReadOnly(err) || isDenied(err) {
		away = true
	}
	if !away {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

// told is translate, for a caller with ctx. A statement has a context of its own, which
// is cancelled some time after the caller's: who did not cancel never hears of it.
func told(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && !errors.Is(err, ErrUnsure) && !errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%w: cut off while it answered: %v", ErrAway, err)
	}
	return translate(err)
}

// ended is the error of a caller whose context ended. One whose time was up hears that
// the database did not answer within it; one who went away hears nothing.
func ended(ctx context.Context, when string) error {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w %s", ErrAway, err, when)
	}
	return ctx.Err()
}

// Contended reports whether err is the database's word that others were at the same rows:
// a deadlock, or a lock that was waited for too long. Tx runs such a transaction again.
func Contended(err error) bool { return again(err) }
