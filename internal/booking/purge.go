package booking

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// Bounds of the forgetting.
const (
	purgeRows  = 500 // deleted in one step of each table
	purgeEvery = time.Minute
	purgeSteps = 20 // of purgeRows rows per table: 600,000 an hour
)

// Purge deletes admissions made and holds ended before a moment, at most
// purgeRows each, and says how many. Bookings stay. The moment must be further
// back than the longest pass lasts, or a spent pass would open the shop again.
func (s *Store) Purge(ctx context.Context, before time.Time) (deleted int64, err error) {
	ms := before.UnixMilli()
	n, err := s.purge(ctx, "admissions", "hold = ''", "SELECT id FROM admissions WHERE created_ms < ? AND hold = '' ORDER BY created_ms LIMIT ?", ms, purgeRows)
	deleted += n
	for _, state := range []string{confirmed, released, expired} {
		if err != nil {
			break
		}
		n, err = s.purge(ctx, "holds", "ended_ms > 0", "SELECT id FROM holds WHERE state = ? AND ended_ms < ? ORDER BY ended_ms LIMIT ?", state, ms, purgeRows)
		deleted += n
	}
	return deleted, err
}

// purgeKeys forgets the keys of requests from before a moment, at most purgeRows.
func (s *Store) purgeKeys(ctx context.Context, before time.Time) (deleted int64, err error) {
	return s.purge(ctx, "request_keys", "made_ms > 0", "SELECT id FROM request_keys WHERE made_ms < ? ORDER BY made_ms LIMIT ?", before.UnixMilli(), purgeRows)
}

// purge reads the ids first, since SQLite's DELETE has no LIMIT; the condition
// is asked again by the DELETE.
func (s *Store) purge(ctx context.Context, table, still, query string, args ...any) (int64, error) {
	var ids []string
	if err := s.db.SelectContext(ctx, &ids, query, args...); err != nil || len(ids) == 0 {
		return 0, err
	}
	query, args, err := sqlx.In("DELETE FROM "+table+" WHERE id IN (?) AND "+still, ids)
	if err != nil {
		return 0, err
	}
	return s.db.Write(ctx, query, args...)
}

// purge forgets what is older than --keep, which can't be taken back, so by a clock that can
// be trusted.
func (b *Booker) purge(ctx context.Context) (more bool, err error) {
	now, sure := b.clock.ending()
	if !sure {
		return false, nil // said once by the clock, or over in some seconds
	}
	before := now.Add(-b.config.Keep)
	if err := b.store.purgeEvents(ctx, before); err != nil {
		return false, err
	}
	for range purgeSteps {
		if n, err := b.store.purgeKeys(ctx, now.Add(-keysKept)); err != nil || n == 0 {
			if err != nil {
				return false, err
			}
			break
		}
	}
	for range purgeSteps {
		n, err := b.store.Purge(ctx, before)
		if err != nil || n == 0 {
			return false, err
		}
	}
	return false, nil
}
