package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
)

// Expire ends at most limit holds whose time and grace are over, and says of which
// rooms. It takes those that nobody has locked: of several sweepers each ends others,
// and none waits for another or for a visitor. What can't be ended because its rows
// contradict each other is set aside, and is the error.
func (s *Store) Expire(ctx context.Context, now time.Time, limit int) (ended []room.Name, err error) {
	var wrong []error
	err = s.tx(ctx, func(tx *sqlx.Tx) error {
		ended, wrong = nil, nil
		t := newTable(s, tx, false)
		var over []holdRow
		err := t.query(ctx, &over, "SELECT "+holdColumns+" FROM holds WHERE state = ? AND until_ms < ? ORDER BY until_ms LIMIT ?"+t.lock(),
			live, now.Add(-s.rules.Grace).UnixMilli(), limit)
		if err != nil || len(over) == 0 {
			return err
		}
		var ids []string
		for _, h := range over {
			t.holds[h.ID] = &h
			ids = append(ids, h.Admission)
		}
		if err := t.loadAdmissions(ctx, unique(ids), nil); err != nil {
			return err
		}
		if err := t.loadSeats(ctx, nil); err != nil {
			return err
		}
		for _, h := range over {
			if t.held[h.Admission] {
				continue // its visitor is at it, or another sweeper
			}
			row := t.holds[h.ID]
			err := t.giveBack(&act{now: now}, t.admissions[h.Admission], row, expired)
			switch {
			case err == nil:
				ended = append(ended, h.Room)
			case errors.Is(err, errBroken):
				t.end(row, aside, now)
				wrong = append(wrong, fmt.Errorf("hold %s of room %s does not expire and is set aside: %w", h.ID, h.Room, err))
			default:
				return err
			}
		}
		return t.write(ctx, now)
	})
	if err != nil {
		return nil, err
	}
	return ended, errors.Join(wrong...)
}
