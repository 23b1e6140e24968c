package sqldb

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

// A COMMIT without an answer keeps a caller who stops no longer than any other statement
// does. What became of it is not known, however the caller ends: it was sent.
func TestStopDuringCommit(t *testing.T) {
	for name, begin := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"went away": context.WithCancel,
		"its time is up": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, relay := relayed(t)
			db := opened(t, dsn)
			ctx, stop := begin(t.Context())
			defer stop()
			begun := time.Now()
			err := db.Tx(ctx, func(tx *sqlx.Tx) error {
				if _, err := tx.ExecContext(ctx, "SELECT 1"); err != nil {
					return err
				}
				relay.Silence()
				if name == "went away" {
					time.AfterFunc(time.Second, stop)
				}
				return nil
			})
			if took := time.Since(begun); !errors.Is(err, ErrUnsure) || !errors.Is(err, ErrAway) || errors.Is(err, context.Canceled) || took > time.Second+linger+slack {
				t.Errorf("got %v after %v, want %v within %v of its end", err, took, ErrUnsure, linger)
			}
			relay.Cut()
			// The connection is none of the pool's any more.
			if err := db.Tx(t.Context(), func(tx *sqlx.Tx) error { _, err := tx.Exec("SELECT 1"); return err }); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
