package socket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if runAsChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// listen serves Accept over HTTP; every connection gets the handler of make.
func listen(t testing.TB, s *Server, make func(*Conn) Handler) *httptest.Server {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := s.Accept(w, r); err == nil {
			c.Start(make(c))
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// echo answers each message with itself.
type echo struct{ conn *Conn }

func (e echo) Message(text []byte) { e.conn.Send(text) }
func (e echo) Ended(Why)           {}
func (e echo) Released()           {}

// The library's client talks to us: texts of all sizes, pings, its close.
func TestClientOfTheLibrary(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		s.subprotocols = []string{"waitroom.v1"}
		said := make(chan Why, 1)
		h := listen(t, s, func(c *Conn) Handler {
			r := newRecorder()
			r.message = func(text string) { c.Send([]byte(text)) }
			r.ended = func(why Why) { said <- why }
			return r
		})
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, h.URL, &websocket.DialOptions{Subprotocols: []string{"waitroom.v1"}, HTTPClient: &http.Client{Transport: &http.Transport{}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := ws.Subprotocol(); got != "waitroom.v1" {
			t.Errorf("got subprotocol %q", got)
		}
		for _, n := range []int{0, 1, 125, 126, 127, 1000, 4096} {
			text := strings.Repeat("ä", n/2) + strings.Repeat("x", n%2)
			if err := ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := ws.Read(ctx); err != nil || string(got) != text {
				t.Fatalf("%d bytes: got %q, %v", n, got, err)
			}
		}
		reading := ws.CloseRead(ctx)
		if err := ws.Ping(ctx); err != nil {
			t.Errorf("ping: %v", err)
		}
		if got := s.Open(); got != 1 {
			t.Errorf("got %d open connections, want 1", got)
		}
		if err := ws.Close(4321, "bye"); err != nil && !strings.Contains(err.Error(), "4321") {
			t.Errorf("close: %v", err)
		}
		<-reading.Done()
		if why := <-said; why != Left {
			t.Errorf("got %s, want left", why)
		}
		over(t, s)
		if s.Open() != 0 || s.Ended(Left) != 1 {
			t.Errorf("got %d open and %d ended, want 0 and 1", s.Open(), s.Ended(Left))
		}
	})
}

const handshake = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// What comes in one packet with the handshake is not lost, be it whole frames or
// part of one.
func TestEarlyFrames(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		h := listen(t, s, func(c *Conn) Handler { return echo{c} })
		frames := join(masked(true, opText, []byte("one")), masked(true, opText, []byte("two")))
		for at := range len(frames) + 1 {
			nc, err := net.Dial("tcp", h.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.SetDeadline(time.Now().Add(wait)); err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Write(append([]byte(handshake), frames[:at]...)); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(nc)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Fatalf("got %v, %v", resp, err)
			}
			if _, err := nc.Write(frames[at:]); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"one", "two"} {
				if _, p, err := readFrame(r); err != nil || string(p) != want {
					t.Errorf("torn at %d: got %q, %v, want %s", at, p, err, want)
				}
			}
			_ = nc.Close()
		}
	})
}

// A stream torn in two anywhere, so that the halves are read apart, means the
// same, and leaves nothing behind.
func TestTornAnywhere(t *testing.T) {
	stream := join(masked(false, opText, []byte("on")), masked(true, opPing, []byte("p")), masked(true, opMore, []byte("e")),
		masked(true, opText, []byte(strings.Repeat("x", 130))), masked(true, opClose, []byte{0x0f, 0xa0}))
	onBoth(t, func(t *testing.T, s *Server) {
		for at := 1; at < len(stream); at++ {
			c, peer, r := started(t, s)
			say(stream[:at])(t, c, peer)
			parked(t, c, func() bool { return c.fd < 0 || !readable(uintptr(c.fd)) })
			say(stream[at:])(t, c, peer)
			r.wants(t, heard{text: "one"}, heard{text: strings.Repeat("x", 130)}, heard{why: Left})
			b := bufio.NewReader(peer)
			if op, p, err := readFrame(b); err != nil || op != opPong || string(p) != "p" {
				t.Fatalf("torn at %d: got %d %q, %v, want a pong", at, op, p, err)
			}
			if op, p, err := readFrame(b); err != nil || op != opClose || closeCode(p) != 4000 {
				t.Fatalf("torn at %d: got %d %x, %v, want the close frame", at, op, p, err)
			}
			_ = peer.Close()
		}
		over(t, s)
	})
}

// A request that is no handshake is answered as such, and costs no connection.
func TestNoHandshake(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		w := httptest.NewRecorder()
		if _, err := s.Accept(w, httptest.NewRequest("GET", "/", nil)); err == nil || w.Code != http.StatusUpgradeRequired {
			t.Errorf("got %v and %d, want an error and 426", err, w.Code)
		}
		h := listen(t, s, func(c *Conn) Handler { return echo{c} })
		s.Close()
		nc, err := net.Dial("tcp", h.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := nc.SetDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(nc, handshake); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("a closed server: got %v, want the end", err)
		}
	})
}

