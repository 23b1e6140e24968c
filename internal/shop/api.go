package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// Bounds of a request.
const (
	maxBody   = 4 << 10
	callLimit = 8 * time.Second // the page gives up after 15
	// readLeeway lets a visitor read back what a pass came to after it expired:
	// as long as the longest pass lasts.
	readLeeway = room.MaxPass
	// refusedQuiet is how far apart two requests that could not be served are two
	// outages: pages come back within seconds.
	refusedQuiet = time.Minute
)

// bareRooms bounds the rooms without seats that are logged.
const bareRooms = 1000

// errTooMany is more requests at once than --max-calls.
var errTooMany = errors.New("as many requests are served as --max-calls allows")

// visit is one request with a verified pass.
type visit struct {
	w    http.ResponseWriter
	r    *http.Request
	pass token.Pass
}

// act serves one kind of request. It returns the word under which a success is
// counted, or the error that wire's table answers.
type act struct {
	serve  func(v visit) (did string, err error)
	leeway time.Duration // for which an expired pass is still good
}

// Handler serves the API under {prefix}/rooms/{room}/ and, for every other path,
// the page.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, acts := range map[string]map[string]act{
		"/rooms/{room}/seats":                {http.MethodGet: {serve: s.showSeats}},
		"/rooms/{room}/pass":                 {http.MethodGet: {serve: s.showPass, leeway: readLeeway}, http.MethodDelete: {serve: s.leave}},
		"/rooms/{room}/holds":                {http.MethodPost: {serve: s.hold}},
		"/rooms/{room}/holds/{hold}":         {http.MethodDelete: {serve: s.release}},
		"/rooms/{room}/holds/{hold}/confirm": {http.MethodPost: {serve: s.confirm, leeway: s.parts.Grace}},
	} {
		mux.Handle(s.parts.Prefix+path, s.route(acts))
	}
	if s.parts.Page != nil {
		mux.Handle("/", s.parts.Page)
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { wire.WriteProblem(w, wire.NotFound, 0) })
	}
	return mux
}

func (s *Shop) route(acts map[string]act) http.Handler {
	var allowed []string
	for method := range acts {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		act, ok := acts[r.Method]
		if !ok {
			w.Header().Set("Allow", allow)
			wire.WriteProblem(w, wire.NotAllowed, 0)
			return
		}
		select {
		case s.calls <- struct{}{}:
			defer func() { <-s.calls }()
		default: // more at once than the database could serve in time
			s.refused.Note(r.Context(), errTooMany)
			wire.WriteProblem(w, wire.Overloaded, 1)
			return
		}
		began := time.Now()
		s.serve(w, r, act)
		s.took.Observe(time.Since(began).Seconds())
	})
}

func (s *Shop) serve(w http.ResponseWriter, r *http.Request, act act) {
	ctx, cancel := context.WithTimeout(r.Context(), callLimit)
	defer cancel()
	pass, err := s.authenticate(ctx, r, act.leeway)
	if err != nil {
		s.refuse(ctx, w, err)
		return
	}
	cause, err := act.serve(visit{w, r.WithContext(ctx), pass})
	if err != nil {
		if errors.Is(err, seat.ErrNoRoom) {
			s.noteBare(pass.Room)
		}
		cause = string(s.refuse(ctx, w, err))
	}
	if cause != "" {
		s.desk.Did(pass.Room, cause)
	}
}

// noteBare logs a room whose visitors find no seats, once per process: the pass is
// verified, so the line lets people into it. Rooms beyond bareRooms are not logged.
func (s *Shop) noteBare(name room.Name) {
	s.mu.Lock()
	said := s.bare[name] || len(s.bare) >= bareRooms
	if !said {
		s.bare[name] = true
	}
	s.mu.Unlock()
	if !said {
		s.parts.Log.Warn("visitors with a pass find no seats in this room: make them with booker seats --new, or close the room",
			zap.String("room", string(name)))
	}
}

// coded is a refusal that has no sentinel, since it is HTTP's own.
type coded struct{ wire.Code }

func (c coded) Error() string { return string(c.Code) }

// authenticate reads the pass out of the Authorization header.
func (s *Shop) authenticate(ctx context.Context, r *http.Request, leeway time.Duration) (token.Pass, error) {
	name, err := room.ParseName(r.PathValue("room"))
	if err != nil {
		return token.Pass{}, err
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return token.Pass{}, coded{wire.NoPass}
	}
	scheme, pass, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return token.Pass{}, coded{wire.NoPass}
	}
	return s.parts.Passes.ParsePass(ctx, strings.TrimSpace(pass), name, s.desk.Now().Add(-leeway))
}

