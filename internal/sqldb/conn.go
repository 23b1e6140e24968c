package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// linger is how long a statement goes on after its caller's context has ended. A server
// that answers needs milliseconds; one that does not is given up, with the connection.
const linger = time.Second

// conn is a connection to MySQL whose statements outlive their callers. The driver can
// end a statement only by closing the connection: a visitor who closes the tab would
// cost a new one, with its handshake, and the old one would go on in the server.
//
// It is used by one goroutine at a time, as database/sql promises.
type conn struct {
	mysqlConn
	readOnly bool // the server refused a write: it is no longer the one to write to
}

// mysqlConn is what the driver's connections are.
type mysqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

func newConn(inner driver.Conn) (driver.Conn, error) {
	full, ok := inner.(mysqlConn)
	if !ok {
		inner.Close()
		return nil, fmt.Errorf("the driver's connections are %T", inner)
	}
	return &conn{mysqlConn: full}, nil
}

// outlive runs do under a context that ends linger after ctx, or with limit. Nothing
// begins after ctx.
func outlive(ctx, limit context.Context, do func(context.Context) error) error {
	if ctx.Err() != nil {
		return ended(ctx, "before a statement")
	}
	if ctx.Done() == nil {
		return do(limit)
	}
	own, cut := context.WithCancel(limit)
	// The timer may fire after do has ended, when nothing looks at own any more.
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(linger, cut) })
	defer stop()
	err := do(own)
	if err != nil && own.Err() != nil && ctx.Err() != nil {
		return ended(ctx, "without an answer")
	}
	return err
}

func (c *conn) run(ctx context.Context, do func(context.Context) error) error {
	if ctx.Done() == nil {
		return c.note(do(ctx)) // its caller stays
	}
	return c.note(outlive(ctx, context.WithoutCancel(ctx), do))
}

// note remembers a refusal for IsValid.
func (c *conn) note(err error) error {
	if isReadOnly(err) {
		c.readOnly = true
	}
	return err
}

// IsValid has database/sql close the connection instead of keeping it.
func (c *conn) IsValid() bool { return !c.readOnly && c.mysqlConn.IsValid() }

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	err = c.run(ctx, func(ctx context.Context) error {
		result, err = c.mysqlConn.ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

// QueryContext returns when the server has begun to answer. The rows' own reads are
// bounded one by one.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = c.run(ctx, func(ctx context.Context) error {
		rows, err = c.mysqlConn.QueryContext(ctx, query, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (c *conn) PrepareContext(ctx context.Context, query string) (stmt driver.Stmt, err error) {
	err = c.run(ctx, func(ctx context.Context) error {
		stmt, err = c.mysqlConn.PrepareContext(ctx, query)
		return err
	})
	return stmt, err
}

func (c *conn) Ping(ctx context.Context) error { return c.run(ctx, c.mysqlConn.Ping) }

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	err = c.run(ctx, func(ctx context.Context) error {
		tx, err = c.mysqlConn.BeginTx(ctx, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return transaction{tx, c, ctx}, nil
}

// transaction sends its COMMIT as any other statement: it goes on for linger when its
// caller's context has ended.
type transaction struct {
	driver.Tx
	conn *conn
	ctx  context.Context // of who began it
}

// Commit is sent in any case: database/sql has looked at the context, and would keep a
// connection in a transaction that was not ended. One that is given up is a connection
// that broke, never the context's own error, which stands for a COMMIT that was not sent.
func (t transaction) Commit() error {
	own, cut := context.WithCancel(context.WithoutCancel(t.ctx))
	// The timer may fire after the COMMIT, when nothing looks at own any more.
	stop := context.AfterFunc(t.ctx, func() { time.AfterFunc(linger, cut) })
	defer stop()
	_, err := t.conn.mysqlConn.ExecContext(own, "COMMIT", nil)
	if own.Err() != nil && err != nil {
		err = fmt.Errorf("no answer to a commit within %s of its caller's end: %w", linger, mysql.ErrInvalidConn)
	}
	return t.conn.note(err)
}

// isReadOnly reports that the server takes no writes, as during a failover.
func isReadOnly(err error) bool {
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		switch my.Number {
		case 1290, // read_only; also another option that forbids the statement
			1792, // the transaction may only read
			1836: // innodb_read_only
			return true
		}
	}
	return false
}
