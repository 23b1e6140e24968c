package booking

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// Booking is a confirmed hold.
type Booking struct {
	Hold      seat.HoldID
	Reference string // what a person reads aloud; see seat.ParseReference
	Seats     []seat.ID
	Amount    int64 // in the currency's minor units
	Currency  string
	payment   string
}

// settleLimit bounds what follows a confirm whose visitor may be gone already.
const settleLimit = 10 * time.Second

// Confirm buys the seats of a hold: authorise the money, book the seats, capture
// the money; void it if the seats were lost meanwhile. Confirming again what is
// confirmed answers the same booking.
func (b *Booker) Confirm(ctx context.Context, pass token.Pass, id seat.HoldID) (Booking, error) {
	return b.Once(Key{}).Confirm(ctx, pass, id)
}

func (b *Booker) confirm(ctx context.Context, pass token.Pass, key Key, id seat.HoldID) (Booking, error) {
	now, err := b.clock.time()
	if err != nil {
		return Booking{}, err
	}
	h, err := b.store.hold(ctx, pass, id)
	if key.word != "" && (errors.Is(err, seat.ErrNoHold) || err == nil && (h.State != live || b.store.rules.lapsed(h, now))) {
		// There is nothing to pay for: what the key comes to is decided where keys are kept.
		if _, err := b.store.confirm(ctx, pass, key, holdRow{ID: id}, "", false, now); err != nil && !errors.Is(err, errLost) {
			return Booking{}, err
		}
	}
	switch {
	case err != nil:
		return Booking{}, err
	case h.State == confirmed:
		booking, found, err := b.store.booking(ctx, h)
		if err == nil && !found {
			err = broken("hold %s is confirmed and has no booking", h.ID)
		}
		return booking, err
	case h.State != live || b.store.rules.lapsed(h, now):
		return Booking{}, seat.ErrHoldEnded
	}
	ref, err := b.gateway.Authorise(ctx, Charge{ID: string(seat.NewHoldID()), Pass: pass.Admission, Hold: h.ID, Seats: h.seats(), Amount: h.Amount, Currency: h.Currency})
	if err != nil {
		// Another confirm of the hold may have spent what the card bears.
		if booking, found, look := b.store.booking(ctx, h); look == nil && found {
			return booking, nil
		}
		return Booking{}, err
	}
	_, free := b.gateway.(FreeGateway)
	now, err = b.clock.time() // authorising takes its time
	var booking Booking
	if err == nil {
		booking, err = b.store.confirm(ctx, pass, key, h, ref, free, now)
	}
	// From here on the visitor's patience is not asked: the money is reserved.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	if err != nil {
		return b.lost(ctx, h, ref, err)
	}
	if !free {
		b.settle(ctx, h, ref)
	}
	return booking, nil
}

// lost settles a confirm that did not succeed. An unsure commit is looked up; if
// it is not there now it may still be on its way, so its money is neither taken
// nor given back: the sweeper captures it, or it lapses.
func (b *Booker) lost(ctx context.Context, h holdRow, ref string, cause error) (Booking, error) {
	booking, found, err := b.store.booking(ctx, h)
	switch {
	case err == nil && found && booking.payment == ref:
		b.settle(ctx, h, ref)
		return booking, nil
	case errors.Is(cause, sqldb.ErrUnsure) && (err != nil || !found):
		return Booking{}, cause
	}
	if err := b.gateway.Void(ctx, ref); err != nil {
		b.failed("voiding a payment", h.ID, "payment was not voided and will lapse", err)
	}
	switch {
	case err == nil && found: // another confirm of the same hold was first
		return booking, nil
	case errors.Is(cause, errLost):
		return Booking{}, seat.ErrHoldEnded
	}
	return Booking{}, cause
}

// settle takes the money of a booking. When it can't, the sweeper will.
func (b *Booker) settle(ctx context.Context, h holdRow, ref string) {
	err := b.gateway.Capture(ctx, ref)
	if err == nil {
		err = b.store.captured(ctx, h.ID, b.clock.at())
	}
	if err != nil {
		b.failed("capturing a payment", h.ID, "payment is not captured yet; trying again", err)
	}
}

// confirm books the seats of a live hold, spends the pass and writes what
// follows, in one transaction. errLost: the hold has ended, or its time and
// grace are over. captured: there is no money to be taken later.
func (s *Store) confirm(ctx context.Context, pass token.Pass, key Key, h holdRow, payment string, captured bool, now time.Time) (Booking, error) {
	a := &act{kind: toConfirm, pass: pass, key: key, id: pass.Admission.String(), hold: h.ID, now: now, payment: payment, captured: captured}
	if err := s.acts.do(ctx, a); err != nil {
		return Booking{}, err
	}
	return Booking{Hold: h.ID, Reference: a.reference, Seats: a.got.seats(), Amount: a.got.Amount, Currency: a.got.Currency, payment: payment}, nil
}

