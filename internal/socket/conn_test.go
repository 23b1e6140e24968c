package socket

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const wait = 15 * time.Second // for any one fact; nothing here takes a tenth of it

// onBoth runs a test over each waiter there is.
func onBoth(t *testing.T, test func(t *testing.T, s *Server)) {
	for _, w := range waiters {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, serve(t, w.make, Options{}))
		})
	}
}

// serve makes a server that ends with the test. Its janitor looks when the test
// says so.
func serve(t testing.TB, make func(testing.TB) waiter, o Options) *Server {
	t.Helper()
	s := newServer(o, make(t))
	t.Cleanup(s.Close)
	return s
}

// heard is what a handler was told: a text, or why it ended.
type heard struct {
	text string
	why  Why
}

// recorder is a handler that writes down what it is told.
type recorder struct {
	said    chan heard
	message func(string) // what it does with a message; nil: nothing
	ended   func(Why)

	released atomic.Int32 // times
}

func (r *recorder) Released() { r.released.Add(1) }

func newRecorder() *recorder { return &recorder{said: make(chan heard, 1000)} }

func (r *recorder) Message(text []byte) {
	r.said <- heard{text: string(text)}
	if r.message != nil {
		r.message(string(text))
	}
}

func (r *recorder) Ended(why Why) {
	if r.ended != nil {
		r.ended(why)
	}
	r.said <- heard{why: why}
}

// next waits for the next thing it is told.
func (r *recorder) next(t testing.TB) heard {
	t.Helper()
	select {
	case h := <-r.said:
		return h
	case <-time.After(wait):
		t.Fatal("the handler was told nothing")
		return heard{}
	}
}

// wants waits for exactly these.
func (r *recorder) wants(t testing.TB, want ...heard) {
	t.Helper()
	for _, w := range want {
		if got := r.next(t); got != w {
			t.Fatalf("got %+v, want %+v", got, w)
		}
	}
}

// pair is our connection and the TCP connection of its peer, whose buffer is
// small.
func pair(t testing.TB, s *Server, early []byte) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer := nc.(*net.TCPConn)
	if err := peer.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if err := peer.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.adopt(server, early)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	return c, peer
}

// started is a pair whose handler writes down.
func started(t testing.TB, s *Server) (*Conn, *net.TCPConn, *recorder) {
	t.Helper()
	c, peer := pair(t, s, nil)
	r := newRecorder()
	c.Start(r)
	return c, peer, r
}

// readFrame reads one frame of the server.
func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xF0 != 0x80 {
		return 0, nil, fmt.Errorf("frame begins with %#x: torn", head[0])
	}
	n := int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(r, head[2:4]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:4]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0x0F, payload, err
}

// ends reads to the close frame and the end of the stream, and returns the last
// text and the code; 0: the frame had none; -1: there was no frame.
func ends(t testing.TB, peer net.Conn) (last string, code int) {
	t.Helper()
	r := bufio.NewReader(peer)
	code = -1
	for {
		op, payload, err := readFrame(r)
		switch {
		case err != nil && code == -1:
			return last, code
		case err != nil:
			if err != io.EOF {
				t.Errorf("after the close frame: got %v, want the end", err)
			}
			return last, code
		case code != -1:
			t.Errorf("got a frame %d %q behind the close frame", op, payload)
		case op == opText:
			last = string(payload)
		case op == opClose:
			code = closeCode(payload)
		}
	}
}

// fill offers frames until the peer takes no more.
func fill(t testing.TB, c *Conn) (taken int) {
	t.Helper()
	for i := 0; ; i++ {
		if !c.TrySend(fmt.Appendf(nil, "offer %d %s", i, strings.Repeat("x", i%300))) {
			return i
		}
		if i > 1_000_000 {
			t.Fatal("the peer takes everything: the test proves nothing")
		}
	}
}

