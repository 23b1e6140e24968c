package shop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// said is one answer as it came over the wire.
type said struct {
	status  int
	code    wire.Code // of a problem
	closes  bool
	body    string
	problem bool
}

// hear reads the next answer.
func hear(r *bufio.Reader) (said, error) {
	w, err := http.ReadResponse(r, nil)
	if err != nil {
		return said{}, err
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	s := said{status: w.StatusCode, closes: w.Close, body: string(b), problem: w.Header.Get("Content-Type") == "application/problem+json"}
	if s.problem {
		var p wire.Problem
		if err := json.Unmarshal(b, &p); err != nil {
			return s, err
		}
		s.code = p.Code
	}
	return s, err
}

// neighbour holds and releases a seat over and over until stop, and says how long the
// slowest call took. Nothing that others send may cost it an answer.
func neighbour(t *testing.T, p *port) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	slowest := make(chan time.Duration, 1)
	go func() { // ends with cancel, awaited by stop
		var worst time.Duration
		defer func() { slowest <- worst }()
		for ctx.Err() == nil {
			pass := p.pass(t, bookingtest.Pass())
			for _, c := range []struct {
				method, path, body string
				want               int
			}{{"POST", "/rooms/gig/holds", `{"seats":["B-1"]}`, 201}, {"GET", "/rooms/gig/pass", "", 200}, {"DELETE", "/rooms/gig/pass", "", 204}} {
				began := time.Now()
				status, answer, err := p.ask(ctx, c.method, c.path, pass, c.body)
				if ctx.Err() != nil {
					return
				}
				if err != nil || status != c.want {
					t.Errorf("the neighbour: %s %s: got %d %s, %v, want %d", c.method, c.path, status, answer, err, c.want)
					return
				}
				worst = max(worst, time.Since(began))
			}
		}
	}()
	return func() time.Duration { cancel(); return <-slowest }
}

// meetLine has the desk hear of a line of "gig" that was created at a moment, and waits
// until it knows of it.
func (b *testShop) meetLine(t *testing.T, epoch room.Epoch, createdMS int64) {
	t.Helper()
	title := "of " + string(epoch)
	record := events.EncodeDescribed("gig", room.EventRev{Epoch: epoch, CreatedMS: createdMS, Rev: 1}, room.Event{Title: title})
	if err := b.below.Consume(t.Context(), []events.Record{record}); err != nil {
		t.Fatal(err)
	}
	b.clock.Set(time.Time{}) // the machine's: the loops look at it
	defer b.clock.Set(bookingtest.Noon)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.below.Run(ctx) }() // ends with stop, awaited below
	await(t, "the line "+string(epoch), func() bool { return b.below.Event("gig").Title == title })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

const (
	sql  = `' OR 1=1; DROP TABLE seats; -- `
	html = `"><script>alert(1)</script>`
)