// Each way to end is told once, with its reason, and the peer has the code.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, c *Conn, peer *net.TCPConn)
		why  Why
		code int // -1: no close frame
	}{
		{"vanished", func(_ *testing.T, _ *Conn, peer *net.TCPConn) { _ = peer.CloseWrite() }, Gone, -1},
		{"reset", func(_ *testing.T, _ *Conn, peer *net.TCPConn) { _ = peer.SetLinger(0); _ = peer.Close() }, Gone, -1},
		{"left", say(masked(true, opClose, []byte{0x0f, 0xa0})), Left, 4000},
		{"left without a code", say(masked(true, opClose, nil)), Left, 0},
		{"closed", func(_ *testing.T, c *Conn, _ *net.TCPConn) { c.Close(4001) }, Closed, 4001},
		{"silent", func(_ *testing.T, c *Conn, _ *net.TCPConn) {
			c.Within(time.Second)
			c.server.tend(c.server.now() + int64(time.Second) + 2*wheelTick)
		}, Silent, 1008},
		{"binary", say(masked(true, opBinary, nil)), Binary, 1003},
		{"broken", say([]byte{0x81, 0}), Broken, 1002},
		{"not text", say(masked(true, opText, []byte{0xff})), NotText, 1007},
		{"too long", say(masked(true, opText, make([]byte, 5000))), TooLong, 1009},
		{"far too long", say(masked(true, opText, make([]byte, 1<<20))[:100]), TooLong, 1009},
		{"cut", func(_ *testing.T, c *Conn, _ *net.TCPConn) { go c.server.Close() }, Cut, -1}, // the test's end waits for it
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *Server) {
				conn, peer, r := started(t, s)
				c.do(t, conn, peer)
				r.wants(t, heard{why: c.why})
				if _, code := ends(t, peer); code != c.code {
					t.Errorf("got close code %d, want %d", code, c.code)
				}
				_ = peer.Close()
				for end := time.Now().Add(wait); s.Open() > 0; runtime.Gosched() {
					if time.Now().After(end) {
						t.Fatal("the connection is still open")
					}
				}
				if got := r.released.Load(); got != 1 {
					t.Errorf("got told %d times that the descriptor is gone, want once", got)
				}
				_ = peer.Close()
				over(t, s)
				if got := s.Ended(c.why); got != 1 {
					t.Errorf("got %d counted as %s, want 1", got, c.why)
				}
				if len(r.said) > 0 {
					t.Errorf("got %+v told after the end", <-r.said)
				}
			})
		})
	}
}

func say(b []byte) func(*testing.T, *Conn, *net.TCPConn) {
	return func(t *testing.T, _ *Conn, peer *net.TCPConn) {
		if _, err := peer.Write(b); err != nil {
			t.Error(err)
		}
	}
}

// A handler has the last word on who broke a rule, and chooses the code.
func TestLastWords(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer := pair(t, s, nil)
		r := newRecorder()
		r.ended = func(why Why) {
			c.Send([]byte("error " + why.String()))
			c.Close(4503)
		}
		c.Start(r)
		say(join(masked(true, opText, []byte("one")), masked(true, opBinary, nil), masked(true, opText, []byte("late"))))(t, c, peer)
		r.wants(t, heard{text: "one"}, heard{why: Binary})
		if last, code := ends(t, peer); last != "error binary" || code != 4503 {
			t.Errorf("got %q and %d, want error binary and 4503", last, code)
		}
	})
}

// Once it is closed, a message that came in the same packet is not told.
func TestNothingAfterClose(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer := pair(t, s, nil)
		r := newRecorder()
		r.message = func(string) { c.Close(4000) }
		c.Start(r)
		say(join(masked(true, opText, []byte("one")), masked(true, opText, []byte("two"))))(t, c, peer)
		r.wants(t, heard{text: "one"}, heard{why: Closed})
		_ = peer.Close()
		over(t, s)
		if len(r.said) > 0 {
			t.Errorf("got %+v told after the end", <-r.said)
		}
	})
}

// A message takes the limit of Within away; one set while it is handled holds for
// the next.
func TestWithin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer := pair(t, s, nil)
		r := newRecorder()
		handled := make(chan struct{})
		r.message = func(text string) {
			if text == "again" {
				c.Within(time.Minute)
			}
			handled <- struct{}{}
		}
		c.Start(r)
		c.Within(5 * time.Second)
		say(masked(true, opText, []byte("one")))(t, c, peer)
		r.wants(t, heard{text: "one"})
		<-handled
		s.tend(s.now() + int64(10*time.Second)) // nothing is due
		say(masked(true, opText, []byte("again")))(t, c, peer)
		r.wants(t, heard{text: "again"})
		<-handled
		c.mu.Lock()
		due := c.due
		c.mu.Unlock()
		s.tend(due - 1)
		s.tend(due + 2*wheelTick)
		r.wants(t, heard{why: Silent})
	})
}

