package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
)

// A transaction that the database ended is run again at most attempts times,
// with a pause of random length that doubles from firstPause up to lastPause:
// about 2 s of pauses in all. After that the caller gets an ErrAway.
const (
	attempts   = 12
	firstPause = 2 * time.Millisecond
	lastPause  = 400 * time.Millisecond
)

// Tx runs work in one transaction and commits it when work returns nil. An error
// of work rolls back and comes back as it is, apart from driver errors that mean
// "away", which become ErrAway. work may run several times and must not change
// anything outside of the transaction before Tx has returned nil.
//
// Who waits for a connection waits in the order of the calls, until ctx ends. A
// statement that has begun is not ended by ctx, or at most a second later; between two
// statements the end of ctx rolls back. An error of the commit itself is an ErrUnsure,
// after 8 s at most, or a second after the end of ctx: a caller for whom that matters
// reads the row again.
func (db *DB) Tx(ctx context.Context, work func(tx *sqlx.Tx) error) error {
	return db.retry(ctx, func() error {
		tx, err := db.BeginTxx(ctx, nil)
		if err != nil {
			return err
		}
		if err := work(tx); err != nil {
			// A failed rollback closes the connection, which rolls back too.
			_ = tx.Rollback()
			return err
		}
		err = tx.Commit()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && (errors.Is(err, sql.ErrTxDone) || err == ctx.Err()):
			// ctx ended before the COMMIT was sent, which has rolled back.
			return ended(ctx, "before the commit")
		case isReadOnly(err):
			return err // an answer: the server has rolled back
		}
		return fmt.Errorf("%w: %w", ErrUnsure, err)
	})
}

// Write runs one statement in a transaction of its own and returns how many
// rows it matched.
func (db *DB) Write(ctx context.Context, query string, args ...any) (rows int64, err error) {
	err = db.retry(ctx, func() error {
		result, err := db.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		rows, err = result.RowsAffected()
		return err
	})
	return rows, err
}

// GetContext reads one row outside of a transaction, as sqlx does, with errors
// translated.
func (db *DB) GetContext(ctx context.Context, dest any, query string, args ...any) error {
	return told(ctx, db.connected(ctx, func() error { return db.DB.GetContext(ctx, dest, query, args...) }))
}

// SelectContext reads rows outside of a transaction, as sqlx does, with errors
// translated.
func (db *DB) SelectContext(ctx context.Context, dest any, query string, args ...any) error {
	return told(ctx, db.connected(ctx, func() error { return db.DB.SelectContext(ctx, dest, query, args...) }))
}

// connected runs once when it is this call's turn for a connection.
func (db *DB) connected(ctx context.Context, once func() error) error {
	if err := db.conns.enter(ctx); err != nil {
		return err
	}
	defer db.conns.leave()
	return once()
}

func (db *DB) retry(ctx context.Context, once func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := db.alone(ctx, once)
		if err == nil || !again(err) {
			return told(ctx, err)
		}
		if attempt == attempts {
			return fmt.Errorf("%w after %d attempts: %w", errBusy, attempt, err)
		}
		// Random, or the two of a deadlock would meet again.
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ended(ctx, "between two attempts")
		case <-timer.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// alone runs once as SQLite's only writer of this process. The turn is given back
// between attempts, since who is in the way may be another process.
func (db *DB) alone(ctx context.Context, once func() error) error {
	if db.writer != nil {
		if err := db.writer.enter(ctx); err != nil {
			return err
		}
		defer db.writer.leave()
	}
	return db.connected(ctx, once)
}
