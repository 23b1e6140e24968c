package shop

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/seat"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// A request with a key is answered as before, by a real shop: a client that lost an answer
// asks again and can't do harm.
func TestIdempotencyKey(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := newShop(t, dsn, 3, nil)
		c := client{t, b.Handler()}
		p, other := bookingtest.Pass(), bookingtest.Pass()
		const a1, a2 = `{"seats":["A-1"]}`, `{"seats":["A-2"]}`
		post := func(auth, path, body, key string) *httptest.ResponseRecorder {
			return c.do("POST", "/rooms/gig/holds"+path, auth, body, "Idempotency-Key", key)
		}
		h := want[holdAnswer](t, post(bearer(p), "", a1, "one"), 201)
		if again := want[holdAnswer](t, post(bearer(p), "", a1, `"one"`), 201); again.ID != h.ID {
			t.Errorf("again, in quotes: got hold %s, want %s", again.ID, h.ID)
		}
		wantProblem(t, "other seats", post(bearer(p), "", a2, "one"), wire.KeyReused)
		wantProblem(t, "another path", post(bearer(p), "/"+string(h.ID)+"/extend", a1, "one"), wire.KeyReused)
		wantProblem(t, "malformed", post(bearer(p), "", a2, "two words"), wire.KeyBad)
		wantProblem(t, "the seat is taken", post(bearer(other), "", a1, "one"), wire.SeatTaken)

		// The extension is given once, and told as often as it is asked for.
		longer := want[holdAnswer](t, post(bearer(p), "/"+string(h.ID)+"/extend", "", "longer"), 200)
		if again := want[holdAnswer](t, post(bearer(p), "/"+string(h.ID)+"/extend", "", "longer"), 200); again.LeftMS != longer.LeftMS || longer.LeftMS <= h.LeftMS {
			t.Errorf("extended: got %d ms, then %d, want more than %d, once", longer.LeftMS, again.LeftMS, h.LeftMS)
		}
		wantProblem(t, "once more", post(bearer(p), "/"+string(h.ID)+"/extend", "", "longer2"), wire.HoldExtended)

		for range 2 {
			want[any](t, c.do("DELETE", "/rooms/gig/holds/"+string(h.ID), bearer(p), "", "Idempotency-Key", "back"), 204)
		}
		// As the answer said, it may be tried again.
		h = want[holdAnswer](t, post(bearer(other), "", a1, "one"), 201)
		first := want[bookingAnswer](t, post(bearer(other), "/"+string(h.ID)+"/confirm", "", "buy"), 200)
		if again := want[bookingAnswer](t, post(bearer(other), "/"+string(h.ID)+"/confirm", "", "buy"), 200); again.Reference != first.Reference {
			t.Errorf("confirm again: got %+v, want %+v", again, first)
		}
		// The passes have ended: what keys came to is told, and nothing begun.
		b.clock.Set(p.Expires.Add(time.Hour))
		if again := want[bookingAnswer](t, post(bearer(other), "/"+string(h.ID)+"/confirm", "", "buy"), 200); again.Reference != first.Reference {
			t.Errorf("confirm after the pass: got %+v, want %+v", again, first)
		}
		wantProblem(t, "hold after the pass", post(bearer(p), "", a2, "late"), wire.PassExpired)
		b.clock.Set(p.Expires.Add(readLeeway))
		wantProblem(t, "a day after the pass", post(bearer(other), "/"+string(h.ID)+"/confirm", "", "buy"), wire.PassExpired)
	})
}

// The key is of the method, the path and the body; what no key can be is refused before
// anything is asked, and where nothing is done a key means nothing.
func TestKeyOfARequest(t *testing.T) {
	desk := &fakeDesk{
		extend:  func(context.Context, token.Pass, seat.HoldID) (seat.Hold, error) { return aHold, nil },
		confirm: func(context.Context, token.Pass, seat.HoldID) (booking.Booking, error) { return aBooking, nil },
	}
	s, _ := newEdge(t, desk, Config{}, nil)
	c := client{t, s.Handler()}
	auth := bearer(bookingtest.Pass())
	ask := func(path, body string) booking.Key {
		t.Helper()
		if w := c.do("POST", "/rooms/gig/holds/AAAAAAAAAAAAAAAA/"+path, auth, body, "Idempotency-Key", "k"); w.Code != 200 {
			t.Fatalf("%s: got %d %s", path, w.Code, w.Body)
		}
		return desk.keys[len(desk.keys)-1]
	}
	same := ask("confirm", "")
	for what, other := range map[string]booking.Key{"another path": ask("extend", ""), "another body": ask("confirm", " "), "none": {}} {
		if other == same {
			t.Errorf("%s has the key of the first request", what)
		}
	}
	if again := ask("confirm", ""); again != same {
		t.Error("the same request has another key")
	}
	asked := len(desk.keys)
	r := httptest.NewRequest("POST", "/rooms/gig/holds/AAAAAAAAAAAAAAAA/confirm", strings.NewReader(""))
	r.Header.Set("Authorization", auth)
	r.Header.Add("Idempotency-Key", "one")
	r.Header.Add("Idempotency-Key", "two")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	wantProblem(t, "two keys", w, wire.KeyBad)
	if len(desk.keys) != asked {
		t.Error("the desk was asked by a request with two keys")
	}
	if want[bookingAnswer](t, c.do("POST", "/rooms/gig/holds/AAAAAAAAAAAAAAAA/confirm", auth, ""), 200); desk.keys[len(desk.keys)-1] != (booking.Key{}) {
		t.Error("a request without a key has one")
	}
}
