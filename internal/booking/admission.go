package booking

import (
	"context"
	"strings"
	"time"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
)

// admitRows is how many rows one INSERT holds at most: about 20 KB of SQL.
const admitRows = 100

// Admit records admissions. The first row of an admission wins, whether Kafka or
// the pass itself brought it; a repeat changes nothing.
func (s *Store) Admit(ctx context.Context, admitted []events.Admitted, now time.Time) error {
	for len(admitted) > 0 {
		n := min(len(admitted), admitRows)
		if err := s.admit(ctx, admitted[:n], now); err != nil {
			return err
		}
		admitted = admitted[n:]
	}
	return nil
}

// admit inserts all rows in one statement, or each by itself when one of them is
// there already, which happens when a batch is handled again.
func (s *Store) admit(ctx context.Context, admitted []events.Admitted, now time.Time) error {
	args := make([]any, 0, 6*len(admitted))
	for _, a := range admitted {
		args = append(args, a.ID, a.AdmittedAtUS, now.UnixMilli(), "", "", 0)
	}
	values := strings.Repeat(", (?, ?, ?, ?, ?, ?)", len(admitted))[2:]
	_, err := s.db.Write(ctx, "INSERT INTO admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms) VALUES "+values, args...)
	if !sqldb.IsDuplicate(err) {
		return err
	}
	if len(admitted) == 1 {
		return nil
	}
	for i := range admitted {
		if err := s.admit(ctx, admitted[i:i+1], now); err != nil {
			return err
		}
	}
	return nil
}
