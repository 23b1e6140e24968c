package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// testShop is an edge over a desk of the test's own.
type testShop struct {
	*Shop
	t     testing.TB
	below *bookingtest.Shop
	clock *bookingtest.Clock
	reg   *prometheus.Registry
}

// newShop is a shop with the flags' defaults, apart from those of args, whose room "gig"
// has count seats. The passes are not signed: their text is the admission.
func newShop(t *testing.T, dsn string, count int, change func(*Parts), args ...string) *testShop {
	t.Helper()
	reg := prometheus.NewRegistry()
	below := bookingtest.New(t, dsn, count, func(p *booking.Parts) { p.Metrics = reg })
	parts := Parts{Desk: below.Booker, Passes: bookingtest.Unsigned{}, Maps: runMaps(t, below), Grace: bookingtest.Config.Grace, Log: zap.NewNop(), Metrics: reg}
	if change != nil {
		change(&parts)
	}
	var config Config
	testenv.Defaults(t, &config, args...)
	return &testShop{Shop: New(config, parts), t: t, below: below, clock: below.Clock, reg: reg}
}

// runMaps shows the seats of a shop until the test ends.
func runMaps(t *testing.T, below *bookingtest.Shop) *seatmap.Maps {
	t.Helper()
	maps := seatmap.New(seatmap.Config{MaxStreams: 10}, seatmap.Parts{DB: below.DB, Load: below.Store.Seats,
		Now: func() (time.Time, bool) { return below.Clock.Now(), true }, Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); maps.Run(ctx) }() // ends with the test, before its database
	t.Cleanup(func() { end(); <-done })
	return maps
}

// skewed is a desk whose clock can't be trusted.
type skewed struct{ Desk }

func (s skewed) Once(key booking.Key) booking.Acts { return skewedActs{s.Desk.Once(key)} }

type skewedActs struct{ booking.Acts }

func (skewedActs) Hold(context.Context, token.Pass, []seat.ID) (seat.Hold, bool, error) {
	return seat.Hold{}, false, seat.ErrSkew
}

func (skewedActs) Confirm(context.Context, token.Pass, seat.HoldID) (booking.Booking, error) {
	return booking.Booking{}, seat.ErrSkew
}

// client speaks to a booker's handler as a page does.
type client struct {
	t *testing.T
	h http.Handler
}

func (c client) do(method, path, auth, body string, headers ...string) *httptest.ResponseRecorder {
	c.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return w
}

func bearer(p token.Pass) string { return "Bearer " + p.Admission.String() }

// want fails unless the answer is a success of that status, and decodes it.
func want[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (body T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("got %d %s, want %d", w.Code, w.Body, status)
	}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("got %s: %v", w.Body, err)
		}
	}
	return body
}

func wantProblem(t *testing.T, what string, w *httptest.ResponseRecorder, code wire.Code) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%s: got %d %s, want a problem", what, w.Code, w.Body)
	}
	if p.Code != code || w.Code != wire.Codes[code].HTTP || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: got %d %+v, want %s", what, w.Code, p, code)
	}
	return p
}

