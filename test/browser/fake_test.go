package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"waitroom/internal/room"
	"waitroom/web"
)

// fakeLine plays the server's side of waitroom.v1 from a script: the room's name
// chooses what is said after the first message. It exists so that every state of
// a page can be looked at and checked, also those that a healthy line never shows.
var fakeLine = map[string][]string{
	"silent":        {},
	"finding":       {joined},
	"waiting":       {joined, roomOpen, position(12_480, 15_000, 0, 0), position(3_284, 12_480, 410, 560)},
	"next":          {joined, roomOpen, position(40, 60, 0, 0), position(1, 1, 0, 8)},
	"no-eta":        {joined, roomOpen, position(42, 1_234, 0, 0)},
	"opening":       {joined, `{"type":"room","state":"opening","opens_ms":754000}`, position(112, 2_310, 0, 0)},
	"paused":        {joined, `{"type":"room","state":"paused","notice":"The doors open ten minutes later than planned. Thank you for your patience!"}`, position(87, 940, 0, 0)},
	"stalled":       {joined, roomOpen, position(87, 940, 60, 90), `{"type":"room","state":"stalled"}`},
	"turn":          {joined, roomOpen, position(5, 60, 0, 8), `{"type":"admitted","claim_ms":108000}`},
	"late":          {joined, roomOpen, `{"type":"admitted","claim_ms":14000}`},
	"ending":        {joined, roomOpen, `{"type":"admitted","claim_ms":22000}`},
	"inside":        {joined, roomOpen, pass},
	"back":          {joined, roomOpen, `{"type":"admitted","claim_ms":108000}`, position(7, 60, 10, 20)},
	"missed":        {joined, roomOpen, `{"type":"missed"}`},
	"spent":         {`{"type":"spent"}`},
	"away":          {`{"type":"spent","reason":"away"}`},
	"left":          {joined, `{"type":"left"}`},
	"epoch":         {problem("place_other_epoch"), "close 4502"},
	"tabs":          {joined, problem("too_many_tabs"), "close 4500"},
	"unknown":       {problem("unknown_room"), "close 4501"},
	"closed":        {`{"type":"room","state":"closed"}`, problem("room_closed")},
	"sold":          {joined, position(42, 1_234, 60, 90), `{"type":"room","state":"sold_out"}`},
	"full":          {`{"type":"room","state":"full"}`, problem("room_full")},
	"first-opening": {joined, `{"type":"room","state":"opening","opens_ms":754000}`, position(1, 2_310, 0, 0)},
	"first-paused":  {joined, `{"type":"room","state":"paused"}`, position(1, 60, 0, 0)},
	"stalled-new":   {problem("stalled"), `{"type":"room","state":"stalled"}`},
	"recovering":    {problem("recovering"), `{"type":"room","state":"recovering"}`},
	"lost-waiting":  {joined, roomOpen, position(90, 940, 60, 90), `{"type":"room","state":"recovering"}`, position(87, 940, 60, 90)},
	"lost-finding":  {joined, `{"type":"room","state":"recovering"}`},
	"lost-turn":     {joined, roomOpen, position(5, 60, 0, 8), `{"type":"admitted","claim_ms":108000}`, `{"type":"room","state":"recovering"}`},
	"lost-late":     {joined, roomOpen, `{"type":"admitted","claim_ms":300}`, `{"type":"room","state":"recovering"}`},
	"closed-note":   {problem("room_closed"), `{"type":"room","state":"closed","notice":"The concert is on another day. Tickets stay valid."}`},
	"full-note":     {problem("room_full"), `{"type":"room","state":"full","notice":"The second sale starts on Friday."}`},
	"over-late":     {joined, roomOpen, `{"type":"admitted","claim_ms":300}`, "drop"}, // see serveLine
	"soon":          {joined, roomOpen, position(2, 60, 0, 8), "pause", `{"type":"admitted","claim_ms":61500}`},
	"event":         {joined, roomOpen, position(3_284, 12_480, 410, 560)},
	"event-turn":    {joined, roomOpen, position(5, 60, 0, 8), `{"type":"admitted","claim_ms":108000}`},
	"drained":       {joined, roomOpen, position(42, 1_234, 60, 90), `{"type":"drain","retry_ms":60000}`, "close 4000"},
	"flaky":         {joined, roomOpen, position(42, 1_234, 60, 90), "drop"}, // see serveLine
	"strange":       {joined, roomOpen, `{"type":"from_the_future","x":[1]}`, `nonsense`, position(42, 1_234, 60, 90)},
}

