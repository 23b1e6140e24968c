package shop

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"waitroom/internal/booking"
	"waitroom/internal/seat"
	"waitroom/internal/wire"
)

// reply is an answer that is not written yet.
type reply struct {
	did    string // the word under which it is counted; "": not counted
	status int
	header map[string]string // beside those that all have
	body   []byte            // nil: none
}

// answer is JSON that nobody keeps.
func answer(did string, status int, body any) (reply, error) {
	b, err := json.Marshal(body)
	return reply{did: did, status: status, header: map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"}, body: append(b, '\n')}, err
}

// write sends it. A failed write means that the client went away, or does not read.
func (r reply) write(v *visit) {
	if r.status == 0 {
		return // it is written
	}
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(answerLimit)) // a recorder of a test has none
	for name, value := range r.header {
		v.w.Header().Set(name, value)
	}
	v.w.WriteHeader(r.status)
	if r.body != nil {
		_, _ = v.w.Write(r.body)
	}
}

func (s *Shop) showPlan(v *visit, r *http.Request) error { return s.maps.Plan(v.w, r, v.pass.Room) }

func (s *Shop) showSeats(v *visit, r *http.Request) error { return s.maps.Seats(v.w, r, v.pass.Room) }

func (s *Shop) showLive(v *visit, r *http.Request) error {
	return s.maps.Live(v.w, r, v.pass.Room, v.pass.Admission.String(), v.pass.Expires.Sub(s.desk.Now()))
}

// price is what seats cost together; without a currency nothing is said of it.
type price struct {
	Amount   int64  `json:"amount,omitempty"` // in the currency's minor units
	Currency string `json:"currency,omitempty"`
}

type holdAnswer struct {
	ID       seat.HoldID `json:"id"`
	Seats    []seat.ID   `json:"seats"`
	LeftMS   int64       `json:"left_ms"`
	ExtendMS int64       `json:"extend_ms"` // by which it may be extended; 0: not at all, or not again
	price
}

type bookingAnswer struct {
	ID        seat.HoldID `json:"id"`
	Reference string      `json:"reference,omitempty"` // to read aloud; bookings of older versions have none
	Seats     []seat.ID   `json:"seats"`
	price
}

type passAnswer struct {
	ExpiresMS int64          `json:"expires_ms"`
	MaxSeats  int            `json:"max_seats"`
	Spent     bool           `json:"spent"`
	Hold      *holdAnswer    `json:"hold,omitempty"`
	Booking   *bookingAnswer `json:"booking,omitempty"`
}

func (s *Shop) held(h seat.Hold) *holdAnswer {
	return &holdAnswer{ID: h.ID, Seats: h.Seats, LeftMS: left(h.Until, s.desk.Now()), ExtendMS: h.More.Milliseconds(), price: price{h.Amount, h.Currency}}
}

func booked(b booking.Booking) *bookingAnswer {
	return &bookingAnswer{ID: b.Hold, Reference: b.Reference, Seats: b.Seats, price: price{b.Amount, b.Currency}}
}

// left is the time until a moment in ms, never below 0.
func left(until, now time.Time) int64 { return max(0, until.Sub(now).Milliseconds()) }

func (s *Shop) showPass(ctx context.Context, v *visit) (reply, error) {
	was, err := s.desk.Visit(ctx, v.pass)
	if err != nil {
		return reply{}, err
	}
	a := passAnswer{ExpiresMS: left(v.pass.Expires, s.desk.Now()), MaxSeats: s.config.MaxSeats, Spent: was.Spent}
	if was.Hold != nil {
		a.Hold = s.held(*was.Hold)
	}
	if was.Booking != nil {
		a.Booking = booked(*was.Booking)
	}
	return answer("", http.StatusOK, a)
}

// asked reads {"seats":["A-1",…]}. Unknown fields are ignored, as everywhere.
func (s *Shop) asked(v *visit) (err error) {
	var request struct {
		Seats []string `json:"seats"`
	}
	if json.Unmarshal(v.body, &request) != nil {
		return coded{wire.BadRequest}
	}
	v.seats, err = seat.Ask(request.Seats, s.config.MaxSeats)
	return err
}

func (s *Shop) hold(ctx context.Context, v *visit) (reply, error) {
	h, fresh, err := s.desk.Once(v.key).Hold(ctx, v.pass, v.seats)
	switch {
	case err != nil:
		return reply{}, err
	case !fresh:
		return answer("repeated", http.StatusOK, s.held(h))
	}
	return answer("held", http.StatusCreated, s.held(h))
}

// keyed reads the key under which something is asked for, if there is one. Who sends
// several may mean either.
func keyed(v *visit) (err error) {
	headers := v.r.Header.Values("Idempotency-Key")
	switch len(headers) {
	case 0:
		return nil
	case 1:
		v.key, err = booking.ParseKey(headers[0], v.r.Method, v.r.URL.Path, string(v.body))
		if v.late {
			v.key = v.key.Late()
		}
		return err
	}
	return seat.ErrKey
}

// named reads the hold that the path names.
func named(v *visit) (err error) {
	v.hold, err = seat.ParseHoldID(v.r.PathValue("hold"))
	return err
}

func (s *Shop) release(ctx context.Context, v *visit) (reply, error) {
	return reply{did: "released", status: http.StatusNoContent}, s.desk.Once(v.key).Release(ctx, v.pass, v.hold)
}

func (s *Shop) extend(ctx context.Context, v *visit) (reply, error) {
	h, err := s.desk.Once(v.key).Extend(ctx, v.pass, v.hold)
	if err != nil {
		return reply{}, err
	}
	return answer("extended", http.StatusOK, s.held(h))
}

func (s *Shop) confirm(ctx context.Context, v *visit) (reply, error) {
	b, err := s.desk.Once(v.key).Confirm(ctx, v.pass, v.hold)
	if err != nil {
		return reply{}, err
	}
	return answer("confirmed", http.StatusOK, booked(b))
}

func (s *Shop) leave(ctx context.Context, v *visit) (reply, error) {
	return reply{did: "left", status: http.StatusNoContent}, s.desk.Leave(ctx, v.pass)
}