// One visit as the page makes it, and a reload after each step.
func TestVisit(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := newShop(t, dsn, 3, nil)
		c := client{t, b.Handler()}
		p := bookingtest.Pass()
		auth := bearer(p)
		state := func() passAnswer { return want[passAnswer](t, c.do("GET", "/rooms/gig/pass", auth, ""), 200) }

		if got := state(); got.ExpiresMS != 600_000 || got.MaxSeats != 6 || got.Spent || got.Hold != nil || got.Booking != nil {
			t.Errorf("at first: got %+v, want nothing but the time left", got)
		}
		h := want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-2","A-1"],"later":1}`), 201)
		if h.LeftMS != bookingtest.Config.Hold.Milliseconds() || !slices.Equal(h.Seats, bookingtest.IDs("A-1 A-2")) {
			t.Errorf("hold: got %+v, want A-1 and A-2 for %v", h, bookingtest.Config.Hold)
		}
		again := want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-1","A-2"]}`), 200)
		if again.ID != h.ID {
			t.Errorf("again: got hold %s, want %s", again.ID, h.ID)
		}
		if got := state(); got.Hold == nil || got.Hold.ID != h.ID || got.Spent {
			t.Errorf("holding: got %+v, want hold %s", got, h.ID)
		}
		other := bookingtest.Pass()
		problem := wantProblem(t, "taken", c.do("POST", "/rooms/gig/holds", bearer(other), `{"seats":["A-2","A-3"]}`), wire.SeatTaken)
		if !slices.Equal(problem.Seats, bookingtest.IDs("A-2")) {
			t.Errorf("taken: got %v, want A-2 named", problem.Seats)
		}
		want[any](t, c.do("DELETE", "/rooms/gig/holds/"+string(h.ID), auth, ""), 204)
		if got := state(); got.Hold != nil || got.Spent {
			t.Errorf("released: got %+v, want no hold", got)
		}
		h = want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-3"]}`), 201)
		booked := want[bookingAnswer](t, c.do("POST", "/rooms/gig/holds/"+string(h.ID)+"/confirm", auth, ""), 200)
		if booked.ID != h.ID || !slices.Equal(booked.Seats, bookingtest.IDs("A-3")) {
			t.Errorf("confirm: got %+v, want A-3", booked)
		}
		want[bookingAnswer](t, c.do("POST", "/rooms/gig/holds/"+string(h.ID)+"/confirm", auth, ""), 200)
		b.clock.Set(p.Expires.Add(time.Hour)) // read back later
		if got := state(); !got.Spent || got.Booking == nil || !slices.Equal(got.Booking.Seats, bookingtest.IDs("A-3")) || got.ExpiresMS != 0 {
			t.Errorf("booked: got %+v, want the booking", got)
		}
		b.clock.Set(bookingtest.Noon)
		wantProblem(t, "spent", c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-1"]}`), wire.PassSpent)
		for range 2 {
			want[any](t, c.do("DELETE", "/rooms/gig/pass", bearer(other), ""), 204)
		}
		wantProblem(t, "left", c.do("POST", "/rooms/gig/holds", bearer(other), `{"seats":["A-1"]}`), wire.PassSpent)
	})
}

// Visitors with a pass for a room without seats: each is told, the operator once.
func TestRoomWithoutSeats(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	b := newShop(t, bookingtest.SQLite(t), 0, func(p *Parts) { p.Log = zap.New(core) })
	c := client{t, b.Handler()}
	for range 3 {
		p := bookingtest.Pass()
		wantProblem(t, "seats", c.do("GET", "/rooms/gig/seats", bearer(p), ""), wire.NoSeats)
		wantProblem(t, "hold", c.do("POST", "/rooms/gig/holds", bearer(p), `{"seats":["A-1"]}`), wire.NoSeats)
		if got := want[passAnswer](t, c.do("GET", "/rooms/gig/pass", bearer(p), ""), 200); got.Spent {
			t.Errorf("got a spent pass: %+v", got)
		}
	}
	said := logged.FilterField(zap.String("room", "gig")).FilterMessageSnippet("booker seats --new").Len()
	if said != 1 || logged.Len() != 1 {
		t.Errorf("got %d lines that name the room and the command, of %d, want 1", said, logged.Len())
	}
	// The shop may be somewhere else, and this booker there to hear who has left.
	want[any](t, c.do("DELETE", "/rooms/gig/pass", bearer(bookingtest.Pass()), ""), 204)
	b.below.AddSeats(t, 2)
	if w := c.do("GET", "/rooms/gig/seats", bearer(bookingtest.Pass()), ""); w.Code != 200 {
		t.Errorf("seats were added: got %d %s, want them", w.Code, w.Body)
	}
}

