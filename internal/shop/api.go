package shop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/limit"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// Bounds of a request.
const (
	maxBody = 4 << 10
	// bodyLimit is how long a body may take: 4 KB arrive together.
	bodyLimit = 5 * time.Second
	// callLimit is how long a request may take until its answer is written, waiting
	// included: the page gives up after 15 s, and a stop leaves 11.
	callLimit = 10 * time.Second
	// answerLimit is how long an answer may take to be read, mapLimit a map, which has 4 MB
	// for 100,000 seats. Who reads more slowly is cut off.
	answerLimit = 5 * time.Second
	mapLimit    = 30 * time.Second
	// readLeeway lets a visitor read back what a pass came to after it expired:
	// as long as the longest pass lasts.
	readLeeway = room.MaxPass
	// oneClock is up to where the seats' clock and that of passes count as one: they are two
	// machines', which differ by less as a rule, and a pass would end elsewhere at each look.
	oneClock = time.Second
	// refusedQuiet is how far apart two requests that could not be served are two
	// outages: pages come back within seconds.
	refusedQuiet = time.Minute
)

// bareRooms bounds the rooms without seats that are logged.
const bareRooms = 1000

// gone is what is counted instead of a code when the visitor did not wait.
const gone = "gone"

// visit is one request. It is owned by its handler.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	pass   token.Pass     // verified
	leases [2]limit.Lease // of its pass and its address
	whole  bool           // its body was read
	body   []byte
	seats  []seat.ID   // asked for
	hold   seat.HoldID // that is named in the path
	key    booking.Key // under which it is asked
	late   bool        // the pass has ended: it hears what the key came to
}

// act serves one kind of request.
type act struct {
	kind   *budget              // nil: it waits for no turn
	leeway time.Duration        // for which an expired pass is still good
	ask    func(v *visit) error // reads what is asked for, before it waits for its turn; nil: nothing
	do     func(ctx context.Context, v *visit) (reply, error)
	once   bool // it may have a key
	// show answers by itself, in place of do, out of memory that is bounded there; after
	// an error nothing is written. lasts: for as long as its visitor likes, so it is none of
	// the requests that its pass and its address have open; how many there are is bounded
	// there, too.
	show  func(v *visit, r *http.Request) error
	lasts bool
}

// Handler serves the API under {prefix}/rooms/{room}/ and, for every other path,
// the page.
//
// What a request goes through has an order, in which what costs little and keeps
// strangers out comes first: path and method; what its address may try, unless its pass
// is known; the pass; what the pass and the address may ask; the body; what is asked for;
// its turn; the desk. Its place goes back before the answer is written.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, acts := range map[string]map[string]act{
		"/rooms/{room}/plan":  {http.MethodGet: {show: s.showPlan}},
		"/rooms/{room}/seats": {http.MethodGet: {show: s.showSeats}},
		"/rooms/{room}/live":  {http.MethodGet: {show: s.showLive, lasts: true}},
		"/rooms/{room}/pass": {
			http.MethodGet:    {kind: s.reading, do: s.showPass, leeway: readLeeway},
			http.MethodDelete: {kind: s.holding, do: s.leave},
		},
		"/rooms/{room}/holds":                {http.MethodPost: {kind: s.holding, ask: s.asked, do: s.hold, once: true}},
		"/rooms/{room}/holds/{hold}":         {http.MethodDelete: {kind: s.holding, ask: named, do: s.release, once: true}},
		"/rooms/{room}/holds/{hold}/extend":  {http.MethodPost: {kind: s.holding, ask: named, do: s.extend, once: true}},
		"/rooms/{room}/holds/{hold}/confirm": {http.MethodPost: {kind: s.confirming, ask: named, do: s.confirm, once: true, leeway: s.parts.Grace}},
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

// route finds the act of a method. HEAD is GET, whose body net/http leaves out. OPTIONS
// names the methods and nothing else: a browser that asks for another origin's page is
// not let through, since the API is for pages of its own origin.
func (s *Shop) route(acts map[string]act) http.Handler {
	allowed := []string{http.MethodOptions}
	for method := range acts {
		allowed = append(allowed, method)
	}
	if get, ok := acts[http.MethodGet]; ok {
		acts[http.MethodHead] = get
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		v := &visit{w: w, r: r, whole: r.ContentLength == 0}
		act, ok := acts[r.Method]
		switch {
		case ok:
			s.serve(v, act)
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allow)
			v.end()
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", allow)
			s.refuse(v, coded{wire.NotAllowed})
		}
	})
}

