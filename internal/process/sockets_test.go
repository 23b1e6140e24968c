package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// pipes is a listener without a network, for a bubble of synctest.
type pipes struct {
	dialled chan net.Conn
	failing chan error
	closed  chan struct{}
	once    sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialled:
		return c, nil
	case err := <-p.failing:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// port is a Sockets that serves, within a bubble.
type port struct {
	*Sockets
	t    *testing.T
	l    *pipes
	logs *observer.ObservedLogs
}

const testIdle = 20 * time.Second

// onPort tells a story of a port with most sockets, whose handler is h.
func onPort(t *testing.T, most int, h http.HandlerFunc, story func(*port)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		p := &port{t: t, logs: logs, Sockets: NewSockets(most, testIdle, zap.New(core), prometheus.NewRegistry()),
			l: &pipes{dialled: make(chan net.Conn), failing: make(chan error), closed: make(chan struct{})}}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- p.Serve(ctx, p.l, h, time.Minute) }() // ends with ctx, awaited below
		story(p)
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the end: got %v, want none", err)
		}
		synctest.Wait()
		if n := p.count(); n != 0 {
			t.Errorf("at the end: got %d sockets counted, want 0", n)
		}
	})
}

// peer is the far end of a socket.
type peer struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// dial comes in and says nothing.
func (p *port) dial() *peer {
	p.t.Helper()
	near, far := net.Pipe()
	p.l.dialled <- near
	synctest.Wait()
	time.Sleep(time.Millisecond) // of the bubble's time: so that one came before the other
	peer := &peer{Conn: far, t: p.t, r: bufio.NewReader(far)}
	p.t.Cleanup(func() { far.Close() })
	return peer
}

func (p *peer) say(text string) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(p, text); err != nil {
		p.t.Errorf("say %q: %v", text, err)
	}
	synctest.Wait()
}

// hear reads an answer; 0: there is none.
func (p *peer) hear() int {
	_ = p.SetReadDeadline(time.Now().Add(time.Second))
	answer, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, answer.Body) // of a few bytes
	synctest.Wait()
	return answer.StatusCode
}

func (p *peer) get() int {
	_ = p.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(p, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		return 0
	}
	return p.hear()
}

// gone reports that the other end was closed, perhaps with an answer before: half a
// request line is a bad one to net/http.
func (p *peer) gone() bool {
	synctest.Wait()
	_ = p.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := io.Copy(io.Discard, p.r)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (p *port) counts(evicted, refused float64) {
	p.t.Helper()
	for cause, want := range map[string]float64{"evicted": evicted, "refused": refused} {
		var m dto.Metric
		if err := p.closed.WithLabelValues(cause).Write(&m); err != nil {
			p.t.Fatal(err)
		}
		if got := m.Counter.GetValue(); got != want {
			p.t.Errorf("%s: got %v, want %v", cause, got, want)
		}
	}
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

// Whoever waits makes room for whoever comes, the longest first, in whatever way
// it waits.
func TestWhoWaitsLongestMakesRoom(t *testing.T) {
	for name, wait := range map[string]func(*peer){
		"silent":           func(*peer) {},
		"half a header":    func(p *peer) { p.say("GET / HTTP/1.1\r\nHo") },
		"a byte of header": func(p *peer) { p.say("G") },
		"idle": func(p *peer) {
			if code := p.get(); code != http.StatusOK {
				p.t.Errorf("a request: got %d, want 200", code)
			}
		},
		"answered before its body": func(p *peer) { p.say("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			onPort(t, 3, ok, func(p *port) {
				var held []*peer
				for range 3 {
					held = append(held, p.dial())
					wait(held[len(held)-1])
				}
				for i := range held {
					if code := p.dial().get(); code != http.StatusOK {
						t.Errorf("visitor %d: got %d, want 200", i, code)
					}
					for j, h := range held {
						// A read would take an answer's place, so only the one in question is asked.
						if j == i && !h.gone() {
							t.Errorf("after %d came: socket %d is still open", i+1, j)
						}
					}
					if i < 2 {
						p.counts(float64(i+1), 0)
					}
				}
				if n := p.count(); n != 3 {
					t.Errorf("got %d sockets, want the three visitors", n)
				}
			})
		})
	}
}