// A peer that reads nothing tears a frame; two writers go on beside it, and the
// janitor. When it reads again, every frame is whole and what was told is there,
// in order.
func TestTornFramesStayWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer, _ := started(t, s)
		taken := fill(t, c)
		c.Send([]byte("told first")) // torn, if no offer was
		if c.TrySend([]byte("lost")) {
			t.Error("got an offer taken by a busy connection")
		}
		if got := s.Busy(); got != 1 {
			t.Errorf("got %d busy connections, want 1", got)
		}
		const told = 20
		start := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			<-start
			for i := range told {
				c.Send(fmt.Appendf(nil, "told %d", i))
			}
		})
		wg.Go(func() { // a ping, which the worker answers
			<-start
			if _, err := peer.Write(masked(true, opPing, []byte("p"))); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
		ended := make(chan struct{})
		wg.Go(func() { // the janitor
			<-start
			for tick := time.NewTicker(time.Millisecond); ; {
				select {
				case <-tick.C:
					s.tend(s.now())
				case <-ended:
					tick.Stop()
					return
				}
			}
		})
		close(start)
		r := bufio.NewReader(peer)
		offers, tells, pongs := 0, 0, 0
		for tells < told || pongs == 0 {
			op, payload, err := readFrame(r)
			if err != nil {
				t.Fatalf("after %d offers and %d told: %v", offers, tells, err)
			}
			switch text := string(payload); {
			case op == opPong:
				pongs++
			case strings.HasPrefix(text, "offer "):
				if want := fmt.Sprintf("offer %d %s", offers, strings.Repeat("x", offers%300)); text != want {
					t.Fatalf("got %q, want %q", text, want)
				}
				offers++
			case text == "told first":
			case text == fmt.Sprintf("told %d", tells):
				tells++
			default:
				t.Fatalf("got %q out of order", text)
			}
		}
		close(ended)
		wg.Wait()
		if offers < taken {
			t.Errorf("got %d offers, want the %d that were taken", offers, taken)
		}
		s.tend(s.now())
		if got := s.Busy(); got != 0 {
			t.Errorf("got %d busy connections, want 0: it reads again", got)
		}
	})
}

// What is kept for a peer that reads nothing is bounded; beyond it the connection
// ends.
func TestTailIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, _, r := started(t, s)
		fill(t, c)
		text := []byte(strings.Repeat("x", 100))
		for range maxTail/len(text) + 2 {
			c.Send(text)
			c.mu.Lock()
			if len(c.tail) > maxTail {
				t.Errorf("got %d bytes kept, want at most %d", len(c.tail), maxTail)
			}
			c.mu.Unlock()
		}
		r.wants(t, heard{why: Slow})
		if c.TrySend(text) {
			t.Error("got a frame taken by an ended connection")
		}
	})
}

func TestStuckIsCut(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		_, _, idle := started(t, s)
		c, peer, r := started(t, s)
		fill(t, c)
		c.Send([]byte("told"))
		s.tend(s.now() + stuckAfter - int64(time.Second))
		c.Send([]byte("told")) // it is there yet
		s.tend(s.now() + stuckAfter)
		r.wants(t, heard{why: Slow})
		if len(idle.said) > 0 {
			t.Error("got an idle connection ended")
		}
		// The peer reads to an end, not for ever.
		if _, err := io.Copy(io.Discard, peer); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("got %v, want the end of the stream", err)
		}
		if got := s.Ended(Slow); got != 1 {
			t.Errorf("got %d counted as slow, want 1", got)
		}
	})
}

// The close frame comes after everything told, then the end of the stream.
func TestCloseComesLast(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer, r := started(t, s)
		c.Send([]byte("last words"))
		c.Close(4000)
		c.Close(4500) // a second one says nothing
		if c.TrySend([]byte("more")) {
			t.Error("got a frame taken after the close frame")
		}
		c.mu.Lock()
		if c.fd < 0 {
			t.Error("got it cut; the peer's answer was to be awaited")
		}
		c.mu.Unlock()
		r.wants(t, heard{why: Closed})
		if _, err := peer.Write(append(masked(true, opPing, nil), masked(true, opText, []byte("late"))...)); err != nil {
			t.Fatal(err)
		}
		if last, code := ends(t, peer); last != "last words" || code != 4000 {
			t.Errorf("got %q and %d, want the last words and 4000", last, code)
		}
		_ = peer.Close()
		s.Close() // returns when all is told
		if len(r.said) > 0 {
			t.Errorf("got %+v told after the end", <-r.said)
		}
	})
}

// The close frame is torn too: it goes on behind the tail, and the end of the
// stream behind it.
func TestCloseOfBusyConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer, _ := started(t, s)
		fill(t, c)
		c.Send([]byte("last words"))
		c.Close(4000)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		if last, code := ends(t, peer); last != "last words" || code != 4000 {
			t.Errorf("got %q and %d, want the last words and 4000", last, code)
		}
		stop()
		wg.Wait()
	})
}

// A peer that does not answer a close frame has a few seconds.
func TestGraceOfClose(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, _, r := started(t, s)
		c.Close(4000)
		r.wants(t, heard{why: Closed})
		s.tend(s.now() + closeGrace - int64(time.Second))
		if s.Open() != 1 {
			t.Error("got it cut before its time")
		}
		s.tend(s.now() + closeGrace + 2*wheelTick)
		over(t, s)
	})
}

// An unread message does not take the last words with it, and what is read away
// is bounded.
func TestUnreadBytesAreReadAway(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer, r := started(t, s)
		block := make(chan struct{})
		r.message = func(string) { <-block }
		if _, err := peer.Write(masked(true, opText, []byte("one"))); err != nil {
			t.Fatal(err)
		}
		r.wants(t, heard{text: "one"})
		if _, err := peer.Write(make([]byte, 20<<10)); err != nil {
			t.Fatal(err)
		}
		c.Send([]byte("last words"))
		c.Close(4000)
		close(block)
		if last, code := ends(t, peer); last != "last words" || code != 4000 {
			t.Errorf("got %q and %d, want the last words and 4000", last, code)
		}
		for range 100 {
			if _, err := peer.Write(make([]byte, 4<<10)); err != nil {
				break // it is cut
			}
		}
		over(t, s)
		if most := drainBytes + roomFor(s.limit); c.away > most {
			t.Errorf("got %d bytes read away, want at most %d", c.away, most)
		}
	})
}

