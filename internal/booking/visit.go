package booking

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"waitroom/internal/seat"
	"waitroom/internal/token"
)

// Visit is what a pass has come to.
type Visit struct {
	Spent   bool
	Hold    *seat.Hold    // the live one
	Extend  time.Duration // how much more it may ask for, once; 0: none
	Booking *Booking
}

// Visit reads the state of a pass, so that a page that was loaded again resumes.
// A pass never used is a Visit without anything; nothing is written.
func (s *Store) Visit(ctx context.Context, pass token.Pass) (v Visit, err error) {
	a, err := s.admission(ctx, pass.Admission.String())
	if errors.Is(err, sql.ErrNoRows) {
		return Visit{}, nil
	}
	if err != nil {
		return Visit{}, err
	}
	v.Spent = a.SpentMS != 0
	id := a.Hold
	if id == "" {
		id = a.Booking
	}
	if id == "" {
		return v, nil
	}
	h, err := s.hold(ctx, pass, seat.HoldID(id))
	switch {
	case errors.Is(err, seat.ErrNoHold): // kept no longer
		return v, nil
	case err != nil:
		return Visit{}, err
	case h.State == live:
		held := h.hold()
		v.Hold = &held
		if !held.Extended {
			v.Extend = s.rules.Extend
		}
	case h.State == confirmed:
		v.Spent = true // it may have been confirmed between the two reads
		booking, found, err := s.booking(ctx, h)
		if err != nil || !found {
			return v, err
		}
		v.Booking = &booking
	}
	return v, nil
}
