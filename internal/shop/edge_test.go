package shop

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// counted reads a counter of one cause.
func counted(t *testing.T, reg *prometheus.Registry, name, cause string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == cause {
				n = m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// A pass has four requests at once and twenty in a moment, then ten a second; another
// pass feels nothing of it.
func TestLimitsPerPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside atomic.Int64
		goOn := make(chan struct{})
		desk := &fakeDesk{visit: func(ctx context.Context, _ token.Pass) (booking.Visit, error) {
			inside.Add(1)
			defer inside.Add(-1)
			<-goOn
			return booking.Visit{}, nil
		}}
		s, reg := newEdge(t, desk, Config{Patience: time.Second}, nil)
		c := client{t, s.Handler()}
		greedy, honest := bearer(bookingtest.Pass()), bearer(bookingtest.Pass())
		var waiting sync.WaitGroup
		for range passOpen {
			waiting.Go(func() {
				if w := c.do("GET", "/rooms/gig/pass", greedy, ""); w.Code != 200 {
					t.Errorf("one of the four: got %d %s, want 200", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		for range 60 {
			w := c.do("POST", "/rooms/gig/holds", greedy, `{"seats":["A-1"]}`)
			wantProblem(t, "beyond four at once", w, wire.PassLimit)
			wantRetry(t, "beyond four at once", w)
		}
		waiting.Go(func() {
			if w := c.do("GET", "/rooms/gig/pass", honest, ""); w.Code != 200 {
				t.Errorf("another pass: got %d %s, want 200", w.Code, w.Body)
			}
		})
		synctest.Wait()
		if got := inside.Load(); got != passOpen+1 {
			t.Errorf("got %d requests inside, want four of one pass and one of the other", got)
		}
		close(goOn)
		waiting.Wait()
		for n := passOpen; ; n++ {
			if w := c.do("GET", "/rooms/gig/pass", greedy, ""); w.Code != 200 {
				wantProblem(t, "beyond the burst", w, wire.PassLimit)
				if n != passBurst {
					t.Errorf("got %d requests served in a moment, want %d", n, passBurst)
				}
				break
			}
		}
		time.Sleep(time.Second) // synctest's time
		served := 0
		for c.do("GET", "/rooms/gig/pass", greedy, "").Code == 200 {
			served++
		}
		if served != passRate {
			t.Errorf("got %d requests served a second later, want %d", served, passRate)
		}
		if got := counted(t, reg, "waitroom_booker_refused_total", "pass_limit"); got != 62 {
			t.Errorf("got %v refusals counted, want 62", got)
		}
	})
}

// from sends one request as an address.
func from(h http.Handler, address, forwarded, auth string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/rooms/gig/pass", nil)
	r.RemoteAddr = address + ":4711"
	r.Header.Set("Authorization", auth)
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", forwarded)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// An address has its rate, whatever passes it shows; private ones and others don't.
// Behind a proxy that is trusted the visitor's own address counts.
func TestLimitsPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk := &fakeDesk{visit: func(context.Context, token.Pass) (booking.Visit, error) { return booking.Visit{}, nil }}
		s, reg := newEdge(t, desk, Config{LimitRequests: 1, RequestsBurst: 3, TrustedProxy: []string{"10.0.0.0/8"}}, nil)
		h := s.Handler()
		ask := func(address, forwarded string) *httptest.ResponseRecorder {
			return from(h, address, forwarded, bearer(bookingtest.Pass()))
		}
		for range 3 {
			if w := ask("203.0.113.7", ""); w.Code != 200 {
				t.Fatalf("within the burst: got %d %s, want 200", w.Code, w.Body)
			}
		}
		w := ask("203.0.113.7", "198.51.100.1") // nobody trusts it
		wantProblem(t, "beyond the burst", w, wire.AddressLimit)
		wantRetry(t, "beyond the burst", w)
		for what, w := range map[string]*httptest.ResponseRecorder{
			"another address": ask("203.0.113.8", ""), "a private one": ask("192.168.1.1", ""), "behind a proxy": ask("10.1.1.1", "203.0.113.9"),
		} {
			if w.Code != 200 {
				t.Errorf("%s: got %d %s, want 200", what, w.Code, w.Body)
			}
		}
		wantProblem(t, "the same behind a proxy", ask("10.1.1.1", "203.0.113.7"), wire.AddressLimit)
		for range 10 {
			if w := ask("192.168.1.1", ""); w.Code != 200 {
				t.Fatalf("a private one: got %d %s, want 200", w.Code, w.Body)
			}
		}
		time.Sleep(3 * time.Second) // synctest's time
		if w := ask("203.0.113.7", ""); w.Code != 200 {
			t.Errorf("later: got %d %s, want 200", w.Code, w.Body)
		}
		if got := counted(t, reg, "waitroom_booker_refused_total", "address_limit"); got != 2 {
			t.Errorf("got %v refusals counted, want 2", got)
		}
	})
}

// remembers has passes that are known and others.
type remembers struct {
	bookingtest.Unsigned
	known string
}

func (r remembers) TryPass(ctx context.Context, pass string, want room.Name, now time.Time, try func() error) (token.Pass, error) {
	if pass == r.known {
		try = func() error { return nil }
	}
	return r.Unsigned.TryPass(ctx, pass, want, now, try)
}

// Passes that are not good are a try of their address, and when it has none left nobody
// verifies what it shows; who is known is not asked for a try, and a good pass is none.
func TestTriesOfBadPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk := &fakeDesk{visit: func(context.Context, token.Pass) (booking.Visit, error) { return booking.Visit{}, nil }}
		inside := bookingtest.Pass()
		s, _ := newEdge(t, desk, Config{}, func(p *Parts) { p.Passes = remembers{known: inside.Admission.String()} })
		h := s.Handler()
		const stranger = "203.0.113.7"
		for range 2 * triesBurst {
			if w := from(h, stranger, "", bearer(bookingtest.Pass())); w.Code != 200 {
				t.Fatalf("good passes: got %d %s, want no try taken", w.Code, w.Body)
			}
		}
		for range triesBurst {
			if w := from(h, stranger, "", "Bearer forged"); w.Code != 401 {
				t.Fatalf("a bad pass: got %d %s, want 401", w.Code, w.Body)
			}
		}
		wantProblem(t, "one more", from(h, stranger, "", "Bearer forged"), wire.AddressLimit)
		wantProblem(t, "a newcomer of the same address", from(h, stranger, "", bearer(bookingtest.Pass())), wire.AddressLimit)
		if w := from(h, stranger, "", bearer(inside)); w.Code != 200 {
			t.Errorf("who is inside already: got %d %s, want 200", w.Code, w.Body)
		}
		if w := from(h, "203.0.113.8", "", bearer(bookingtest.Pass())); w.Code != 200 {
			t.Errorf("another address: got %d %s, want 200", w.Code, w.Body)
		}
		time.Sleep(time.Second) // synctest's time
		if w := from(h, stranger, "", bearer(bookingtest.Pass())); w.Code != 200 {
			t.Errorf("a second later: got %d %s, want 200", w.Code, w.Body)
		}
	})
}