// The order is that of the waiting, not of the arrival: who was answered last
// waits the shortest.
func TestAnAnswerBeginsTheWaitAnew(t *testing.T) {
	onPort(t, 2, ok, func(p *port) {
		first, second := p.dial(), p.dial()
		if code := first.get(); code != http.StatusOK {
			t.Fatalf("got %d, want 200", code)
		}
		p.dial()
		if !second.gone() {
			t.Error("the second, which never asked, is still open")
		}
		if code := first.get(); code != http.StatusOK {
			t.Errorf("the first, which was just answered: got %d, want 200", code)
		}
	})
}

// A request in service keeps its socket; with nothing else to close, who comes is
// refused.
func TestInServiceKeepsItsSocket(t *testing.T) {
	release := make(chan struct{})
	onPort(t, 2, func(w http.ResponseWriter, r *http.Request) { <-release; ok(w, r) }, func(p *port) {
		release = make(chan struct{}) // of the bubble
		asking := []*peer{p.dial(), p.dial()}
		for _, a := range asking {
			a.say("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		}
		if !p.dial().gone() {
			t.Error("a third is let in")
		}
		p.counts(0, 1)
		close(release)
		for i, a := range asking {
			if code := a.hear(); code != http.StatusOK {
				t.Errorf("request %d: got %d, want 200", i, code)
			}
		}
	})
}

// A peer that asks and never reads the answer is in service for long; but not
// beyond the limit when others want in.
func TestServiceHasALimit(t *testing.T) {
	long := make([]byte, 64<<10) // more than net/http buffers
	onPort(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			_, _ = w.Write(long)
		}
	}, func(p *port) {
		stuck := p.dial()
		stuck.say("GET /long HTTP/1.1\r\nHost: h\r\n\r\n")
		time.Sleep(serviceLimit - time.Second)
		if !p.dial().gone() {
			t.Error("before the limit: a second is let in")
		}
		p.counts(0, 1)
		time.Sleep(time.Second)
		if code := p.dial().get(); code != http.StatusOK {
			t.Errorf("beyond it: got %d, want 200", code)
		}
		p.counts(1, 1)
	})
}

// A connection that was taken out of the HTTP server is not counted and never
// closed for another.
func TestHijackedIsNotOurs(t *testing.T) {
	taken := make(chan net.Conn, 1)
	onPort(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/take" {
			ok(w, r)
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- c
	}, func(p *port) {
		upgraded := p.dial()
		upgraded.say("GET /take HTTP/1.1\r\nHost: h\r\n\r\n")
		conn := <-taken
		if n := p.count(); n != 0 {
			t.Errorf("got %d sockets, want 0", n)
		}
		for range 3 {
			if code := p.dial().get(); code != http.StatusOK {
				t.Errorf("beside it: got %d, want 200", code)
			}
		}
		go func() { _, _ = conn.Write([]byte("x")) }() // ends when it is read, below
		if b, err := upgraded.r.ReadByte(); b != 'x' {
			t.Errorf("on it: got %q, %v, want x", b, err)
		}
		conn.Close()
	})
}

// A header a byte a second ends after 5 s, a silent socket too, an idle one after
// its idle time.
func TestWaitingEndsByItself(t *testing.T) {
	onPort(t, 9, ok, func(p *port) {
		slow, silent, idle := p.dial(), p.dial(), p.dial()
		idle.get()
		for range 4 {
			slow.say("G")
			time.Sleep(time.Second)
		}
		if slow.gone() || silent.gone() {
			t.Error("after 4 s: gone, want open")
		}
		time.Sleep(time.Second)
		if s, q := slow.gone(), silent.gone(); !s || !q {
			t.Errorf("after 5 s: got gone %v, %v, want both", s, q)
		}
		if idle.gone() {
			t.Error("idle for 5 s: gone, want open")
		}
		time.Sleep(testIdle)
		if !idle.gone() {
			t.Error("idle for longer than its time: open, want gone")
		}
		p.counts(0, 0)
	})
}

