package seatmap_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
)

// streams serves live maps of "gig"; the pass is a header, ?left= what is left of it
// in ms.
func streams(t testing.TB, m *seatmap.Maps) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left := time.Hour
		if ms := r.URL.Query().Get("left"); ms != "" {
			left, _ = time.ParseDuration(ms + "ms")
		}
		if err := m.Live(w, r, "gig", r.Header.Get("Authorization"), left); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	// As the real port has them: a stream must outlive both.
	s.Config.ReadTimeout, s.Config.WriteTimeout = time.Second, time.Second
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// told is one event of a stream.
type told struct {
	kind, id string
	data     struct {
		Version, Plan, Seats, Reason string
		Changes                      map[string][]int
		BeatMS                       int64 `json:"beat_ms"`
		RetryMS                      int64 `json:"retry_ms"`
	}
}

// listener is a page that keeps the map by a stream.
type listener struct {
	t      testing.TB
	answer *http.Response
	lines  *bufio.Reader
	seats  []byte
	last   string
}

func listen(t testing.TB, s *httptest.Server, pass, query string, headers ...string) *listener {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/live?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", pass)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return &listener{t: t, answer: answer, lines: bufio.NewReader(answer.Body)}
}

// next reads an event, passing over beats; an empty kind is the stream's end.
func (l *listener) next() (e told) {
	l.t.Helper()
	for {
		line, err := l.lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return told{}
		}
		if err != nil {
			l.t.Fatalf("stream: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			e.kind = value
		case "id":
			e.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				l.t.Fatalf("%q: %v", line, err)
			}
		case "":
			if e.kind != "" && value == "" {
				l.take(e)
				return e
			}
		}
	}
}

func (l *listener) take(e told) {
	if e.kind == "seats" {
		l.seats = []byte(e.data.Seats)
	}
	for state, list := range e.data.Changes {
		for _, i := range list {
			l.seats[i] = state[0]
		}
	}
	if e.id != "" {
		l.last = e.id
	}
}

// hears reads events until the map is as wanted.
func (l *listener) hears(want string) (last told) {
	l.t.Helper()
	late := time.AfterFunc(soon, func() { l.answer.Body.Close() })
	defer late.Stop()
	for string(l.seats) != want {
		last = l.next()
		if last.kind == "" || last.kind == "bye" {
			l.t.Fatalf("got %+v at %s, want %s", last, l.seats, want)
		}
	}
	return last
}

func TestStream(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 300, nil)
	m := maps(t, b.DB, nil)
	s := streams(t, m)
	all := strings.Repeat("f", 300)
	first := listen(t, s, "one", "")
	if got := first.next(); got.kind != "hello" || got.data.BeatMS != 5000 {
		t.Errorf("got %+v, want hello with the beat", got)
	}
	if got := first.hears(all); got.kind != "seats" || got.data.Plan == "" || got.id != got.data.Version {
		t.Errorf("got %+v, want the whole map", got)
	}
	mustSet(t, b.DB, "gig", "A-2", seat.Held)
	if got := first.hears("fh" + all[2:]); got.kind != "changes" || len(got.data.Changes["h"]) != 1 {
		t.Errorf("got %+v, want the one change", got)
	}
	// Back with what it has seen: the changes since, and no more.
	seen := first.last
	mustSet(t, b.DB, "gig", "A-2", seat.Free)
	first.hears(all)
	mustSet(t, b.DB, "gig", "A-3", seat.Booked)
	first.hears("ffb" + all[3:])
	for _, back := range []*listener{listen(t, s, "two", "since="+seen), listen(t, s, "three", "", "Last-Event-ID", seen)} {
		back.seats = []byte("fh" + all[2:])
		if got := back.hears("ffb" + all[3:]); got.kind != "changes" || len(got.data.Changes) != 2 {
			t.Errorf("got %+v, want two changes", got)
		}
	}
	// With a version of nobody, or of another booker: the whole map.
	for _, since := range []string{"x", "x.1.1", strings.Split(seen, ".")[0] + ".0.0", "%0a.%00"} {
		if got := listen(t, s, "p"+since, "since="+since).hears("ffb" + all[3:]); got.kind != "seats" {
			t.Errorf("since %s: got %+v, want the whole map", since, got)
		}
	}
	// So much at once that the whole map is shorter.
	err := b.DB.Tx(t.Context(), func(tx *sqlx.Tx) error {
		if _, err := tx.Exec("UPDATE seats SET state = 'held' WHERE state = 'free'"); err != nil {
			return err
		}
		var changes []seat.Seat
		for i := range 300 {
			if i != 2 {
				changes = append(changes, seat.Seat{ID: seat.ID(fmt.Sprintf("%s-%d", seat.Row(i/10), i%10+1)), State: seat.Held})
			}
		}
		return seatmap.Log(t.Context(), tx, "gig", time.Now(), changes)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := first.hears("hhb" + strings.Repeat("h", 297)); got.kind != "seats" {
		t.Errorf("got %+v, want the whole map", got)
	}
}

// At most four events a second, whatever happens.
func TestStreamIsPaced(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 100, nil)
	s := streams(t, maps(t, b.DB, nil))
	l := listen(t, s, "one", "")
	l.hears(strings.Repeat("f", 100))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // ends when the listener has heard enough
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				mustSet(t, b.DB, "gig", seat.ID(fmt.Sprintf("A-%d", i%10+1)), []seat.State{seat.Held, seat.Free}[i/10%2])
			}
		}
	}()
	l.next()
	began := time.Now()
	for range 8 {
		l.next()
	}
	if took := time.Since(began); took < 7*250*time.Millisecond {
		t.Errorf("got 8 events in %v, want at most four a second", took)
	}
	close(stop)
	<-done
}

