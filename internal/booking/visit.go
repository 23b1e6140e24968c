package booking

import (
	"context"
	"database/sql"
	"errors"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// Visit is what a pass has come to.
type Visit struct {
	Spent   bool
	Hold    *seat.Hold // the live one
	Booking *Booking
}

// Visit reads the state of a pass, so that a page that was loaded again resumes.
// A pass never used is a Visit without anything; nothing is written. It is one statement,
// so that what it says is true of one moment.
func (s *Store) Visit(ctx context.Context, pass token.Pass) (v Visit, err error) {
	var row struct {
		holdRow
		SpentMS int64 `db:"spent_ms"`
	}
	err = s.db.GetContext(ctx, &row, `SELECT a.spent_ms, COALESCE(h.id, '') AS id, a.id AS admission, COALESCE(h.room, '') AS room, COALESCE(h.seats, '') AS seats,
		COALESCE(h.state, '') AS state, COALESCE(h.until_ms, 0) AS until_ms, COALESCE(h.ended_ms, 0) AS ended_ms,
		COALESCE(h.amount, 0) AS amount, COALESCE(h.currency, '') AS currency, COALESCE(h.extended, 0) AS extended
		FROM admissions a LEFT JOIN holds h ON h.id = CASE WHEN a.hold <> '' THEN a.hold ELSE a.booking END WHERE a.id = ?`, pass.Admission.String())
	if errors.Is(err, sql.ErrNoRows) {
		return Visit{}, nil
	}
	if err != nil {
		return Visit{}, err
	}
	v.Spent = row.SpentMS != 0
	switch row.State { // "": none, or it is kept no longer
	case live:
		held := s.rules.hold(row.holdRow, pass)
		v.Hold = &held
	case confirmed:
		booking, found, err := s.booking(ctx, row.holdRow)
		if err != nil || !found {
			return v, err
		}
		v.Booking = &booking
	}
	return v, nil
}