const (
	joined   = `{"type":"joined","place":"PLACE","number":4711,"epoch":"abcdefgh"}`
	roomOpen = `{"type":"room","state":"open"}`
	pass     = `{"type":"pass","pass":"PASS","expires_ms":596000,"url":"/rooms/choosing/shop"}`
)

func position(n, waiting, low, high int) string {
	eta := "null"
	if high > 0 {
		eta = fmt.Sprintf(`{"low_s":%d,"high_s":%d}`, low, high)
	}
	return fmt.Sprintf(`{"type":"position","position":%d,"waiting":%d,"eta":%s}`, n, waiting, eta)
}

func problem(code string) string {
	return fmt.Sprintf(`{"type":"error","code":%q,"message":"for a log"}`, code)
}

// fake serves both pages under one prefix with scripted servers behind them.
func fake(t *testing.T, prefix string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	waiting := web.Handler(web.Options{Page: web.Waiting, Prefix: prefix, Rooms: events(t)})
	seats := web.Handler(web.Options{Page: web.Seats, Prefix: prefix, WaitingURL: prefix + "/rooms/{room}", Rooms: events(t)})
	mux.Handle("/", waiting)
	mux.Handle(prefix+"/rooms/{room}/shop", seats)
	mux.HandleFunc("GET "+prefix+"/rooms/{room}/ws", serveLine)
	mux.HandleFunc("GET "+prefix+"/rooms/{room}/ring", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case bell <- struct{}{}:
		case <-r.Context().Done():
		}
	})
	shop := &fakeShop{holds: map[string][]string{}, ends: map[string]string{}, extended: map[string]bool{}}
	mux.HandleFunc(prefix+"/rooms/{room}/seats", shop.seats)
	mux.HandleFunc(prefix+"/rooms/{room}/pass", shop.pass)
	mux.HandleFunc("POST "+prefix+"/rooms/{room}/holds", shop.hold)
	mux.HandleFunc("DELETE "+prefix+"/rooms/{room}/holds/{id}", shop.release)
	mux.HandleFunc("POST "+prefix+"/rooms/{room}/holds/{id}/extend", shop.extend)
	mux.HandleFunc("POST "+prefix+"/rooms/{room}/holds/{id}/confirm", shop.confirm)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// events gives the rooms "event…" a title that wants to be more than text, a time,
// a venue, an accent that can hardly be read and a logo; "nowhere" is unlisted.
func events(t *testing.T) func(room.Name) (room.Event, room.Known) {
	t.Helper()
	logo := image.NewNRGBA(image.Rect(0, 0, 128, 72))
	draw.Draw(logo, logo.Bounds(), image.NewUniform(color.NRGBA{230, 170, 0, 255}), image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, logo); err != nil {
		t.Fatal(err)
	}
	event := room.Event{Title: `Autumn Gala <img src=x onerror=alert(1)> & Friends`, Venue: `Grand Hall "East", Seoul`,
		StartsAt: time.Date(2026, 12, 24, 19, 30, 0, 0, time.UTC), Brand: room.Brand{Accent: "#ffd400", Logo: b.Bytes()}, Rev: 1}
	return func(name room.Name) (room.Event, room.Known) {
		switch {
		case strings.HasPrefix(string(name), "event"):
			return event, room.Listed
		case name == "nowhere":
			return room.Event{}, room.Unlisted
		}
		return room.Event{}, room.Unsure
	}
}

// bell ends the pause of whoever waits for it.
var bell = make(chan struct{})

func serveLine(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("room") == "connecting" {
		<-r.Context().Done() // the upgrade never comes
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"waitroom.v1"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Minute)
	defer cancel()
	_, first, err := c.Read(ctx)
	if err != nil {
		return
	}
	script := fakeLine[r.PathValue("room")]
	if r.PathValue("room") == "over-late" && strings.Contains(string(first), `"place":"PLACE"`) {
		return // out of reach from now on
	}
	if r.PathValue("room") == "flaky" && strings.Contains(string(first), `"place":"PLACE"`) {
		// The connection was dropped, and the page came back with its place.
		script = []string{joined, roomOpen, position(30, 1_200, 60, 90)}
	}
	for _, line := range script {
		if line == "drop" {
			return
		}
		if line == "pause" { // until someone asks for …/ring
			select {
			case <-bell:
			case <-ctx.Done():
			}
			continue
		}
		if code, ok := strings.CutPrefix(line, "close "); ok {
			var n int
			fmt.Sscan(code, &n)
			c.Close(websocket.StatusCode(n), "")
			return
		}
		if c.Write(ctx, websocket.MessageText, []byte(line)) != nil {
			return
		}
	}
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return
		}
		if strings.Contains(string(b), "claim") {
			_ = c.Write(ctx, websocket.MessageText, []byte(pass))
		}
	}
}