// A limit that is put off, brought forward and taken away is met as it was said
// last.
func TestWithinMoves(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		later, _, rl := started(t, s)
		sooner, _, rs := started(t, s)
		never, _, rn := started(t, s)
		now := s.now()
		later.Within(time.Second)
		later.Within(time.Minute)
		sooner.Within(time.Minute)
		sooner.Within(time.Second)
		never.Within(time.Second)
		never.Within(0)
		s.tend(now + int64(2*time.Second))
		rs.wants(t, heard{why: Silent})
		if len(rl.said) > 0 {
			t.Error("got the one that was put off ended")
		}
		s.tend(now + int64(2*time.Minute))
		rl.wants(t, heard{why: Silent})
		if len(rn.said) > 0 {
			t.Error("got the one without a limit ended")
		}
		s.wheel.mu.Lock()
		defer s.wheel.mu.Unlock()
		if got := len(s.wheel.ticks); got > 2 {
			t.Errorf("got %d ticks kept, want those of two graces at most", got)
		}
	})
}

// Close waits for a handler that is at work, and tells each that it was cut.
func TestServerClose(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer := pair(t, s, nil)
		r := newRecorder()
		block := make(chan struct{})
		r.message = func(string) { <-block }
		c.Start(r)
		_, _, silent := started(t, s)
		say(masked(true, opText, []byte("one")))(t, c, peer)
		r.wants(t, heard{text: "one"})
		closed := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { s.Close(); close(closed) })
		silent.wants(t, heard{why: Cut})
		select {
		case <-closed:
			t.Error("Close returned while a handler was at work")
		default:
		}
		close(block)
		r.wants(t, heard{why: Cut})
		wg.Wait()
		if _, err := s.adopt(nil, nil); err == nil {
			t.Error("got a connection accepted by a closed server")
		}
	})
}

// Who goes over all connections has the handlers of those that serve.
func TestHandlers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		waiting, _ := pair(t, s, nil)
		defer waiting.Start(newRecorder()) // else Close would wait for it
		_, _, one := started(t, s)
		_, peer, two := started(t, s)
		if got := s.Handlers(); len(got) != 2 || got[0] != one || got[1] != two {
			t.Errorf("got %v, want the two that were started", got)
		}
		_ = peer.Close()
		two.wants(t, heard{why: Gone})
		if got := s.Handlers(); len(got) != 1 || got[0] != one {
			t.Errorf("got %v, want the one that has not ended", got)
		}
	})
}

// Drain waits for those that end by themselves, for as long as it is given, and
// cuts the rest.
func TestDrain(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		polite, peer, r := started(t, s)
		polite.Close(4000)
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := s.Drain(t.Context()); got != 0 {
				t.Errorf("got %d cut, want none", got)
			}
		})
		r.wants(t, heard{why: Closed})
		ends(t, peer)
		_ = peer.Close()
		wg.Wait()
	})
	onBoth(t, func(t *testing.T, s *Server) {
		deaf, _, r := started(t, s)
		deaf.Close(4000)
		r.wants(t, heard{why: Closed})
		_, _, silent := started(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := s.Drain(ctx); got != 2 {
			t.Errorf("got %d cut, want 2", got)
		}
		silent.wants(t, heard{why: Cut})
	})
}

// The HTTP server's request does not live on with its connection.
func TestNothingOfTheRequestIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		gone := make(chan struct{})
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			runtime.AddCleanup(r, func(struct{}) { close(gone) }, struct{}{})
			if c, err := s.Accept(w, r); err == nil {
				c.Start(echo{c})
			}
		}))
		t.Cleanup(h.Close)
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, h.URL, &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{}}})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		for {
			runtime.GC()
			select {
			case <-gone:
				if got := s.Open(); got != 1 {
					t.Errorf("got %d open connections, want 1", got)
				}
				return
			case <-ctx.Done():
				t.Fatal("the request is kept")
			default:
			}
		}
	})
}

func TestWhysHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, why := range Whys() {
		if name := why.String(); name == "" || seen[name] {
			t.Errorf("%d: got name %q, want one of its own", why, name)
		}
		seen[why.String()] = true
	}
}

// What can't be kept is told apart from a handshake that failed.
func TestNotTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := s.adopt(nc, make([]byte, roomFor(s.limit)+1)); !errors.Is(err, ErrNotTaken) || s.Open() != 0 {
			t.Errorf("more bytes with the handshake than are read at once: got %v and %d open, want %v and none", err, s.Open(), ErrNotTaken)
		}
		_ = nc.Close()
		if _, err := s.adopt(nc, nil); !errors.Is(err, ErrNotTaken) || s.Open() != 0 {
			t.Errorf("no descriptor: got %v and %d open, want %v and none", err, s.Open(), ErrNotTaken)
		}
	})
}