// What the map answers is seatmap's; here, that a pass opens it.
func TestSeatMap(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 12, nil)
	c := client{t, b.Handler()}
	p := bookingtest.Pass()
	got := want[struct{ Seats []seat.Seat }](t, c.do("GET", "/rooms/gig/seats", bearer(p), ""), 200)
	if len(got.Seats) != 12 || got.Seats[9].ID != "A-10" || got.Seats[11] != (seat.Seat{ID: "B-2", State: seat.Free}) {
		t.Errorf("got %v, want 12 seats in order", got.Seats)
	}
	short := want[struct{ Plan, Seats string }](t, c.do("GET", "/rooms/gig/seats?plan", bearer(p), ""), 200)
	plan := want[struct{ Version string }](t, c.do("GET", "/rooms/gig/plan", bearer(p), ""), 200)
	if short.Seats != "ffffffffffff" || short.Plan == "" || short.Plan != plan.Version {
		t.Errorf("got %+v of plan %s, want twelve free seats of that plan", short, plan.Version)
	}
}

// A live map is no call: it lasts, and takes nobody's place. It ends with its pass.
func TestLiveMap(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 2, nil)
	server := httptest.NewServer(b.Handler())
	defer server.Close()
	p := bookingtest.Pass()
	b.clock.Set(p.Expires.Add(-3 * time.Second))
	ask := func(path string) *http.Response {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
		r.Header.Set("Authorization", bearer(p))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	live := ask("/rooms/gig/live")
	defer live.Body.Close()
	if live.StatusCode != 200 || live.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d %s, want a stream", live.StatusCode, live.Header)
	}
	call := ask("/rooms/gig/pass")
	if call.Body.Close(); call.StatusCode != 200 {
		t.Errorf("a call beside it: got %d, want 200", call.StatusCode)
	}
	all, err := io.ReadAll(live.Body)
	if err != nil || !strings.HasSuffix(string(all), "event: bye\ndata: {\"reason\":\"pass\"}\n\n") {
		t.Errorf("got %q, %v, want it to end with the pass", all, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// A hold is extended once, and not beyond its pass; each answer says by how much it still
// may be.
func TestExtend(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := newShop(t, dsn, 3, nil)
		c := client{t, b.Handler()}
		p := bookingtest.Pass()
		auth := bearer(p)
		hold, more := bookingtest.Config.Hold.Milliseconds(), bookingtest.Config.Extend.Milliseconds()
		h := want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", auth, `{"seats":["A-1"]}`), 201)
		if h.LeftMS != hold || h.ExtendMS != more {
			t.Errorf("got %+v, want %d ms and %d more", h, hold, more)
		}
		path := "/rooms/gig/holds/" + string(h.ID) + "/extend"
		if got := want[holdAnswer](t, c.do("POST", path, auth, ""), 200); got.ID != h.ID || got.LeftMS != hold+more || got.ExtendMS != 0 {
			t.Errorf("extended: got %+v, want %d ms and no more", got, hold+more)
		}
		wantProblem(t, "again", c.do("POST", path, auth, ""), wire.HoldExtended)
		if got := want[passAnswer](t, c.do("GET", "/rooms/gig/pass", auth, ""), 200); got.Hold == nil || got.Hold.LeftMS != hold+more || got.Hold.ExtendMS != 0 {
			t.Errorf("after a reload: got %+v, want the hold extended", got.Hold)
		}
		wantProblem(t, "somebody else's", c.do("POST", path, bearer(bookingtest.Pass()), ""), wire.HoldUnknown)

		late := bookingtest.Pass()
		b.clock.Set(late.Expires.Add(-bookingtest.Config.Hold - time.Minute))
		h = want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", bearer(late), `{"seats":["A-2"]}`), 201)
		if h.ExtendMS != time.Minute.Milliseconds() {
			t.Errorf("a minute before the end of its pass: got %d ms to extend, want 60000", h.ExtendMS)
		}
		got := want[holdAnswer](t, c.do("POST", "/rooms/gig/holds/"+string(h.ID)+"/extend", bearer(late), ""), 200)
		if got.LeftMS != h.LeftMS+h.ExtendMS {
			t.Errorf("got %d ms, want what was said: %d", got.LeftMS, h.LeftMS+h.ExtendMS)
		}
		booked := want[bookingAnswer](t, c.do("POST", "/rooms/gig/holds/"+string(h.ID)+"/confirm", bearer(late), ""), 200)
		if again := want[passAnswer](t, c.do("GET", "/rooms/gig/pass", bearer(late), ""), 200); again.Booking == nil || again.Booking.Reference != booked.Reference {
			t.Errorf("got %+v, want the booking found by its pass with reference %s", again.Booking, booked.Reference)
		}
		if _, err := seat.ParseReference(booked.Reference); err != nil {
			t.Errorf("got reference %q: %v", booked.Reference, err)
		}
	})
}

