package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"waitroom/internal/booking"
	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// golden is an exchange as its file has it: testdata/answers is read by this test, by
// the page's and by the bot's.
type golden struct {
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Send   json.RawMessage   `json:"send,omitempty"`
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   json.RawMessage   `json:"body,omitempty"`
}

// retryAfter stands for every number of seconds, which has a random part.
const retryAfter = "2"

// exchange is what is asked, and how the desk and the passes answer it.
type exchange struct {
	ask    string // "POST /holds"
	send   string
	desk   *fakeDesk // nil: nothing asks it
	passes error     // of every pass
	auth   string
	room   string
	key    string
}

var (
	aHold    = seat.Hold{ID: "AAAAAAAAAAAAAAAA", Seats: []seat.ID{"A-1", "A-2"}, Until: bookingtest.Noon.Add(5 * time.Minute), More: 2 * time.Minute, Amount: 24_000, Currency: "KRW"}
	aBooking = booking.Booking{Hold: aHold.ID, Reference: "4G7KQ2ZC", Seats: aHold.Seats, Amount: aHold.Amount, Currency: aHold.Currency}
)

// exchanges are all answers of the API but the map's, by the names of their files: one
// of each success and one of each problem.
func exchanges() map[string]*exchange {
	const two = `{"seats":["A-1","A-2"]}`
	const confirm, extend = "POST /holds/AAAAAAAAAAAAAAAA/confirm", "POST /holds/AAAAAAAAAAAAAAAA/extend"
	visits := func(v booking.Visit) *fakeDesk {
		return &fakeDesk{visit: func(context.Context, token.Pass) (booking.Visit, error) { return v, nil }}
	}
	holds := func(fresh bool, err error) *fakeDesk {
		return &fakeDesk{hold: func(context.Context, token.Pass, []seat.ID) (seat.Hold, bool, error) { return aHold, fresh, err }}
	}
	confirms := func(err error) *fakeDesk {
		return &fakeDesk{confirm: func(context.Context, token.Pass, seat.HoldID) (booking.Booking, error) { return aBooking, err }}
	}
	extends := func(err error) *fakeDesk {
		return &fakeDesk{extend: func(context.Context, token.Pass, seat.HoldID) (seat.Hold, error) {
			h := aHold
			h.Until, h.More = h.Until.Add(2*time.Minute), 0
			return h, err
		}}
	}
	// Its pass ends a minute after it, and it costs nothing.
	late := seat.Hold{ID: aHold.ID, Seats: aHold.Seats, Until: bookingtest.Pass().Expires.Add(-time.Minute), More: time.Minute}
	ends := &fakeDesk{end: func(context.Context, token.Pass) error { return nil }}
	all := map[string]*exchange{
		"pass":                  {ask: "GET /pass", desk: visits(booking.Visit{})},
		"pass_held":             {ask: "GET /pass", desk: visits(booking.Visit{Hold: &aHold})},
		"pass_held_late":        {ask: "GET /pass", desk: visits(booking.Visit{Hold: &late})},
		"pass_booked":           {ask: "GET /pass", desk: visits(booking.Visit{Spent: true, Booking: &aBooking})},
		"pass_left":             {ask: "GET /pass", desk: visits(booking.Visit{Spent: true})},
		"held":                  {ask: "POST /holds", send: two, desk: holds(true, nil)},
		"held_repeated":         {ask: "POST /holds", send: two, desk: holds(false, nil)},
		"extended":              {ask: extend, desk: extends(nil)},
		"problem_hold_extended": {ask: extend, desk: extends(seat.ErrExtended)},
		"released":              {ask: "DELETE /holds/AAAAAAAAAAAAAAAA", desk: ends},
		"confirmed":             {ask: confirm, desk: confirms(nil)},
		"left":                  {ask: "DELETE /pass", desk: ends},
		"options":               {ask: "OPTIONS /holds", auth: "-"},

		"problem_bad_room":           {ask: "GET /pass", room: "GIG"},
		"problem_not_found":          {ask: "GET /nothing"},
		"problem_method_not_allowed": {ask: "PUT /holds"},
		"problem_pass_missing":       {ask: "GET /pass", auth: "-"},
		"problem_pass_malformed":     {ask: "GET /pass", passes: token.ErrMalformed},
		"problem_pass_foreign":       {ask: "GET /pass", passes: token.ErrForeign},
		"problem_pass_expired":       {ask: "GET /pass", passes: token.ErrExpired},
		"problem_pass_other_room":    {ask: "GET /pass", passes: token.ErrOtherRoom},
		"problem_bad_request":        {ask: "POST /holds", send: `"seats"`},
		"problem_too_long":           {ask: "POST /holds", send: `"` + strings.Repeat("x", maxBody) + `"`},
		"problem_seats_none":         {ask: "POST /holds", send: `{"seats":[]}`},
		"problem_seats_twice":        {ask: "POST /holds", send: `{"seats":["A-1","A-1"]}`},
		"problem_seats_too_many":     {ask: "POST /holds", send: `{"seats":["A-1","A-2","A-3","A-4","A-5","A-6","A-7"]}`},
		"problem_key_malformed":      {ask: "POST /holds", send: two, key: "two words"},
		"problem_seat_malformed":     {ask: "POST /holds", send: `{"seats":["1-A"]}`},
	}
	for name, err := range map[string]error{
		"seat_taken": &seat.TakenError{Seats: []seat.ID{"A-2"}}, "seat_unknown": seat.ErrUnknown, "no_seats": seat.ErrNoRoom, "hold_open": seat.ErrHoldOpen,
		"pass_old": seat.ErrEpoch, "pass_spent": seat.ErrPassSpent, "clock_skew": seat.ErrSkew, "overloaded": seat.ErrBusy,
		"key_reused": seat.ErrKeyReused, "key_in_use": seat.ErrKeyBusy, "keys_too_many": seat.ErrKeys,
		"pass_limit": &limited{wire.PassLimit, time.Second, ""}, "address_limit": &limited{wire.AddressLimit, time.Second, ""},
		"too_slow": coded{wire.TooSlow}, "unavailable": seat.ErrAway, "internal": errors.New("anything else"),
	} {
		all["problem_"+name] = &exchange{ask: "POST /holds", send: two, desk: holds(false, err)}
	}
	for name, err := range map[string]error{"hold_unknown": seat.ErrNoHold, "hold_ended": seat.ErrHoldEnded, "payment_declined": seat.ErrDeclined} {
		all["problem_"+name] = &exchange{ask: confirm, desk: confirms(err)}
	}
	return all
}

