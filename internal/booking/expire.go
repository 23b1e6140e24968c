package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// sweepSeats is how many seats one step frees at most, or those of one hold: its
// statements grow with them.
const sweepSeats = 1000

// asideError names holds that were set aside.
type asideError struct{ reasons []error }

func (e *asideError) Error() string { return errors.Join(e.reasons...).Error() }

// Unwrap has errors.Is find what broke.
func (e *asideError) Unwrap() []error { return e.reasons }

// Expire ends at most limit holds whose time and grace are over, and says of which
// rooms. It takes those of which nobody has locked a row: of several sweepers each ends
// others, and none waits for another, for a visitor or for a stranger. What can't be ended
// because its rows contradict each other is set aside, and is the error, an *asideError.
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
		asked, seats := map[room.Name][]string{}, 0
		for i, h := range over {
			if seats += len(h.seats()); i > 0 && seats > sweepSeats {
				over = over[:i]
				break
			}
			t.holds[h.ID] = &h
			ids = append(ids, h.Admission)
			for _, id := range h.seats() {
				asked[h.Room] = append(asked[h.Room], string(id))
			}
		}
		if err := t.loadAdmissions(ctx, unique(ids), nil); err != nil {
			return err
		}
		if err := t.loadSeats(ctx, asked, seat.Held); err != nil {
			return err
		}
		for _, h := range over {
			if t.held[h.Admission] || t.isLocked(&h) {
				continue // its visitor is at it, another sweeper or a stranger
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
	if len(wrong) > 0 {
		return ended, &asideError{wrong}
	}
	return ended, nil
}

// isLocked reports whether somebody has one of a hold's seats locked.
func (t *table) isLocked(h *holdRow) bool {
	for _, id := range h.seats() {
		if s := t.seats[key{h.Room, id}]; s != nil && s.locked {
			return true
		}
	}
	return false
}