// Places are given in order of arrival; who waits longer than the patience is sent
// away, and who is beyond the bound at once.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget("x", 1, Config{MaxCalls: 4, Patience: time.Second}, prometheus.NewGauge(prometheus.GaugeOpts{}))
		if err := b.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		var order []int // owned by who has the place
		var crowd sync.WaitGroup
		for i := range 3 {
			crowd.Go(func() {
				if err := b.enter(t.Context()); err != nil {
					t.Errorf("number %d: got %v, want a place", i, err)
					return
				}
				order = append(order, i)
				b.leave()
			})
			synctest.Wait() // each has come before the next
		}
		if err := b.enter(t.Context()); !errors.Is(err, errCrowd) {
			t.Errorf("beyond --max-calls: got %v, want %v", err, errCrowd)
		}
		time.Sleep(time.Second - time.Millisecond) // synctest's time
		b.leave()
		crowd.Wait()
		for i, n := range order {
			if i != n {
				t.Errorf("got places in the order %v, want that of arrival", order)
			}
		}
		if err := b.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := b.enter(t.Context()); !errors.Is(err, errPatience) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s, want %v after a second", err, time.Since(began), errPatience)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.enter(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("whose visitor has gone: got %v, want %v", err, context.Canceled)
		}
		b.leave()
		if got := b.inside.Load(); got != 0 {
			t.Errorf("got %d inside at the end, want none", got)
		}
	})
}

// watching is a writer that looks at the budgets when it is written to.
type watching struct {
	*httptest.ResponseRecorder
	look func()
}

func (w watching) WriteHeader(code int) { w.look(); w.ResponseRecorder.WriteHeader(code) }

// A place is given back before the answer is written, and no place is taken while a
// body arrives: both may take as long as the visitor likes.
func TestPlacesAreNotHeldForTheVisitor(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 3, nil)
	h := b.Handler()
	budgets := map[string]*budget{"pass": b.reading, "hold": b.holding, "confirm": b.confirming}
	auth := bearer(bookingtest.Pass())
	looked := 0
	none := func() {
		looked++
		for kind, budget := range budgets {
			if n := budget.inside.Load(); n != 0 {
				t.Errorf("got %d places of %s taken, want none", n, kind)
			}
		}
	}
	send := func(method, path, body string) string {
		r := httptest.NewRequest(method, path, reading{strings.NewReader(body), none})
		r.ContentLength = int64(len(body))
		r.Header.Set("Authorization", auth)
		w := watching{httptest.NewRecorder(), none}
		h.ServeHTTP(w, r)
		return w.Body.String()
	}
	send("GET", "/rooms/gig/seats", "")
	send("GET", "/rooms/gig/pass", "")
	held := send("POST", "/rooms/gig/holds", `{"seats":["A-1"]}`)
	_, id, _ := strings.Cut(held, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	send("POST", "/rooms/gig/holds", `{"seats":["A-2"]}`)
	if got := send("POST", "/rooms/gig/holds/"+id+"/confirm", "{}"); !strings.Contains(got, "A-1") {
		t.Errorf("got %s, want A-1 booked", got)
	}
	if looked < 7 {
		t.Errorf("looked %d times, want it at each answer and each body", looked)
	}
}