// booking reads the booking that came of a hold.
func (s *Store) booking(ctx context.Context, h holdRow) (b Booking, found bool, err error) {
	var row struct {
		Payment   string         `db:"payment"`
		Reference sql.NullString `db:"reference"`
		Amount    int64          `db:"amount"`
		Currency  string         `db:"currency"`
	}
	read := func() error {
		return s.db.GetContext(ctx, &row, "SELECT payment, reference, amount, currency FROM bookings WHERE hold = ?", h.ID)
	}
	if err = read(); errors.Is(err, sql.ErrNoRows) {
		return Booking{}, false, nil
	}
	// An older booker gives none, and knows no price: what its hold says is what it costs.
	for range referenceTries {
		if err != nil || row.Reference.String != "" {
			break
		}
		_, err = s.db.Write(ctx, "UPDATE bookings SET reference = ?, amount = ?, currency = ? WHERE hold = ? AND reference IS NULL",
			seat.NewReference(), h.Amount, h.Currency, h.ID)
		if err == nil || sqldb.IsDuplicate(err) {
			err = read()
		}
	}
	return Booking{Hold: h.ID, Reference: row.Reference.String, Seats: h.seats(), Amount: row.Amount, Currency: row.Currency, payment: row.Payment}, err == nil, err
}

// referenceTries is how many references are tried: of a million bookings one in 30,000
// meets one that is given.
const referenceTries = 3

// captured notes that the money of a booking was taken.
func (s *Store) captured(ctx context.Context, hold seat.HoldID, now time.Time) error {
	// By the primary key alone: by the key of what is not captured it would lock strangers' rows.
	_, err := s.db.Write(ctx, "UPDATE bookings SET captured_ms = CASE WHEN captured_ms = 0 THEN ? ELSE captured_ms END WHERE hold = ?", now.UnixMilli(), hold)
	return err
}

// Bounds of what is captured later.
const (
	// captureAfter leaves a booking's money to the request that booked it, unless
	// that request must have ended.
	captureAfter = 30 * time.Second
	// captureMost caps the pause before a capture that failed is tried again, which grows
	// with the booking's age.
	captureMost  = 10 * time.Minute
	captureEvery = 10 * time.Second
	captureRows  = 50
	captureLimit = 10 * time.Second // of one capture
	captureOnce  = 8                // at once, so that one that hangs does not keep the others
	// captureNote bounds the noting of what a capture came to. It is one row by its key; who
	// has it locked, or a database that hangs, is not waited for: the gateway is asked again.
	captureNote = 3 * time.Second
)

// owed is a booking whose money was authorised and not yet taken.
type owed struct {
	Hold     seat.HoldID `db:"hold"`
	Room     room.Name   `db:"room"`
	Payment  string      `db:"payment"`
	BookedMS int64       `db:"booked_ms"`
}

// uncaptured lists at most limit bookings whose next try is due, the longest due first.
func (s *Store) uncaptured(ctx context.Context, now time.Time, limit int) (list []owed, err error) {
	err = s.db.SelectContext(ctx, &list, "SELECT hold, room, payment, booked_ms FROM bookings WHERE captured_ms = 0 AND capture_ms <= ? AND booked_ms < ? ORDER BY capture_ms LIMIT ?",
		now.UnixMilli(), now.Add(-captureAfter).UnixMilli(), limit)
	return list, err
}

// captureLater puts a capture that failed behind the others.
func (s *Store) captureLater(ctx context.Context, o owed, now time.Time) error {
	pause := min(max(now.Sub(time.UnixMilli(o.BookedMS))/2, captureAfter), captureMost)
	_, err := s.db.Write(ctx, "UPDATE bookings SET capture_ms = ? WHERE hold = ?", now.Add(pause).UnixMilli(), o.Hold)
	return err
}

// capture takes the money of bookings whose request could not. One that is refused is
// tried again later, and the others are not kept waiting.
func (b *Booker) capture(ctx context.Context) (more bool, err error) {
	list, err := b.store.uncaptured(ctx, b.clock.at(), captureRows)
	if err != nil || len(list) == 0 {
		return false, err
	}
	errs := make([]error, len(list))
	gather(captureOnce, len(list), func(i int) {
		o := list[i]
		one, cancel := context.WithTimeout(ctx, captureLimit)
		defer cancel()
		err := b.gateway.Capture(one, o.Payment)
		note, end := context.WithTimeout(ctx, captureNote)
		defer end()
		if err == nil {
			errs[i] = b.store.captured(note, o.Hold, b.clock.at())
			return
		}
		errs[i] = fmt.Errorf("payment of hold %s: %w", o.Hold, err)
		if err := b.store.captureLater(note, o, b.clock.at()); err != nil {
			errs[i] = errors.Join(errs[i], err)
		}
	})
	err = errors.Join(errs...)
	return err == nil && len(list) == captureRows, err
}
