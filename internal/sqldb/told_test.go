package sqldb

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// A statement's own context is cancelled some time after its caller's. Who did not cancel
// never hears of a cancel: it would be taken for a visitor who went away.
func TestNobodyHearsOfAnothersCancel(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for what, c := range map[string]struct {
		ctx      context.Context
		err      error
		is, isnt error
	}{
		"went away":             {gone, context.Canceled, context.Canceled, ErrAway},
		"waits still":           {t.Context(), context.Canceled, ErrAway, context.Canceled},
		"its time is up":        {late, fmt.Errorf("rows: %w", context.Canceled), ErrAway, context.Canceled},
		"a commit, which stays": {late, fmt.Errorf("%w: %w", ErrUnsure, context.Canceled), ErrUnsure, ErrAway},
	} {
		if err := told(c.ctx, c.err); !errors.Is(err, c.is) || errors.Is(err, c.isnt) {
			t.Errorf("%s: got %v, want %v", what, err, c.is)
		}
	}
}