type reading struct {
	r    *strings.Reader
	look func()
}

func (r reading) Read(b []byte) (int, error) { r.look(); return r.r.Read(b) }

// A budget that is full refuses its own kind: nothing of the others waits for it.
func TestBudgetsAreApart(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 3, nil)
	c := client{t, b.Handler()}
	auth := bearer(bookingtest.Pass())
	id := seat.NewHoldID()
	for _, full := range []*budget{b.reading, b.holding, b.confirming} {
		leave := b.fill(t, full)
		for path, of := range map[string]*budget{
			"GET /rooms/gig/seats": nil, "GET /rooms/gig/pass": b.reading,
			"DELETE /rooms/gig/holds/" + string(id): b.holding, "POST /rooms/gig/holds/" + string(id) + "/confirm": b.confirming,
		} {
			method, path, _ := strings.Cut(path, " ")
			w := c.do(method, path, auth, "")
			if (w.Code == 503) != (of == full) {
				t.Errorf("%s while %s is full: got %d %s", path, full.kind, w.Code, w.Body)
			}
		}
		leave()
		auth = bearer(bookingtest.Pass()) // the limit of one pass is not what this is about
	}
}

// A visitor who goes is no fault of ours, whatever the desk makes of it: nothing is
// logged and nothing is counted but that.
func TestGoneVisitorsAreNoFault(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	for _, cause := range []error{nil, context.Canceled, errors.New("invalid connection"), seat.ErrAway} {
		desk := &fakeDesk{}
		s, reg := newEdge(t, desk, Config{Patience: time.Second}, func(p *Parts) { p.Log = zap.New(core) })
		ctx, cancel := context.WithCancel(t.Context())
		desk.hold = func(ctx context.Context, _ token.Pass, _ []seat.ID) (seat.Hold, bool, error) {
			cancel()
			<-ctx.Done()
			return aHold, true, cause
		}
		r := httptest.NewRequestWithContext(ctx, "POST", "/rooms/gig/holds", strings.NewReader(`{"seats":["A-1"]}`))
		r.Header.Set("Authorization", bearer(bookingtest.Pass()))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if (w.Code < 300) != (cause == nil) { // who has closed one half of a connection reads the other
			t.Errorf("%v: got %d, want no success where there was none", cause, w.Code)
		}
		want := 1.0
		if cause == nil { // it was held: that is what is counted
			want = 0
		}
		if got := counted(t, reg, "waitroom_booker_refused_total", gone); got != want || (len(desk.did) == 1) != (cause == nil) {
			t.Errorf("%v: got %v counted as gone and %q, want %v", cause, got, desk.did, want)
		}
	}
	if all := logs.TakeAll(); len(all) != 0 {
		t.Errorf("got %v logged, want nothing", all)
	}
}

// HEAD is GET without its body; OPTIONS names the methods and lets no other origin in.
func TestMethods(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 3, nil)
	c := client{t, b.Handler()}
	auth := bearer(bookingtest.Pass())
	for path, allow := range map[string]string{
		"/rooms/gig/seats": "GET, HEAD, OPTIONS", "/rooms/gig/plan": "GET, HEAD, OPTIONS", "/rooms/gig/live": "GET, HEAD, OPTIONS", "/rooms/gig/pass": "DELETE, GET, HEAD, OPTIONS", "/rooms/gig/holds": "OPTIONS, POST",
		"/rooms/gig/holds/x": "DELETE, OPTIONS", "/rooms/gig/holds/x/extend": "OPTIONS, POST", "/rooms/gig/holds/x/confirm": "OPTIONS, POST",
	} {
		w := c.do("OPTIONS", path, "", "", "Origin", "https://other.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
		if w.Code != 204 || w.Header().Get("Allow") != allow || w.Body.Len() != 0 {
			t.Errorf("OPTIONS %s: got %d, Allow %q, want 204 and %q", path, w.Code, w.Header().Get("Allow"), allow)
		}
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("OPTIONS %s: got %s, want no other origin let in", path, name)
			}
		}
		wantProblem(t, "PATCH "+path, c.do("PATCH", path, auth, ""), wire.NotAllowed)
		if strings.Contains(allow, "HEAD") && path != "/rooms/gig/live" { // a stream lasts, with its body or without
			if w := c.do("HEAD", path, auth, ""); w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("HEAD %s: got %d %v, want what GET says", path, w.Code, w.Header())
			}
			wantProblem(t, "HEAD without a pass", c.do("HEAD", path, "", ""), wire.NoPass)
		}
	}
}