func TestBadRequests(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 8, nil)
	c := client{t, b.Handler()}
	p := bookingtest.Pass()
	stranger := bookingtest.Pass()
	stranger.Room = "other"
	unseated := stranger
	hold := func(body string) *httptest.ResponseRecorder { return c.do("POST", "/rooms/gig/holds", bearer(p), body) }
	id := string(seat.NewHoldID())
	for _, k := range []struct {
		what string
		w    *httptest.ResponseRecorder
		code wire.Code
	}{
		{"no pass", c.do("GET", "/rooms/gig/seats", "", ""), wire.NoPass},
		{"another scheme", c.do("GET", "/rooms/gig/seats", "Basic eA==", ""), wire.NoPass},
		{"bare scheme", c.do("GET", "/rooms/gig/seats", "Bearer", ""), wire.PassBad},
		{"malformed pass", c.do("DELETE", "/rooms/gig/pass", "Bearer x", ""), wire.PassBad},
		{"pass of another room", c.do("GET", "/rooms/gig/seats", bearer(stranger), ""), wire.PassRoom},
		{"ill-named room", c.do("GET", "/rooms/GIG/seats", bearer(p), ""), wire.BadRoom},
		{"room without seats", c.do("GET", "/rooms/other/seats", bearer(unseated), ""), wire.NoSeats},
		{"hold in a room without seats", c.do("POST", "/rooms/other/holds", bearer(unseated), `{"seats":["A-1"]}`), wire.NoSeats},
		{"method", c.do("PUT", "/rooms/gig/holds", bearer(p), ""), wire.NotAllowed},
		{"path", c.do("GET", "/rooms/gig/nothing", bearer(p), ""), wire.NotFound},
		{"no body", hold(""), wire.BadRequest},
		{"no JSON", hold("seats"), wire.BadRequest},
		{"two bodies", hold(`{"seats":["A-1"]}{}`), wire.BadRequest},
		{"seats are a string", hold(`{"seats":"A-1"}`), wire.BadRequest},
		{"long body", hold(`{"seats":["A-1"],"x":"` + strings.Repeat("x", maxBody) + `"}`), wire.TooLong},
		{"no seats", hold(`{"seats":[]}`), wire.SeatsNone},
		{"null seats", hold(`{}`), wire.SeatsNone},
		{"twice", hold(`{"seats":["A-1","A-1"]}`), wire.SeatsTwice},
		{"too many", hold(`{"seats":["A-1","A-2","A-3","A-4","A-5","A-6","A-7"]}`), wire.SeatsTooMany},
		{"malformed seat", hold(`{"seats":["a1"]}`), wire.SeatBad},
		{"unknown seat", hold(`{"seats":["Z-1"]}`), wire.SeatUnknown},
		{"malformed hold", c.do("DELETE", "/rooms/gig/holds/x", bearer(p), ""), wire.HoldUnknown},
		{"release an unknown hold", c.do("DELETE", "/rooms/gig/holds/"+id, bearer(p), ""), wire.HoldUnknown},
		{"confirm an unknown hold", c.do("POST", "/rooms/gig/holds/"+id+"/confirm", bearer(p), ""), wire.HoldUnknown},
	} {
		wantProblem(t, k.what, k.w, k.code)
		if (k.w.Code == http.StatusUnauthorized) != (k.w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: got WWW-Authenticate %q with %d", k.what, k.w.Header().Get("WWW-Authenticate"), k.w.Code)
		}
	}
	if got := b.below.Seats(t); got != "" {
		t.Errorf("got %s, want every seat free", got)
	}
	if got := c.do("PUT", "/rooms/gig/pass", "", "").Header().Get("Allow"); got != "DELETE, GET, HEAD, OPTIONS" {
		t.Errorf("got Allow %q, want DELETE, GET, HEAD, OPTIONS", got)
	}

	// An expired pass still confirms within the grace, reads for a day, and no more.
	b.clock.Set(p.Expires.Add(-time.Minute))
	h := b.below.MustHold(t, p, "A-1")
	for _, k := range []struct {
		after        time.Duration
		method, path string
		code         wire.Code
	}{
		{0, "GET", "/rooms/gig/seats", wire.PassExpired},
		{0, "DELETE", "/rooms/gig/pass", wire.PassExpired},
		{0, "POST", "/rooms/gig/holds", wire.PassExpired},
		{bookingtest.Config.Grace, "POST", "/rooms/gig/holds/" + string(h.ID) + "/confirm", wire.PassExpired},
		{bookingtest.Config.Grace - time.Millisecond, "POST", "/rooms/gig/holds/" + string(h.ID) + "/confirm", ""},
		{readLeeway - time.Millisecond, "GET", "/rooms/gig/pass", ""},
		{readLeeway, "GET", "/rooms/gig/pass", wire.PassExpired},
	} {
		b.clock.Set(p.Expires.Add(k.after))
		what := fmt.Sprintf("%s %s %v after the expiry", k.method, k.path, k.after)
		if w := c.do(k.method, k.path, bearer(p), ""); k.code != "" {
			wantProblem(t, what, w, k.code)
		} else if w.Code != 200 {
			t.Errorf("%s: got %d %s, want 200", what, w.Code, w.Body)
		}
	}
}