func TestStreamEnds(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 2, nil)
	m := maps(t, b.DB, func(_ *seatmap.Parts, c *seatmap.Config) { c.MaxStreams = 3 })
	s := streams(t, m)
	bye := func(l *listener, reason string) told {
		t.Helper()
		for {
			switch e := l.next(); e.kind {
			case "":
				t.Fatalf("got the end, want bye for %s", reason)
			case "bye":
				if e.data.Reason != reason {
					t.Errorf("got bye for %s, want %s", e.data.Reason, reason)
				}
				if end := l.next(); end.kind != "" {
					t.Errorf("got %+v after bye, want the end", end)
				}
				return e
			}
		}
	}
	bye(listen(t, s, "one", "left=50"), "pass")

	// A third of one pass ends the oldest.
	one, two := listen(t, s, "one", ""), listen(t, s, "one", "")
	one.hears("ff")
	two.hears("ff")
	three := listen(t, s, "one", "")
	bye(one, "tabs")
	three.hears("ff")
	gone(t, m, 2)

	// Beyond --max-streams none is opened; a closed one makes place.
	other := listen(t, s, "other", "")
	other.hears("ff")
	if refused := listen(t, s, "late", ""); refused.answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", refused.answer.StatusCode)
	}
	two.answer.Body.Close()
	gone(t, m, 2)
	again := listen(t, s, "late", "")
	again.hears("ff")

	m.Drain()
	m.Drain()
	for _, l := range []*listener{three, other, again} {
		if e := bye(l, "draining"); e.data.RetryMS < 1 || e.data.RetryMS >= 4000 {
			t.Errorf("got retry_ms %d, want 1 to 4000", e.data.RetryMS)
		}
	}
	if refused := listen(t, s, "one", ""); refused.answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("while draining: got %d, want 503", refused.answer.StatusCode)
	}
	gone(t, m, 0)
}

// gone waits until so many streams are open.
func gone(t testing.TB, m *seatmap.Maps, open int) {
	t.Helper()
	for end := time.Now().Add(soon); m.Streams() != open; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %d streams, want %d", m.Streams(), open)
		}
	}
}

// A stream outlives the deadlines of its port and says that it lives.
func TestStreamBeats(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 2, nil)
	l := listen(t, streams(t, maps(t, b.DB, nil)), "one", "")
	l.hears("ff")
	line, err := l.lines.ReadString('\n')
	if err != nil || line != ": beat\n" {
		t.Errorf("got %q, %v, want a beat", line, err)
	}
	mustSet(t, b.DB, "gig", "A-1", seat.Held)
	l.hears("hf")
}

// Who does not read is told, once it reads again, what is then, in one event; the
// others hear everything at once. Nothing is queued for it.
func TestSlowReader(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 20, nil)
	m := maps(t, b.DB, nil)
	slow := &stuck{header: http.Header{}, goOn: make(chan struct{}), wrote: make(chan string, 100)}
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { // ends with leave
		ended <- m.Live(slow, httptest.NewRequest("GET", "/live", nil).WithContext(ctx), "gig", "slow", time.Hour)
	}()
	l := listen(t, streams(t, m), "one", "")
	l.hears(strings.Repeat("f", 20))
	want := bytes.Clone(l.seats)
	for i := range 4 {
		mustSet(t, b.DB, "gig", seat.ID(fmt.Sprintf("A-%d", i+1)), seat.Held)
		want[i] = 'h'
		l.hears(string(want))
	}
	close(slow.goOn) // the first write, of the whole map, is through
	<-slow.wrote
	if got := <-slow.wrote; !strings.Contains(got, `"seats":"hhhh`) && !strings.Contains(got, `{"h":[0,1,2,3]}`) {
		t.Errorf("got %q, want four changes at once", got)
	}
	leave()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want a stream that ended", err)
	}
}