// wrong answers every pass with an error.
type wrong struct {
	bookingtest.Unsigned
	err error
}

func (w wrong) TryPass(ctx context.Context, pass string, want room.Name, now time.Time, try func() error) (token.Pass, error) {
	if w.err != nil {
		return token.Pass{}, w.err
	}
	return w.Unsigned.TryPass(ctx, pass, want, now, try)
}

func (e *exchange) run(t *testing.T) golden {
	t.Helper()
	if e.desk == nil {
		e.desk = &fakeDesk{}
	}
	s, _ := newEdge(t, e.desk, Config{Patience: time.Second}, func(p *Parts) { p.Passes = wrong{err: e.passes} })
	if e.room == "" {
		e.room = "gig"
	}
	if e.auth == "" {
		e.auth = bearer(bookingtest.Pass())
	}
	method, path, _ := strings.Cut(e.ask, " ")
	g := golden{Method: method, Path: "/rooms/" + e.room + path, Send: json.RawMessage(e.send), Header: map[string]string{}}
	r := httptest.NewRequest(g.Method, g.Path, strings.NewReader(e.send))
	if e.auth != "-" {
		r.Header.Set("Authorization", e.auth)
	}
	if e.key != "" {
		r.Header.Set("Idempotency-Key", e.key)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	g.Status, g.Body = w.Code, bytes.TrimSuffix(w.Body.Bytes(), []byte("\n"))
	for name := range w.Header() {
		g.Header[name] = w.Header().Get(name)
	}
	if _, ok := g.Header["Retry-After"]; ok {
		wantRetry(t, e.ask, w)
		g.Header["Retry-After"] = retryAfter
	}
	return g
}

// Every answer is the one of its file, to the byte and with all of its headers, and
// every file is one of these. WAITROOM_UPDATE_ANSWERS=1 writes them.
func TestAnswersAreGolden(t *testing.T) {
	all := exchanges()
	for name, e := range all {
		got, err := json.MarshalIndent(e.run(t), "", "  ")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got = append(got, '\n')
		path := filepath.Join("testdata", "answers", name+".json")
		if os.Getenv("WAITROOM_UPDATE_ANSWERS") != "" {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	files, err := filepath.Glob("testdata/answers/*.json")
	if err != nil || len(files) != len(all) {
		t.Errorf("got %d files, %v, want one for each of the %d answers", len(files), err, len(all))
	}
}

// Each code that a visitor of the shop may meet has a file.
func TestEveryCodeOfTheShopIsGolden(t *testing.T) {
	// What only the line says.
	line := []wire.Code{wire.BadMessage, wire.TooFast, wire.NotJoined, wire.UnknownType, wire.Unsupported, wire.NoHello, wire.UnknownRoom, wire.RoomDeleted,
		wire.RoomClosed, wire.SoldOut, wire.RoomFull, wire.Recovering, wire.Stalled, wire.PlaceLimit, wire.TooManyTabs, wire.Slow, wire.Draining, wire.Origin,
		wire.PlaceBad, wire.PlaceForeign, wire.PlaceRoom, wire.PlaceEpoch, wire.NotYours}
	var missing []string
	all := exchanges()
	for code := range maps.Keys(wire.Codes) {
		e, has := all["problem_"+string(code)]
		if has == slices.Contains(line, code) {
			missing = append(missing, fmt.Sprintf("%s (has one: %t)", code, has))
		}
		if !has {
			continue
		}
		var p wire.Problem
		if g := e.run(t); json.Unmarshal(g.Body, &p) != nil || p.Code != code || g.Status != wire.Codes[code].HTTP {
			t.Errorf("%s: got %d %s", code, g.Status, g.Body)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		t.Errorf("got %q, want an answer of each code of the shop and none of the line's", missing)
	}
}