// Errors of the servers behind are told with a stable code and a time to come
// back, and nothing of them is shown.
func TestServersAway(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 1, nil)
	c := client{t, b.Handler()}
	p := bookingtest.Pass()
	b.desk = skewed{b.desk}
	wantProblem(t, "hold, wrong clock", c.do("POST", "/rooms/gig/holds", bearer(p), `{"seats":["A-1"]}`), wire.ClockSkew)
	wantProblem(t, "confirm, wrong clock", c.do("POST", "/rooms/gig/holds/"+string(seat.NewHoldID())+"/confirm", bearer(p), ""), wire.ClockSkew)
	b.desk = b.below.Booker

	leave := b.fill(t, b.reading)
	w := c.do("GET", "/rooms/gig/pass", bearer(p), "")
	wantProblem(t, "full", w, wire.Overloaded)
	wantRetry(t, "full", w)
	leave()
	b.parts.Passes = keysAway{}
	wantProblem(t, "no keys", c.do("GET", "/rooms/gig/seats", bearer(p), ""), wire.Unavailable)
	b.parts.Passes = bookingtest.Unsigned{}
	b.below.DB.Close()
	for _, w := range []*httptest.ResponseRecorder{
		c.do("GET", "/rooms/gig/seats", bearer(p), ""),
		c.do("GET", "/rooms/gig/pass", bearer(p), ""),
		c.do("POST", "/rooms/gig/holds", bearer(p), `{"seats":["A-1"]}`),
		c.do("DELETE", "/rooms/gig/pass", bearer(p), ""),
	} {
		got := wantProblem(t, "database closed", w, wire.Internal)
		if strings.Contains(w.Body.String(), "sql") {
			t.Errorf("got %+v, want nothing of the database", got)
		}
	}
}

// A database that is away, or did not say what became of a commit, is a reason to
// come back, not a fault.
func TestDatabaseAwayIsUnavailable(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 1, nil)
	for _, err := range []error{sqldb.ErrAway, sqldb.ErrUnsure, context.DeadlineExceeded, fmt.Errorf("hold: %w", sqldb.ErrAway)} {
		w := httptest.NewRecorder()
		if got := b.refuse(&visit{w: w, r: httptest.NewRequest("GET", "/", nil)}, err); got != wire.Unavailable || w.Code != 503 {
			t.Errorf("%v: got %s, %d, want unavailable", err, got, w.Code)
		}
		wantRetry(t, err.Error(), w)
	}
}

