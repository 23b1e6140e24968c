package booking

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
	"waitroom/internal/seat"
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
func (b *Booker) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, acts := range map[string]map[string]act{
		"/rooms/{room}/seats":                {http.MethodGet: {serve: b.showSeats}},
		"/rooms/{room}/pass":                 {http.MethodGet: {serve: b.showPass, leeway: readLeeway}, http.MethodDelete: {serve: b.leave}},
		"/rooms/{room}/holds":                {http.MethodPost: {serve: b.hold}},
		"/rooms/{room}/holds/{hold}":         {http.MethodDelete: {serve: b.release}},
		"/rooms/{room}/holds/{hold}/confirm": {http.MethodPost: {serve: b.confirm, leeway: b.config.Grace}},
	} {
		mux.Handle(b.prefix+path, b.route(acts))
	}
	if b.page != nil {
		mux.Handle("/", b.page)
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { wire.WriteProblem(w, wire.NotFound, 0) })
	}
	return mux
}

func (b *Booker) route(acts map[string]act) http.Handler {
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
		case b.calls <- struct{}{}:
			defer func() { <-b.calls }()
		default: // more at once than the database could serve in time
			b.refused.Note(r.Context(), errTooMany)
			wire.WriteProblem(w, wire.Overloaded, 1)
			return
		}
		began := time.Now()
		b.serve(w, r, act)
		b.met.calls.Observe(time.Since(began).Seconds())
	})
}

func (b *Booker) serve(w http.ResponseWriter, r *http.Request, act act) {
	ctx, cancel := context.WithTimeout(r.Context(), callLimit)
	defer cancel()
	pass, err := b.authenticate(ctx, r, act.leeway)
	if err != nil {
		b.refuse(ctx, w, err)
		return
	}
	cause, err := act.serve(visit{w, r.WithContext(ctx), pass})
	if err != nil {
		if errors.Is(err, seat.ErrNoRoom) {
			b.noteBare(pass.Room)
		}
		cause = string(b.refuse(ctx, w, err))
	}
	if cause != "" {
		b.met.acts.WithLabelValues(string(pass.Room), cause).Inc()
	}
}

// noteBare logs a room whose visitors find no seats, once per process: the pass is
// verified, so the line lets people into it. Rooms beyond mapRooms are not logged.
func (b *Booker) noteBare(name room.Name) {
	b.mu.Lock()
	said := b.bare[name] || len(b.bare) >= mapRooms
	if !said {
		b.bare[name] = true
	}
	b.mu.Unlock()
	if !said {
		b.log.Warn("visitors with a pass find no seats in this room: make them with booker seats --new, or close the room",
			zap.String("room", string(name)))
	}
}

// coded is a refusal that has no sentinel, since it is HTTP's own.
type coded struct{ wire.Code }

func (c coded) Error() string { return string(c.Code) }

// authenticate reads the pass out of the Authorization header.
func (b *Booker) authenticate(ctx context.Context, r *http.Request, leeway time.Duration) (token.Pass, error) {
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
	return b.passes.ParsePass(ctx, strings.TrimSpace(pass), name, b.clock.now().Add(-leeway))
}

// refuse answers with the row of wire's table, and says which. What the table
// does not know is logged each time, since it is ours to mend; what a server behind
// this one does not answer, once in a while.
func (b *Booker) refuse(ctx context.Context, w http.ResponseWriter, err error) wire.Code {
	var c coded
	if !errors.As(err, &c) {
		c.Code = wire.PassCode(outward(err))
	}
	retryAfter := 0
	switch {
	case c.Code == wire.Internal:
		b.log.Error("request failed", zap.Error(err))
	case wire.Codes[c.Code].HTTP == http.StatusServiceUnavailable:
		b.refused.Note(ctx, err)
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

func (b *Booker) showSeats(v visit) (string, error) {
	body, etag, err := b.maps.of(v.r.Context(), v.pass.Room)
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

func (b *Booker) held(h seat.Hold) *holdAnswer {
	return &holdAnswer{ID: h.ID, Seats: h.Seats, LeftMS: left(h.Until, b.clock.now())}
}

// left is the time until a moment in ms, never below 0.
func left(until, now time.Time) int64 { return max(0, until.Sub(now).Milliseconds()) }

func (b *Booker) showPass(v visit) (string, error) {
	was, err := b.store.Visit(v.r.Context(), v.pass)
	if err != nil {
		return "", err
	}
	a := passAnswer{ExpiresMS: left(v.pass.Expires, b.clock.now()), MaxSeats: b.config.MaxSeats, Spent: was.Spent}
	if was.Hold != nil {
		a.Hold = b.held(*was.Hold)
	}
	if was.Booking != nil {
		a.Booking = &bookingAnswer{ID: was.Booking.Hold, Seats: was.Booking.Seats}
	}
	answer(v.w, http.StatusOK, a)
	return "", nil
}

func (b *Booker) hold(v visit) (string, error) {
	now, err := b.clock.time()
	if err != nil {
		return "", err
	}
	seats, err := b.asked(v)
	if err != nil {
		return "", err
	}
	h, fresh, err := b.store.Hold(v.r.Context(), v.pass, seats, now)
	if err != nil {
		return "", err
	}
	if !fresh {
		answer(v.w, http.StatusOK, b.held(h))
		return "repeated", nil
	}
	answer(v.w, http.StatusCreated, b.held(h))
	return "held", nil
}

// asked reads {"seats":["A-1",…]}. Unknown fields are ignored, as everywhere.
func (b *Booker) asked(v visit) ([]seat.ID, error) {
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
	return seat.Ask(request.Seats, b.config.MaxSeats)
}

func (b *Booker) release(v visit) (string, error) {
	id, err := seat.ParseHoldID(v.r.PathValue("hold"))
	if err != nil {
		return "", err
	}
	if err := b.store.Release(v.r.Context(), v.pass, id, b.clock.now()); err != nil {
		return "", err
	}
	v.w.WriteHeader(http.StatusNoContent)
	return released, nil
}

func (b *Booker) confirm(v visit) (string, error) {
	id, err := seat.ParseHoldID(v.r.PathValue("hold"))
	if err != nil {
		return "", err
	}
	booking, err := b.Confirm(v.r.Context(), v.pass, id)
	if err != nil {
		return "", err
	}
	answer(v.w, http.StatusOK, bookingAnswer{ID: booking.Hold, Seats: booking.Seats})
	return confirmed, nil
}

func (b *Booker) leave(v visit) (string, error) {
	if err := b.store.Leave(v.r.Context(), v.pass, b.clock.now()); err != nil {
		return "", err
	}
	v.w.WriteHeader(http.StatusNoContent)
	return "left", nil
}
