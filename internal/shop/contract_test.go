package shop

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"waitroom/api/apitest"
	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/seat"
	"waitroom/internal/token"
	"waitroom/internal/venue"
	"waitroom/internal/wire"
)

// contract is api/openapi.yaml, to which every answer that a test of this package provokes
// is held. Set once.
var contract = func() *apitest.Shop {
	c, err := apitest.NewShop()
	if err != nil {
		panic(err) // its file is embedded
	}
	return c
}()

// TestMain fails a run of all tests that left something of the contract unmet: what is
// promised and never answered is promised by nobody.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if code == 0 && whole() {
			for _, what := range contract.Unmet() {
				fmt.Println("FAIL: api/openapi.yaml has it, and no test of this package met it:", what)
				code = 1
			}
		}
		os.Exit(code)
	}))
}

// whole reports a run of every test.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

// Handler is the shop's, held to the contract.
func (s *testShop) Handler() http.Handler {
	return contract.Hold(s.t, s.parts.Prefix, s.Shop.Handler())
}

// edge is a shop over a desk of the test's own.
type edge struct {
	*Shop
	t testing.TB
}

// Handler is the shop's, held to the contract.
func (e *edge) Handler() http.Handler { return contract.Hold(e.t, e.parts.Prefix, e.Shop.Handler()) }

// Every operation refuses what all of them refuse: what is wrong with the request, with the
// pass, with how often it is asked, and with the servers behind.
func TestEveryOperationRefuses(t *testing.T) {
	const hold = "/holds/AAAAAAAAAAAAAAAA"
	for _, operation := range []string{"GET /seats", "GET /plan", "GET /live", "GET /pass", "DELETE /pass",
		"POST /holds", "DELETE " + hold, "POST " + hold + "/extend", "POST " + hold + "/confirm"} {
		method, path, _ := strings.Cut(operation, " ")
		for _, c := range []struct {
			code   wire.Code
			room   string // "": gig
			auth   string // "": a pass
			passes error
			body   io.Reader
		}{
			{code: wire.BadRoom, room: "GIG"},
			{code: wire.NoPass, auth: "Basic eA=="},
			{code: wire.PassBad, passes: token.ErrMalformed},
			{code: wire.PassForeign, passes: token.ErrForeign},
			{code: wire.PassExpired, passes: token.ErrExpired},
			{code: wire.PassRoom, passes: token.ErrOtherRoom},
			{code: wire.PassLimit, passes: &limited{wire.PassLimit, time.Second, ""}},
			{code: wire.AddressLimit, passes: &limited{wire.AddressLimit, time.Second, ""}},
			{code: wire.Internal, passes: errors.New("anything else")},
			{code: wire.Unavailable, passes: token.ErrKeysAway},
			{code: wire.BadRequest, body: iotest.ErrReader(io.ErrUnexpectedEOF)},
			{code: wire.TooSlow, body: iotest.ErrReader(os.ErrDeadlineExceeded)},
			{code: wire.TooLong, body: strings.NewReader(strings.Repeat("x", maxBody+1))},
		} {
			s, _ := newEdge(t, &fakeDesk{}, Config{Patience: time.Second}, func(p *Parts) { p.Passes = wrong{err: c.passes} })
			r := httptest.NewRequest(method, "/rooms/"+cmp.Or(c.room, "gig")+path, c.body)
			r.Header.Set("Authorization", cmp.Or(c.auth, bearer(bookingtest.Pass())))
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			wantProblem(t, operation, w, c.code)
		}
	}
}

// What a desk refuses of a hold that has ended meanwhile.
func TestEndedHoldsAreRefused(t *testing.T) {
	c := client{t, nil}
	s, _ := newEdge(t, &fakeDesk{
		hold: func(context.Context, token.Pass, []seat.ID) (seat.Hold, bool, error) {
			return seat.Hold{}, false, seat.ErrHoldEnded
		},
		extend: func(context.Context, token.Pass, seat.HoldID) (seat.Hold, error) {
			return seat.Hold{}, seat.ErrHoldEnded
		},
		end: func(context.Context, token.Pass) error { return seat.ErrHoldEnded },
	}, Config{Patience: time.Second}, nil)
	c.h = s.Handler()
	const hold = "/rooms/gig/holds/AAAAAAAAAAAAAAAA"
	wantProblem(t, "hold", c.do("POST", "/rooms/gig/holds", bearer(bookingtest.Pass()), `{"seats":["A-1"]}`), wire.HoldEnded)
	wantProblem(t, "extend", c.do("POST", hold+"/extend", bearer(bookingtest.Pass()), ""), wire.HoldEnded)
	wantProblem(t, "release", c.do("DELETE", hold, bearer(bookingtest.Pass()), ""), wire.HoldEnded)
}