// A frame costs nothing.
func TestSendDoesNotAllocate(t *testing.T) {
	for _, w := range waiters { // not side by side: allocations are counted
		s := serve(t, w.make, Options{})
		c, peer, _ := started(t, s)
		go func() { _, _ = io.Copy(io.Discard, peer) }() // ends with the connection
		text := []byte(`{"type":"position","position":12345,"waiting":67890}`)
		for name, act := range map[string]func(){
			"TrySend": func() { c.TrySend(text) },
			"Send":    func() { c.Send(text) },
			"Within":  func() { c.Within(0) },
		} {
			if n := testing.AllocsPerRun(1000, act); n != 0 {
				t.Errorf("%s, %s: got %v allocations, want 0", w.name, name, n)
			}
		}
	}
}

func BenchmarkTrySend(b *testing.B) {
	for _, w := range waiters {
		b.Run(w.name, func(b *testing.B) {
			c, peer, _ := started(b, serve(b, w.make, Options{}))
			if err := peer.SetReadBuffer(1 << 20); err != nil {
				b.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, peer) }() // ends with the connection
			text := []byte(`{"type":"position","position":12345,"waiting":67890}`)
			b.ReportAllocs()
			for b.Loop() {
				c.TrySend(text)
			}
		})
	}
}

// A message and its answer, from the peer's write to its read.
func BenchmarkMessage(b *testing.B) {
	for _, w := range waiters {
		b.Run(w.name, func(b *testing.B) {
			c, peer := pair(b, serve(b, w.make, Options{}), nil)
			c.Start(echo{c})
			if err := peer.SetDeadline(time.Time{}); err != nil {
				b.Fatal(err)
			}
			text := masked(true, opText, []byte(`{"type":"claim"}`))
			answer := make([]byte, len(text)-4)
			b.ReportAllocs()
			for b.Loop() {
				c.mu.Lock()
				c.budget = newBudget(c.server.now()) // the worker is at rest, or about to
				c.mu.Unlock()
				if _, err := peer.Write(text); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(peer, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// over waits until every connection has ended.
func over(t testing.TB, s *Server) {
	t.Helper()
	done := make(chan struct{})
	go func() { // ends with the server at the latest
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(wait):
		t.Fatalf("waited in vain until all have ended; %d have not", s.Open())
	}
}

// A peer that reads everything again is busy no more, even if nothing more is said to
// it: it must not be cut for what it has made good.
func TestReadsAgainAndHearsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer, _ := started(t, s)
		for {
			fill(t, c)
			c.mu.Lock()
			whole := len(c.tail) <= 2 // the last text was refused whole: nothing of it is kept
			c.mu.Unlock()
			if whole {
				break
			}
			drainPeer(t, peer)
			s.tend(s.now())
		}
		for end := time.Now().Add(wait); s.Busy() != 0; s.tend(s.now()) {
			drainPeer(t, peer)
			if time.Now().After(end) {
				t.Fatal("got a connection counted as busy though its peer reads everything")
			}
		}
		s.tend(s.now() + stuckAfter)
		if why := c.ended(); why != 0 {
			t.Errorf("got ended as %v although the peer reads", why)
		}
	})
}

// drainPeer reads what there is, until nothing comes for a while.
func drainPeer(t *testing.T, peer *net.TCPConn) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		if err := peer.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Read(buf); err != nil {
			break
		}
	}
	_ = peer.SetReadDeadline(time.Time{})
}

func (c *Conn) ended() Why {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// What the wheel still keeps of an ended connection does not keep its handler.
func TestEndedLetsItsHandlerGo(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer, r := started(t, s)
		c.Within(time.Minute)
		_ = peer.SetLinger(0)
		_ = peer.Close()
		r.wants(t, heard{why: Gone})
		for end := time.Now().Add(wait); s.Open() > 0; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatal("the connection is still open")
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.handler != nil {
			t.Error("got the handler kept")
		}
	})
}

// Handlers leaves out who was told that it is over.
func TestHandlersAreOfTheLiving(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		_, peer, r := started(t, s)
		_, _ = peer.Write([]byte{0x81, 0}) // not masked
		r.wants(t, heard{why: Broken})
		if got := len(s.Handlers()); got != 0 || s.Open() != 1 {
			t.Errorf("got %d handlers and %d open, want none and one: its descriptor is there", got, s.Open())
		}
	})
}