// The log says that the bound is met, and that it is over: a line each.
func TestTheBoundIsLoggedOnce(t *testing.T) {
	onPort(t, 2, ok, func(p *port) {
		said := func(when string, want ...string) {
			t.Helper()
			var got []string
			for _, line := range p.logs.TakeAll() {
				got = append(got, line.Message)
			}
			if len(got) != len(want) {
				t.Fatalf("%s: got %q, want %q", when, got, want)
			}
			for i := range want {
				if !strings.Contains(got[i], want[i]) {
					t.Errorf("%s: got %q, want %q", when, got, want)
				}
			}
		}
		p.dial()
		p.dial()
		said("two of two")
		for range 50 {
			p.dial()
		}
		said("50 more", "as many sockets as it may")
		time.Sleep(calm) // the silent ones have ended meanwhile
		p.dial()
		said("later", "room for sockets again")
		p.dial()
		p.dial()
		said("and once more", "as many sockets as it may")
	})
}

// No descriptor left is no end: it is told once, one socket gives its own back,
// and the next try may succeed.
func TestAcceptFails(t *testing.T) {
	onPort(t, 9, ok, func(p *port) {
		waiting := p.dial()
		for range 3 { // at the limit every other one fails
			p.l.failing <- &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
			synctest.Wait()
			if code := p.dial().get(); code != http.StatusOK {
				t.Errorf("after it: got %d, want 200", code)
			}
		}
		if !waiting.gone() {
			t.Error("who waited is still open")
		}
		time.Sleep(calm)
		p.dial().get()
		var got []string
		for _, line := range p.logs.TakeAll() {
			if line.Level > zap.DebugLevel {
				got = append(got, line.Message)
			}
		}
		if len(got) != 2 || !strings.Contains(got[0], "no connection can be accepted") || !strings.Contains(got[1], "accepted again") {
			t.Errorf("logged %q, want its begin and its end", got)
		}
		p.counts(3, 0)
	})
}

// Visitors, silent peers and the bound together, on real sockets: every request is
// answered or its socket closed, and nothing stays counted.
func TestSocketsRace(t *testing.T) {
	const most, peers, each = 8, 16, 30
	l, err := Listen("listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := NewSockets(most, testIdle, zap.NewNop(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, http.HandlerFunc(ok), time.Minute) }() // ends with ctx, awaited below
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range peers {
		all.Go(func() {
			<-start
			for range each {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				if i%2 == 0 {
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") // it may be closed already
					_, _ = http.ReadResponse(bufio.NewReader(c), nil)
				}
				if n := s.count(); n > most {
					t.Errorf("got %d sockets, want at most %d", n, most)
				}
				c.Close()
			}
		})
	}
	close(start)
	all.Wait()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	for s.count() > 0 { // the server's goroutines end by themselves
		time.Sleep(time.Millisecond)
	}
}

// What net/http has to say comes into the log as the rest does: without the address
// of a visitor, and a failing accept is told once and not at each try.
func TestServerSays(t *testing.T) {
	onPort(t, 9, func(http.ResponseWriter, *http.Request) { panic("out of order") }, func(p *port) {
		p.dial().say("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p.l.failing <- &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
		synctest.Wait()
		said := map[zapcore.Level]int{}
		for _, line := range p.logs.TakeAll() {
			said[line.Level]++
			if line.Message != "a handler panicked" {
				continue
			}
			text := fmt.Sprint(line.ContextMap())
			if !strings.Contains(text, "out of order") || !strings.Contains(text, "TestServerSays") || strings.Contains(text, "pipe: ") || strings.Contains(text, "serving") {
				t.Errorf("a panic: got %s, want its value and stack, and no address", text)
			}
		}
		// The panic and the failing accept; what net/http says of the latter is for
		// debugging.
		if said[zap.ErrorLevel] != 2 || said[zap.DebugLevel] != 1 || len(said) != 2 {
			t.Errorf("got lines by level %v, want 2 errors and 1 for debugging", said)
		}
	})
}