// What a page asks with a map that it has: a 304 where nothing changed, and a stream that
// goes on behind what was seen.
func TestMapsThatAreKnown(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 12, nil)
	c := client{t, b.Handler()}
	auth := bearer(bookingtest.Pass())
	for _, path := range []string{"/rooms/gig/seats", "/rooms/gig/seats?plan", "/rooms/gig/plan"} {
		w := c.do("GET", path, auth, "")
		if again := c.do("GET", path, auth, "", "If-None-Match", w.Header().Get("ETag")); w.Code != 200 || again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("GET %s: got %d, then %d %q, want 200 and 304", path, w.Code, again.Code, again.Body)
		}
	}
	short := want[struct{ Version, Plan string }](t, c.do("GET", "/rooms/gig/seats?plan", auth, ""), 200)
	if got := want[struct{ Version string }](t, c.do("GET", "/rooms/gig/seats?plan&since="+short.Version, auth, ""), 200); got.Version != short.Version {
		t.Errorf("got version %s, want %s", got.Version, short.Version)
	}
	w := c.do("GET", "/rooms/gig/plan?v="+short.Plan, auth, "")
	if want[any](t, w, 200); !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("a plan under its version: got Cache-Control %q, want it kept for good", w.Header().Get("Cache-Control"))
	}
	p := bookingtest.Pass()
	b.clock.Set(p.Expires.Add(-time.Second)) // so that the streams end
	for _, w := range []*httptest.ResponseRecorder{
		c.do("GET", "/rooms/gig/live?since="+short.Version, bearer(p), ""),
		c.do("GET", "/rooms/gig/live", bearer(p), "", "Last-Event-ID", short.Version),
	} {
		if got := w.Body.String(); w.Code != 200 || strings.Contains(got, "event: seats") || !strings.HasSuffix(got, "{\"reason\":\"pass\"}\n\n") {
			t.Errorf("got %d %q, want a stream that tells nothing anew and ends", w.Code, got)
		}
	}
}

// A room with prices and general admission says so in its plan.
func TestPlanOfASale(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 0, nil)
	plan, err := venue.ReadJSON(strings.NewReader(`{"currency":"EUR","categories":[{"category":"A","amount":4500},{"category":"standing","amount":0}],
		"sections":[{"section":"N","rows":[{"row":"A","seats":"1-2","category":"A"},{"row":"B","seats":"1","category":"standing"}]},{"section":"GA","count":2,"category":"standing"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.below.Store.Import(t.Context(), "gig", plan, booking.ImportHow{}); err != nil {
		t.Fatal(err)
	}
	w := client{t, b.Handler()}.do("GET", "/rooms/gig/plan", bearer(bookingtest.Pass()), "")
	for _, part := range []string{`"prices":[{"category":`, `"currency":"EUR"`, `"prices":[[`, `"unnumbered":true`} {
		if w.Code != 200 || !strings.Contains(w.Body.String(), part) {
			t.Errorf("got %d %s, want a plan with %s", w.Code, w.Body, part)
		}
	}
}

// Every act that may have an idempotency key refuses what comes of one.
func TestEveryActRefusesKeys(t *testing.T) {
	const hold = "/holds/AAAAAAAAAAAAAAAA"
	for _, operation := range []string{"POST /holds", "DELETE " + hold, "POST " + hold + "/extend", "POST " + hold + "/confirm"} {
		method, path, _ := strings.Cut(operation, " ")
		for _, code := range []wire.Code{wire.KeyBad, wire.KeyReused, wire.KeyBusy, wire.KeysTooMany} {
			s, _ := newEdge(t, &fakeDesk{}, Config{Patience: time.Second}, func(p *Parts) { p.Passes = wrong{err: coded{code}} })
			w := client{t, s.Handler()}.do(method, "/rooms/gig"+path, bearer(bookingtest.Pass()), "", "Idempotency-Key", "k1")
			wantProblem(t, operation, w, code)
		}
	}
}
