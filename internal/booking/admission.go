package booking

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
)

// Bounds of recording admissions.
const (
	// admitRows is how many rows one INSERT holds at most, as many as a batch from
	// Kafka: about 80 KB of SQL, far below any server's packet.
	admitRows = 500
	// lockedMost is how many rows of a batch are found locked by others, each in a
	// second, before the rest of the batch waits with them. Who locks a row for a second
	// has vanished or hangs.
	lockedMost = 3
	// admitTries bounds how often rows are read and inserted because others inserted some
	// of them meanwhile. Each time there are fewer.
	admitTries = 5
)

// MySQL's least wait for a lock, a second, instead of the one that suits whoever
// waits with a visitor: a batch from Kafka has others behind it. The session's own
// is kept beside and put back.
const (
	waitLess = "SET @wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1"
	waitOn   = "SET SESSION innodb_lock_wait_timeout = @wait"
)

// Admit records admissions. The first row of an admission wins, whether Kafka or
// the pass itself brought it; a repeat changes nothing. Its error is an
// *events.Undone, which names those that are not recorded; the others are.
func (s *Store) Admit(ctx context.Context, admitted []events.Admitted, now time.Time) error {
	var left []int
	var reason error
	for at := 0; at < len(admitted); at += admitRows {
		some := admitted[at:min(at+admitRows, len(admitted))]
		err := s.admit(ctx, some, now)
		for _, i := range events.Left(err, len(some)) {
			left, reason = append(left, at+i), err
		}
	}
	if reason == nil {
		return nil
	}
	return &events.Undone{At: left, Err: reason}
}

// admit records at most admitRows together or, where one of them can't be recorded
// now, each by itself.
func (s *Store) admit(ctx context.Context, admitted []events.Admitted, now time.Time) error {
	err := s.insert(ctx, admitted, now)
	if err == nil || len(admitted) == 1 {
		return err
	}
	var left []int
	for i := range admitted {
		if len(left) < lockedMost {
			one := s.insert(ctx, admitted[i:i+1], now)
			if one == nil {
				continue
			}
			err = one
		}
		left = append(left, i)
	}
	if len(left) == 0 {
		return nil
	}
	return &events.Undone{At: left, Err: err}
}

// insert records those that are not there, in one statement. What is there is read
// first, and a read waits for no lock: a repeat costs next to nothing, whoever is
// busy with its row.
func (s *Store) insert(ctx context.Context, admitted []events.Admitted, now time.Time) error {
	for range admitTries {
		fresh, err := s.unknown(ctx, admitted)
		if err != nil || len(fresh) == 0 {
			return err
		}
		args := make([]any, 0, 6*len(fresh))
		for _, a := range fresh {
			args = append(args, a.ID, a.AdmittedAtUS, now.UnixMilli(), "", "", 0)
		}
		values := strings.Repeat(", (?, ?, ?, ?, ?, ?)", len(fresh))[2:]
		err = s.impatient(ctx, func(tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms) VALUES "+values, args...)
			return err
		})
		if !sqldb.IsDuplicate(err) {
			return err
		}
	}
	return fmt.Errorf("%w: others record the same admissions", sqldb.ErrAway)
}

// impatient runs work in a transaction that waits a second for a lock, once: what
// the database ends for the sake of others is the caller's to look at.
func (s *Store) impatient(ctx context.Context, work func(*sqlx.Tx) error) error {
	return s.db.Tx(ctx, func(tx *sqlx.Tx) error {
		if s.db.Dialect == sqldb.SQLite {
			return work(tx)
		}
		if _, err := tx.ExecContext(ctx, waitLess); err != nil {
			return err
		}
		ended := work(tx)
		if _, err := tx.ExecContext(context.WithoutCancel(ctx), waitOn); err != nil { // the connection is the pool's again
			return err
		}
		if ended != nil && !sqldb.IsDuplicate(ended) {
			return fmt.Errorf("%w: %v", sqldb.ErrAway, ended) // its cause as a text: Tx runs no such work again
		}
		return ended
	})
}

// unknown are those that have no row, each once.
func (s *Store) unknown(ctx context.Context, admitted []events.Admitted) (fresh []events.Admitted, err error) {
	names := make([]string, len(admitted))
	for i, a := range admitted {
		names[i] = a.ID
	}
	query, args, err := sqlx.In("SELECT id FROM admissions WHERE id IN (?)", names)
	if err != nil {
		return nil, err
	}
	var there []string
	if err := s.db.SelectContext(ctx, &there, query, args...); err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(admitted))
	for _, id := range there {
		known[id] = true
	}
	for _, a := range admitted {
		if !known[a.ID] {
			known[a.ID] = true
			fresh = append(fresh, a)
		}
	}
	return fresh, nil
}