// refuse answers with the row of wire's table, and says which. What the table
// does not know is logged each time, since it is ours to mend; what a server behind
// this one does not answer, once in a while.
func (s *Shop) refuse(ctx context.Context, w http.ResponseWriter, err error) wire.Code {
	var c coded
	if !errors.As(err, &c) {
		c.Code = wire.PassCode(outward(err))
	}
	retryAfter := 0
	switch {
	case c.Code == wire.Internal:
		s.parts.Log.Error("request failed", zap.Error(err))
	case wire.Codes[c.Code].HTTP == http.StatusServiceUnavailable:
		s.refused.Note(ctx, err)
		retryAfter = 1
	case wire.Codes[c.Code].HTTP == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="waitroom"`) // RFC 9110, 15.5.2
	}
	var taken *seat.TakenError
	if errors.As(err, &taken) {
		wire.WriteProblem(w, c.Code, retryAfter, taken.Seats...)
	} else {
		wire.WriteProblem(w, c.Code, retryAfter)
	}
	return c.Code
}

// answer writes JSON. A failed write means that the client went away.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Shop) showSeats(v visit) (string, error) {
	body, etag, err := s.maps.Of(v.r.Context(), v.pass.Room)
	if err != nil {
		return "", err
	}
	h := v.w.Header()
	h.Set("ETag", etag)
	h.Set("Cache-Control", "private, no-cache") // keep it, but ask each time
	if matches(v.r.Header.Get("If-None-Match"), etag) {
		v.w.WriteHeader(http.StatusNotModified)
		return "", nil
	}
	h.Set("Content-Type", "application/json")
	_, _ = v.w.Write(body) // a failed write means that the client went away
	return "", nil
}

// matches compares as RFC 9110 (13.1.2) asks: weakly, any of a list.
func matches(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == etag {
			return true
		}
	}
	return false
}

type holdAnswer struct {
	ID     seat.HoldID `json:"id"`
	Seats  []seat.ID   `json:"seats"`
	LeftMS int64       `json:"left_ms"`
}

type bookingAnswer struct {
	ID    seat.HoldID `json:"id"`
	Seats []seat.ID   `json:"seats"`
}

type passAnswer struct {
	ExpiresMS int64          `json:"expires_ms"`
	MaxSeats  int            `json:"max_seats"`
	Spent     bool           `json:"spent"`
	Hold      *holdAnswer    `json:"hold,omitempty"`
	Booking   *bookingAnswer `json:"booking,omitempty"`
}

func (s *Shop) held(h seat.Hold) *holdAnswer {
	return &holdAnswer{ID: h.ID, Seats: h.Seats, LeftMS: left(h.Until, s.desk.Now())}
}

// left is the time until a moment in ms, never below 0.
func left(until, now time.Time) int64 { return max(0, until.Sub(now).Milliseconds()) }

func (s *Shop) showPass(v visit) (string, error) {
	was, err := s.desk.Visit(v.r.Context(), v.pass)
	if err != nil {
		return "", err
	}
	a := passAnswer{ExpiresMS: left(v.pass.Expires, s.desk.Now()), MaxSeats: s.config.MaxSeats, Spent: was.Spent}
	if was.Hold != nil {
		a.Hold = s.held(*was.Hold)
	}
	if was.Booking != nil {
		a.Booking = &bookingAnswer{ID: was.Booking.Hold, Seats: was.Booking.Seats}
	}
	answer(v.w, http.StatusOK, a)
	return "", nil
}

func (s *Shop) hold(v visit) (string, error) {
	seats, err := s.asked(v)
	if err != nil {
		return "", err
	}
	h, fresh, err := s.desk.Hold(v.r.Context(), v.pass, seats)
	if err != nil {
		return "", err
	}
	if !fresh {
		answer(v.w, http.StatusOK, s.held(h))
		return "repeated", nil
	}
	answer(v.w, http.StatusCreated, s.held(h))
	return "held", nil
}

// asked reads {"seats":["A-1",…]}. Unknown fields are ignored, as everywhere.
func (s *Shop) asked(v visit) ([]seat.ID, error) {
	body, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, maxBody))
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return nil, coded{wire.TooLong}
	}
	var request struct {
		Seats []string `json:"seats"`
	}
	if err != nil || json.Unmarshal(body, &request) != nil {
		return nil, coded{wire.BadRequest}
	}
	return seat.Ask(request.Seats, s.config.MaxSeats)
}

func (s *Shop) release(v visit) (string, error) {
	id, err := seat.ParseHoldID(v.r.PathValue("hold"))
	if err != nil {
		return "", err
	}
	if err := s.desk.Release(v.r.Context(), v.pass, id); err != nil {
		return "", err
	}
	v.w.WriteHeader(http.StatusNoContent)
	return "released", nil
}

func (s *Shop) confirm(v visit) (string, error) {
	id, err := seat.ParseHoldID(v.r.PathValue("hold"))
	if err != nil {
		return "", err
	}
	booking, err := s.desk.Confirm(v.r.Context(), v.pass, id)
	if err != nil {
		return "", err
	}
	answer(v.w, http.StatusOK, bookingAnswer{ID: booking.Hold, Seats: booking.Seats})
	return "confirmed", nil
}

func (s *Shop) leave(v visit) (string, error) {
	if err := s.desk.Leave(v.r.Context(), v.pass); err != nil {
		return "", err
	}
	v.w.WriteHeader(http.StatusNoContent)
	return "left", nil
}

// outward puts the shop's own word before what its database says of itself, for
// the table of codes, which knows no driver.
func outward(err error) error {
	if errors.Is(err, sqldb.ErrAway) || errors.Is(err, sqldb.ErrUnsure) {
		return fmt.Errorf("%w: %w", seat.ErrAway, err)
	}
	return err
}