// What strangers and programs with a pass may send has an answer with a stable code,
// changes nothing, says nothing of what was sent, and costs the others nothing.
func TestHostileRequests(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 20, nil)
	old := bookingtest.Pass()
	old.Epoch = room.NewEpoch()
	b.meetLine(t, old.Epoch, 1000)
	b.meetLine(t, bookingtest.Epoch, 2000)
	p := listen(t, b)
	stop := neighbour(t, p)

	pass := func() string { return p.pass(t, bookingtest.Pass()) }
	foreign := func() string {
		key, err := token.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		ring, err := token.NewKeyring(key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := ring.Pass(bookingtest.Pass().Admission, bookingtest.Pass().Expires)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	expired, elsewhere, spent := bookingtest.Pass(), bookingtest.Pass(), bookingtest.Pass()
	expired.Expires = bookingtest.Noon
	elsewhere.Room = "other"
	if err := b.below.Leave(t.Context(), spent); err != nil {
		t.Fatal(err)
	}

	const id = "AAAAAAAAAAAAAAAA"
	request := func(method, path, pass, body string, headers ...string) string {
		text := method + " " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + pass + "\r\n"
		for _, h := range headers {
			text += h + "\r\n"
		}
		if body != "" {
			text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		return text + "\r\n" + body
	}
	hold := func(body string) string { return request("POST", "/rooms/gig/holds", pass(), body) }
	seats := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("A-%d", i+1)
		}
		text, _ := json.Marshal(map[string]any{"seats": list}) // strings only
		return string(text)
	}
	evil := url.PathEscape(sql + html)
	for _, k := range []struct {
		what, request string
		code          wire.Code
		status        int // of an answer that has no code, since net/http gives it
	}{
		{"no JSON", hold("seats"), wire.BadRequest, 0},
		{"half a JSON", hold(`{"seats":["A-1"`), wire.BadRequest, 0},
		{"deep arrays", hold(strings.Repeat("[", maxBody)), wire.BadRequest, 0},
		{"deep objects", hold(strings.Repeat(`{"a":`, maxBody/6) + "1" + strings.Repeat("}", maxBody/6)), wire.SeatsNone, 0},
		{"deep seats", hold(`{"seats":[[[["A-1"]]]]}`), wire.BadRequest, 0},
		{"seats are an object", hold(`{"seats":{"A-1":1}}`), wire.BadRequest, 0},
		{"seats are numbers", hold(`{"seats":[1,2]}`), wire.BadRequest, 0},
		{"seats are null", hold(`{"seats":[null]}`), wire.SeatBad, 0},
		{"a number beyond all", hold(`{"seats":[],"n":1e999999}`), wire.SeatsNone, 0},
		{"bytes that are no text", hold("{\"seats\":[\"\xff\xfe\"]}"), wire.SeatBad, 0},
		{"NUL", hold("{\"seats\":[\"A-1\\u0000\"]}"), wire.SeatBad, 0},
		{"a huge body", hold(strings.Repeat("x", 1<<20)), wire.TooLong, 0},
		{"a body said to be huge", "POST /rooms/gig/holds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + pass() + "\r\nContent-Length: 99999999999\r\n\r\n" + strings.Repeat("x", maxBody+1), wire.TooLong, 0},
		{"a chunked body that is huge", request("POST", "/rooms/gig/holds", pass(), "", "Transfer-Encoding: chunked") + "100000\r\n" + strings.Repeat("x", maxBody+1), wire.TooLong, 0},
		{"a broken chunk", request("POST", "/rooms/gig/holds", pass(), "", "Transfer-Encoding: chunked") + "zz\r\n", wire.BadRequest, 0},
		{"unknown seats", hold(`{"seats":["Z-1","Z-2"]}`), wire.SeatUnknown, 0},
		{"too many seats", hold(seats(7)), wire.SeatsTooMany, 0},
		{"very many seats", hold(seats(500)), wire.SeatsTooMany, 0},
		{"SQL for a seat", hold(`{"seats":["` + sql + `"]}`), wire.SeatBad, 0},
		{"HTML for a seat", hold(`{"seats":["<script>alert(1)</script>"]}`), wire.SeatBad, 0},
		{"SQL and HTML for a field", hold(`{"` + sql + `":"<script>","seats":[]}`), wire.SeatsNone, 0},
		{"SQL and HTML for a room", request("GET", "/rooms/"+evil+"/seats", pass(), ""), wire.BadRoom, 0},
		{"SQL and HTML for a hold", request("DELETE", "/rooms/gig/holds/"+evil, pass(), ""), wire.HoldUnknown, 0},
		{"SQL and HTML for a hold to confirm", request("POST", "/rooms/gig/holds/"+evil+"/confirm", pass(), ""), wire.HoldUnknown, 0},
		{"SQL and HTML for a path", request("GET", "/"+evil, pass(), ""), wire.NotFound, 0},
		{"SQL and HTML for a pass", request("GET", "/rooms/gig/pass", sql+html, ""), wire.PassBad, 0},
		{"SQL and HTML for a method", request("DROP", "/rooms/gig/pass", pass(), ""), wire.NotAllowed, 0},
		{"SQL and HTML for headers", request("POST", "/rooms/gig/holds", pass(), "{}", "X-Forwarded-For: "+sql+html, "If-None-Match: "+sql+html, "Content-Type: "+html, "Cookie: lang="+sql), wire.SeatsNone, 0},
		{"a path upwards", request("GET", "/rooms/gig/../../etc/passwd", pass(), ""), "", 307},
		{"a long path", request("GET", "/rooms/gig/holds/"+strings.Repeat("x", 8000)+"/confirm", pass(), ""), wire.NotAllowed, 0},
		{"a long room", request("GET", "/rooms/"+strings.Repeat("x", 64)+"/seats", pass(), ""), wire.BadRoom, 0},
		{"no pass", "GET /rooms/gig/pass HTTP/1.1\r\nHost: x\r\n\r\n", wire.NoPass, 0},
		{"a huge pass", request("GET", "/rooms/gig/pass", strings.Repeat("x", 10_000), ""), wire.PassBad, 0},
		{"two passes", request("GET", "/rooms/gig/pass", pass()+" "+pass(), ""), wire.PassBad, 0},
		{"a foreign pass", request("GET", "/rooms/gig/pass", foreign(), ""), wire.PassForeign, 0},
		{"an expired pass", request("POST", "/rooms/gig/holds", p.pass(t, expired), `{"seats":["A-1"]}`), wire.PassExpired, 0},
		{"a pass of another room", request("POST", "/rooms/gig/holds", p.pass(t, elsewhere), `{"seats":["A-1"]}`), wire.PassRoom, 0},
		{"a spent pass", request("POST", "/rooms/gig/holds", p.pass(t, spent), `{"seats":["A-1"]}`), wire.PassSpent, 0},
		{"a pass of an earlier line", request("POST", "/rooms/gig/holds", p.pass(t, old), `{"seats":["A-1"]}`), wire.PassOld, 0},
		{"a hold of nobody", request("POST", "/rooms/gig/holds/"+id+"/confirm", pass(), ""), wire.HoldUnknown, 0},
		{"a body where none belongs", request("DELETE", "/rooms/gig/holds/"+id, pass(), strings.Repeat("x", maxBody+1)), wire.TooLong, 0},
		{"two lengths", "POST /rooms/gig/holds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + pass() + "\r\nContent-Length: 2\r\nContent-Length: 17\r\n\r\n{}", "", 400},
		{"a length and chunks", request("POST", "/rooms/gig/holds", pass(), "{}\r\n", "Transfer-Encoding: chunked"), wire.BadRequest, 0},
		{"a length below 0", "POST /rooms/gig/holds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + pass() + "\r\nContent-Length: -1\r\n\r\n", "", 400},
		{"a header of 1 MB", request("GET", "/rooms/gig/pass", pass(), "", "X-Long: "+strings.Repeat("x", 1<<20)), "", 431},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "", 400},
		{"HTTP/1.0", "POST /rooms/gig/holds HTTP/1.0\r\nAuthorization: Bearer " + pass() + "\r\nContent-Length: 2\r\n\r\n{}", wire.SeatsNone, 0},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", 400},
		{"an expectation that is none", request("POST", "/rooms/gig/holds", pass(), "{}", "Expect: a miracle"), "", 417},
	} {
		c, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(c, k.request) }() // ends with the connection; the server may close it within the text
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := hear(bufio.NewReader(c))
		c.Close()
		if err != nil {
			t.Errorf("%s: got %v, want an answer", k.what, err)
			continue
		}
		want := k.status
		if k.code != "" {
			want = wire.Codes[k.code].HTTP
		}
		if got.code != k.code || got.status != want {
			t.Errorf("%s: got %d %s %.200s, want %d %s", k.what, got.status, got.code, got.body, want, k.code)
		}
		if strings.Contains(got.body, "<script") || strings.Contains(got.body, "DROP") {
			t.Errorf("%s: got %s, want nothing of what was sent", k.what, got.body)
		}
	}
	if slowest := stop(); slowest > 5*time.Second {
		t.Errorf("the neighbour waited %s, want what others send to cost it nothing", slowest)
	}
	if got := b.below.Seats(t); got != "" && got != "B-1:held" { // the neighbour's, cut by the end
		t.Errorf("got %s, want nothing changed", got)
	}
}

// A request that does not become whole is answered after five seconds, whatever is sent
// meanwhile; one with a bad pass at once, without its body. The others are served.
func TestBodiesThatNeverEnd(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 20, nil)
	p := listen(t, b)
	stop := neighbour(t, p)
	head := func(pass, more string) string {
		return "POST /rooms/gig/holds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + pass + "\r\n" + more + "\r\n"
	}
	var all sync.WaitGroup
	for what, k := range map[string]struct {
		first, again string // again is sent every 50 ms
		continues    bool   // 100 comes first
		code         wire.Code
		atOnce       bool
	}{
		"half a body":                {first: head(p.pass(t, bookingtest.Pass()), "Content-Length: 40\r\n") + `{"seats":`, code: wire.TooSlow},
		"a byte now and then":        {first: head(p.pass(t, bookingtest.Pass()), "Content-Length: 4000\r\n"), again: " ", code: wire.TooSlow},
		"chunks without end":         {first: head(p.pass(t, bookingtest.Pass()), "Transfer-Encoding: chunked\r\n"), again: "1\r\n \r\n", code: wire.TooSlow},
		"a promise to continue":      {first: head(p.pass(t, bookingtest.Pass()), "Expect: 100-continue\r\nContent-Length: 40\r\n"), continues: true, code: wire.TooSlow},
		"half a body of a bad pass":  {first: head("forged", "Content-Length: 40\r\n") + `{"seats":`, code: wire.PassBad, atOnce: true},
		"a promise of a bad pass":    {first: head("forged", "Expect: 100-continue\r\nContent-Length: 40\r\n"), code: wire.PassBad, atOnce: true},
		"half a body of no such way": {first: "PUT /rooms/gig/holds HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n", code: wire.NotAllowed, atOnce: true},
	} {
		c := p.dial(t)
		if _, err := io.WriteString(c, k.first); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		if k.again != "" {
			all.Go(func() { // ends with done
				for tick := time.NewTicker(50 * time.Millisecond); ; {
					select {
					case <-done:
						tick.Stop()
						return
					case <-tick.C:
						_, _ = io.WriteString(c, k.again) // the server may have closed
					}
				}
			})
		}
		all.Go(func() {
			defer close(done)
			began := time.Now()
			r := bufio.NewReader(c)
			got, err := hear(r)
			if k.continues && got.status == 100 {
				got, err = hear(r)
			}
			took := time.Since(began)
			if err != nil || got.code != k.code || !got.closes {
				t.Errorf("%s: got %+v, %v, want %s and the end of the connection", what, got, err, k.code)
			}
			if k.atOnce != (took < bodyLimit-time.Second) || took > 2*bodyLimit {
				t.Errorf("%s: got it after %s, want at once %t", what, took, k.atOnce)
			}
		})
	}
	all.Wait()
	if slowest := stop(); slowest > bodyLimit {
		t.Errorf("the neighbour waited %s, want that nobody waits for another's body", slowest)
	}
}

// Requests that come in one packet are answered in their order.
func TestPipelining(t *testing.T) {
	b := newShop(t, bookingtest.SQLite(t), 20, nil)
	p := listen(t, b)
	pass := p.pass(t, bookingtest.Pass())
	c := p.dial(t)
	head := " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + pass + "\r\n"
	if _, err := io.WriteString(c, "POST /rooms/gig/holds"+head+"Content-Length: 17\r\n\r\n"+`{"seats":["A-1"]}`+
		"GET /rooms/gig/nothing"+head+"\r\n"+"GET /rooms/gig/pass"+head+"\r\n"+"DELETE /rooms/gig/pass"+head+"Connection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for i, want := range []int{201, 404, 200, 204} {
		if got, err := hear(r); err != nil || got.status != want || (i == 2) != strings.Contains(got.body, `"hold"`) {
			t.Errorf("answer %d: got %+v, %v, want %d", i, got, err, want)
		}
	}
}