// fill takes every place of a budget, until leave, and has nobody wait for long.
func (b *testShop) fill(t *testing.T, of *budget) (leave func()) {
	t.Helper()
	of.patience = 10 * time.Millisecond
	n := 0
	for of.places.TryAcquire(1) {
		n++
	}
	return func() { of.places.Release(int64(n)) }
}

// wantRetry fails unless an answer says when to come back, some seconds from now.
func wantRetry(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 || after > 1+spread {
		t.Errorf("%s: got Retry-After %q, want 1 to %d", what, w.Header().Get("Retry-After"), 1+spread)
	}
}

type keysAway struct{ bookingtest.Unsigned }

func (keysAway) TryPass(context.Context, string, room.Name, time.Time, func() error) (token.Pass, error) {
	return token.Pass{}, token.ErrKeysAway
}

// The prefix is in front of every path, and every other path is the page's.
func TestPrefix(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 1, func(p *Parts) {
		p.Prefix = "/tickets"
		p.Page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page "+r.URL.Path) })
	})
	c := client{t, b.Handler()}
	p := bookingtest.Pass()
	want[any](t, c.do("GET", "/tickets/rooms/gig/seats", bearer(p), ""), 200)
	for _, path := range []string{"/rooms/gig/seats", "/tickets/rooms/gig/shop", "/"} {
		if w := c.do("GET", path, bearer(p), ""); w.Body.String() != "page "+path {
			t.Errorf("GET %s: got %s, want the page", path, w.Body)
		}
	}
}

// A room becomes a label only when a pass names it, and so does what was done.
func TestMetricLabels(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 1, nil)
	c := client{t, b.Handler()}
	c.do("GET", "/rooms/invented/seats", "Bearer x", "")
	p := bookingtest.Pass()
	c.do("POST", "/rooms/gig/holds", bearer(p), `{"seats":["A-1"]}`)
	c.do("POST", "/rooms/gig/holds", bearer(bookingtest.Pass()), `{"seats":["A-1"]}`)
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() != "waitroom_booker_acts_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			got = append(got, m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue())
		}
	}
	slices.Sort(got)
	if want := []string{"gig held", "gig seat_taken"}; !slices.Equal(got, want) {
		t.Errorf("got series %q, want %q", got, want)
	}
}

// A request that meets a server out of reach, or a booker with as many as it
// serves, is told in the log: once, not once per visitor, and not in the answers
// alone.
func TestRefusedRequestsAreTold(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	b := newShop(t, bookingtest.SQLite(t), 1, func(p *Parts) { p.Log = zap.New(core) })
	c := client{t, b.Handler()}
	get := func(code wire.Code, cause string) {
		t.Helper()
		for range 3 {
			wantProblem(t, cause, c.do("GET", "/rooms/gig/pass", bearer(bookingtest.Pass()), ""), code)
		}
		all := logs.TakeAll()
		if len(all) != 1 || all[0].Level != zap.WarnLevel || !strings.Contains(all[0].ContextMap()["error"].(string), cause) {
			t.Errorf("%s: got %v logged, want one warning with the cause", code, all)
		}
	}
	b.parts.Passes = keysAway{}
	get(wire.Unavailable, "public keys are out of reach")
	b.parts.Passes = bookingtest.Unsigned{}
	leave := b.fill(t, b.reading)
	get(wire.Overloaded, "--patience")
	b.reading.most = 0
	get(wire.Overloaded, "--max-calls")
	leave()
}

func TestConfigCheck(t *testing.T) {
	if err := (Config{MaxSeats: 6, MaxCalls: 64, TrustedProxy: []string{"10.0.0.0/8"}}).Check(); err != nil {
		t.Errorf("got %v, want the tests' flags accepted", err)
	}
	err := Config{MaxSeats: 51, Patience: callLimit, TrustedProxy: []string{"10.0.0.1"}, LimitOpen: -1, LimitRequests: 1}.Check()
	for _, flag := range []string{"--max-seats", "--max-calls", "--patience", "--trusted-proxy", "--limit-open", "--limit-requests-burst"} {
		if err == nil || !strings.Contains(err.Error(), flag+" ") {
			t.Errorf("got %v, want %s refused", err, flag)
		}
	}
}