// fakeShop is a booking desk of 1,000 seats without rules: room "choosing" has
// every fifth seat taken, "taken" refuses each hold, "expired" and "spent" refuse
// the pass, "small" has 40 seats, and a hold of "short…" has 47 seconds and, once, two
// minutes more.
type fakeShop struct {
	mu    sync.Mutex
	holds map[string][]string // by room
	ends  map[string]string   // by room: left or booked

	extended map[string]bool // by room
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *fakeShop) seats(w http.ResponseWriter, r *http.Request) {
	rows, columns := 25, 40
	if r.PathValue("room") == "small" {
		rows, columns = 4, 10
	}
	if r.PathValue("room") == "large" {
		rows, columns = 80, 50
	}
	type seat struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	var out []seat
	for i := range rows {
		for k := range columns {
			name := string(rune('A' + i%26))
			if i >= 26 {
				name = string(rune('A'+i/26-1)) + name
			}
			state := "free"
			if (i*7+k*k)%5 == 0 || (i > 8 && i < 13 && k > 11 && k < 26) {
				state = "booked"
			}
			out = append(out, seat{fmt.Sprintf("%s-%d", name, k+1), state})
		}
	}
	w.Header().Set("ETag", `"1"`)
	if r.Header.Get("If-None-Match") == `"1"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answer(w, 200, map[string]any{"seats": out})
}

func (s *fakeShop) pass(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := r.PathValue("room")
	switch {
	case r.Method == http.MethodDelete:
		s.ends[room] = "left"
		w.WriteHeader(http.StatusNoContent)
	case room == "expired":
		answer(w, 403, map[string]any{"code": "pass_expired"})
	case room == "spent":
		answer(w, 410, map[string]any{"code": "pass_spent"})
	case r.Header.Get("Authorization") != "Bearer PASS":
		answer(w, 401, map[string]any{"code": "pass_malformed"})
	default:
		out := map[string]any{"expires_ms": 596000, "max_seats": 6, "spent": s.ends[room] != ""}
		if s.ends[room] == "booked" {
			out["booking"] = map[string]any{"id": "HOLDHOLDHOLDHOLD", "seats": s.holds[room]}
		} else if h, ok := s.holds[room]; ok {
			out["hold"] = s.held(room, h)
		}
		answer(w, 200, out)
	}
}

func (s *fakeShop) hold(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ask struct{ Seats []string }
	_ = json.NewDecoder(r.Body).Decode(&ask)
	if r.PathValue("room") == "taken" {
		answer(w, 409, map[string]any{"code": "seat_taken", "seats": ask.Seats[:1]})
		return
	}
	s.holds[r.PathValue("room")] = ask.Seats
	answer(w, 201, s.held(r.PathValue("room"), ask.Seats))
}

func (s *fakeShop) held(room string, seats []string) map[string]any {
	left, more := 272_000, 120_000
	if strings.HasPrefix(room, "short") {
		left = 47_000
	}
	if s.extended[room] {
		left, more = left+more, 0
	}
	return map[string]any{"id": "HOLDHOLDHOLDHOLD", "seats": seats, "left_ms": left, "extend_ms": more}
}

func (s *fakeShop) extend(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := r.PathValue("room")
	if s.extended[room] {
		answer(w, 409, map[string]any{"code": "hold_extended"})
		return
	}
	s.extended[room] = true
	answer(w, 200, s.held(room, s.holds[room]))
}

func (s *fakeShop) release(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.holds, r.PathValue("room"))
	w.WriteHeader(http.StatusNoContent)
}

func (s *fakeShop) confirm(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[r.PathValue("room")] = "booked"
	answer(w, 200, map[string]any{"id": r.PathValue("id"), "seats": s.holds[r.PathValue("room")]})
}