// serve lets a request in, does it and answers it.
func (s *Shop) serve(v *visit, act act) {
	ctx, cancel := context.WithTimeout(v.r.Context(), callLimit)
	defer cancel()
	err := s.letIn(ctx, v, act.leeway)
	if act.once && errors.Is(err, token.ErrExpired) && v.r.Header.Get("Idempotency-Key") != "" {
		// What it came to before may still be heard.
		v.late = true
		err = s.letIn(ctx, v, readLeeway)
	}
	if err != nil {
		s.refuse(v, err)
		return
	}
	defer v.leases[0].Release()
	defer v.leases[1].Release()
	if act.lasts {
		v.leases[0].Release()
		v.leases[1].Release()
	}
	began := time.Now()
	reply, err := s.work(ctx, v, act)
	if !act.lasts {
		s.took.Observe(time.Since(began).Seconds())
	}
	if errors.Is(err, seat.ErrNoRoom) {
		s.noteBare(v.pass.Room)
	}
	if err != nil {
		if code := s.refuse(v, err); code != "" {
			s.desk.Did(v.pass.Room, string(code))
		}
		return
	}
	if reply.did != "" {
		s.desk.Did(v.pass.Room, reply.did)
	}
	reply.write(v)
}

// letIn verifies the pass and takes what it and its address may ask for.
func (s *Shop) letIn(ctx context.Context, v *visit, leeway time.Duration) error {
	name, err := room.ParseName(v.r.PathValue("room"))
	if err != nil {
		return err
	}
	scheme, pass, _ := strings.Cut(v.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return coded{wire.NoPass}
	}
	pass = strings.TrimSpace(pass)
	from := s.limits.from(v.r)
	if v.pass, err = s.verify(ctx, pass, name, from, leeway); err != nil {
		return err
	}
	v.leases, err = s.limits.take(v.pass, from)
	return err
}

// verify is known, on the clock by which passes end. The end is told on the seats'
// clock from here on, so that a hold is not longer than its pass, nor a page told so. The
// clocks are read together, before keys may have to be fetched.
func (s *Shop) verify(ctx context.Context, pass string, name room.Name, from netip.Prefix, leeway time.Duration) (token.Pass, error) {
	now, at := s.desk.PassTime(), s.desk.Now()
	p, err := s.known(ctx, pass, name, from, now.Add(-leeway))
	if apart := at.Sub(now); err == nil && apart.Abs() > oneClock {
		p.Expires = p.Expires.Add(apart)
	}
	return p, err
}

// known is TryPass. A pass that is not known is a try of its address, which a good
// signature gives back: one that has expired is not a stranger's.
func (s *Shop) known(ctx context.Context, pass string, name room.Name, from netip.Prefix, now time.Time) (token.Pass, error) {
	tried := false
	p, err := s.parts.Passes.TryPass(ctx, pass, name, now, func() error {
		err := s.limits.try(from)
		tried = err == nil
		return err
	})
	if tried && !errors.Is(err, token.ErrMalformed) && !errors.Is(err, token.ErrForeign) {
		s.limits.verified(from)
	}
	return p, err
}

// work does what a verified visitor asks for.
func (s *Shop) work(ctx context.Context, v *visit, act act) (reply, error) {
	if err := v.read(); err != nil {
		return reply{}, err
	}
	if act.once {
		if err := keyed(v); err != nil {
			return reply{}, err
		}
	}
	if act.ask != nil {
		if err := act.ask(v); err != nil {
			return reply{}, err
		}
	}
	if act.show != nil {
		asked := v.r
		if !act.lasts {
			asked = v.r.WithContext(ctx)
		}
		_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(mapLimit)) // a stream sets its own with each event
		return reply{}, act.show(v, asked)
	}
	if err := act.kind.enter(ctx); err != nil {
		return reply{}, err
	}
	defer act.kind.leave()
	return act.do(ctx, v)
}

// read takes the body in. Every request has to bring its own whole, also where nothing in
// it matters: what is left of it would be read behind the handler, for as long as the
// visitor likes. Behind it the connection has no deadline for reading: one that passed
// would end the request.
func (v *visit) read() error {
	deadline := http.NewResponseController(v.w)
	if !v.whole {
		_ = deadline.SetReadDeadline(time.Now().Add(bodyLimit)) // a recorder of a test has none
		body, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, maxBody))
		var long *http.MaxBytesError
		switch {
		case errors.As(err, &long):
			return coded{wire.TooLong}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return coded{wire.TooSlow}
		case err != nil:
			return coded{wire.BadRequest}
		}
		v.body, v.whole = body, true
	}
	_ = deadline.SetReadDeadline(time.Time{})
	return nil
}

// end closes the connection behind an answer whose request is not whole: what is left of
// it is not waited for.
func (v *visit) end() {
	if !v.whole {
		v.w.Header().Set("Connection", "close")
		_ = http.NewResponseController(v.w).SetReadDeadline(time.Now())
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