// stuck takes no byte until goOn is closed.
type stuck struct {
	header http.Header
	goOn   chan struct{}
	wrote  chan string
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) Flush()              {}
func (s *stuck) Write(b []byte) (int, error) {
	<-s.goOn
	s.wrote <- string(b)
	return len(b), nil
}

// A peer that takes nothing more is cut.
func TestDeadReaderIsCut(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 20, nil)
	m := maps(t, b.DB, nil)
	dead := &late{stuck: stuck{header: http.Header{}}}
	if err := m.Live(dead, httptest.NewRequest("GET", "/live", nil), "gig", "dead", time.Hour); err != nil {
		t.Errorf("got %v, want a stream that ended", err)
	}
	if dead.deadline.IsZero() || time.Until(dead.deadline) > 10*time.Second {
		t.Errorf("got a deadline of %v, want 10 s from the write at most", dead.deadline)
	}
	gone(t, m, 0)
}

// A pass has two streams, whatever it opens and however long its writes hang, and who
// waits for nobody hears everything at once.
func TestHangingStreamsOfAPass(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 20, nil)
	// A map that no buffer takes whole: 400 KB.
	ids := make([]seat.Seat, 0, seat.MaxPerRoom)
	for i := range cap(ids) {
		ids = append(ids, seat.Seat{ID: seat.ID(fmt.Sprintf("%s-%d", seat.Row(i/200), i%200+1)), State: seat.Free})
	}
	m := maps(t, b.DB, func(p *seatmap.Parts, _ *seatmap.Config) {
		p.Load = func(context.Context, room.Name) ([]seat.Seat, error) { return ids, nil }
	})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.Live(w, r, "gig", r.Header.Get("Authorization"), time.Hour); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(m.Drain) // or what hangs would keep the server
	// hang opens a stream over a connection that takes a few KB, and reads its head only.
	hang := func() {
		t.Helper()
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(c, "GET /live HTTP/1.1\r\nHost: a\r\nAuthorization: rude\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(soon))
		head, err := bufio.NewReaderSize(c, 16).ReadString('\n')
		if err != nil || !strings.Contains(head, " 200 ") {
			t.Fatalf("got %q, %v, want a stream", head, err)
		}
	}
	polite := listen(t, s, "polite", "")
	polite.hears(strings.Repeat("f", len(ids)))
	for i := range 6 {
		hang()
		if n := m.Streams(); n > 1+seatmap.PerPass {
			t.Fatalf("after %d streams of a pass: got %d open, want 2 of it and another's", i+1, n)
		}
	}
	began := time.Now()
	mustSet(t, b.DB, "gig", "A-2", seat.Held)
	polite.hears("fh" + strings.Repeat("f", len(ids)-2))
	if took := time.Since(began); took > time.Second {
		t.Errorf("another's stream beside hanging ones: got a change after %v, want it within a second", took)
	}
}

// A write that no deadline ends keeps its place: the pass's next stream is refused.
func TestAWriteWithoutEndKeepsItsPlace(t *testing.T) {
	b := bookingtest.New(t, bookingtest.SQLite(t), 20, nil)
	m := maps(t, b.DB, nil)
	goOn := make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error)
	for range seatmap.PerPass {
		go func() { // ends with goOn
			hanging := &stuck{header: http.Header{}, goOn: goOn, wrote: make(chan string, 100)}
			ended <- m.Live(hanging, httptest.NewRequest("GET", "/live", nil).WithContext(ctx), "gig", "rude", time.Hour)
		}()
	}
	gone(t, m, seatmap.PerPass)
	const more = 3
	for range more {
		go func() { // ends when it is refused
			ended <- m.Live(httptest.NewRecorder(), httptest.NewRequest("GET", "/live", nil), "gig", "rude", time.Hour)
		}()
	}
	for range more {
		if err := <-ended; !errors.Is(err, seat.ErrBusy) {
			t.Errorf("a further stream: got %v, want it refused", err)
		}
	}
	if n := m.Streams(); n != seatmap.PerPass {
		t.Errorf("got %d streams, want %d", n, seatmap.PerPass)
	}
	leave()
	close(goOn)
	for range seatmap.PerPass {
		if err := <-ended; err != nil {
			t.Errorf("got %v, want a stream that ended", err)
		}
	}
	gone(t, m, 0)
}

// late is a connection whose peer reads nothing: a write ends at its deadline.
type late struct {
	stuck
	deadline time.Time
}

func (l *late) SetWriteDeadline(at time.Time) error { l.deadline = at; return nil }
func (l *late) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Err: timeout{}}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Is(e error) bool { return e.Error() == "i/o timeout" }
