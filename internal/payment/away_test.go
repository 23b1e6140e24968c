package payment

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// pipes is a network inside a bubble of synctest, with one service on it.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}

	mu     sync.Mutex
	refuse bool // nobody listens; guarded by mu
	dials  int  // guarded by mu
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialled:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	p.dials++
	refuse := p.refuse
	p.mu.Unlock()
	if refuse {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	select {
	case p.dialled <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) listens(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = !yes
}

// inBubble tells a story of a client and a service that is served by h, in a time of their own.
func inBubble(t *testing.T, h http.HandlerFunc, config Config, story func(*testing.T, *Client, *pipes, *observer.ObservedLogs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{dialled: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: h}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(p) }() // ends with p.closed, awaited below
		core, logs := observer.New(zap.DebugLevel)
		config.URL, config.Log = "http://psp.example", zap.New(core)
		c, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		c.wire.DialContext = p.dial
		story(t, c, p, logs)
		c.Close()
		close(p.closed)
		_ = server.Close() // with connections that a story left
		<-served
	})
}

// silent reads a request and never answers it.
func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client go
	<-r.Context().Done()
}

var good = says(200, "application/json", told(Authorised, 0, 0, ""))

// Nobody listens: nothing was sent, and that is another error than an unknown outcome.
func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	for name, call := range verbs {
		got, err := call(client(t, Config{URL: server.URL}), t.Context())
		if (got != Result{}) || !errors.Is(err, ErrAway) || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: got %+v, %v, want away and no outcome", name, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: got %v, want the cause in it", name, err)
		}
	}
}

// Each call has the time that the settings give it, and its outcome is unknown then.
func TestTimeOuts(t *testing.T) {
	limits := Limits{Authorise: 7 * time.Second, Capture: 6 * time.Second, Void: 5 * time.Second, Refund: 4 * time.Second, Look: 3 * time.Second}
	for name, limit := range map[string]time.Duration{"authorise": limits.Authorise, "capture": limits.Capture, "void": limits.Void, "refund": limits.Refund, "look": limits.Look} {
		inBubble(t, silent, Config{Limits: limits}, func(t *testing.T, c *Client, _ *pipes, _ *observer.ObservedLogs) {
			began := time.Now()
			got, err := verbs[name](c, t.Context())
			if (got != Result{Outcome: Unknown, Reason: ReasonTimeOut}) || !errors.Is(err, ErrUnknown) {
				t.Errorf("%s: got %+v, %v, want unknown: time_out", name, got, err)
			}
			if took := time.Since(began); took != limit {
				t.Errorf("%s: took %s, want %s", name, took, limit)
			}
		})
	}
}

// An answer that begins and does not end is bounded by the same time.
func TestSlowAnswer(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush() // the client may be gone
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	}, Config{}, func(t *testing.T, c *Client, _ *pipes, _ *observer.ObservedLogs) {
		began := time.Now()
		got, err := c.Look(t.Context(), theAttempt)
		if took := time.Since(began); got.Reason != ReasonTimeOut || took != DefaultLimits.Look {
			t.Errorf("got %+v, %v after %s, want a time-out after %s", got, err, took, DefaultLimits.Look)
		}
	})
}

// Whoever finds all connections in use waits within its own time, and has sent nothing.
func TestNoConnectionIsFree(t *testing.T) {
	inBubble(t, silent, Config{Conns: 1, Trip: 100, Limits: Limits{Authorise: time.Minute}}, func(t *testing.T, c *Client, _ *pipes, _ *observer.ObservedLogs) {
		done := make(chan struct{})
		go func() { defer close(done); _, _ = c.Authorise(t.Context(), theAttempt, theMethod) }() // ends with its limit, awaited below
		synctest.Wait()
		got, err := c.Look(t.Context(), theAttempt)
		if (got != Result{}) || !errors.Is(err, ErrAway) {
			t.Errorf("got %+v, %v, want away", got, err)
		}
		<-done
	})
}

// The caller's own end is its own: no word about the service, unless something was sent.
func TestCallerLeaves(t *testing.T) {
	inBubble(t, silent, Config{Trip: 1}, func(t *testing.T, c *Client, _ *pipes, logs *observer.ObservedLogs) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got, err := c.Look(ctx, theAttempt)
		if (got != Result{}) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrAway) {
			t.Errorf("before it was sent: got %+v, %v, want cancelled", got, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err = c.Look(ctx, theAttempt)
		if got.Outcome != Unknown || got.Reason != ReasonTimeOut || !errors.Is(err, ErrUnknown) {
			t.Errorf("after it was sent: got %+v, %v, want unknown", got, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if got, err = c.Look(ctx, theAttempt); got.Outcome != Unknown || !errors.Is(err, ErrUnknown) {
			t.Errorf("cancelled after it was sent: got %+v, %v, want unknown", got, err)
		}
		if c.Away() {
			t.Error("callers that left have opened the circuit")
		}
		if n := logs.Len(); n != 0 {
			t.Errorf("logged %v, want nothing", logs.All())
		}
	})
}

// After so many failures in a row nobody is sent for a while; then one is, and what comes
// of it decides for all.
func TestCircuit(t *testing.T) {
	var works atomic.Bool
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		if works.Load() {
			good(w, r)
		} else {
			silent(w, r)
		}
	}, Config{Trip: 3, Rest: 10 * time.Second}, func(t *testing.T, c *Client, p *pipes, logs *observer.ObservedLogs) {
		look := func(ctx context.Context) (Result, error) { return c.Look(ctx, theAttempt) }
		for range 2 {
			_, _ = look(t.Context())
		}
		works.Store(true)
		if got, err := look(t.Context()); got.Outcome != Authorised {
			t.Fatalf("a good call: got %+v, %v", got, err)
		}
		works.Store(false)
		for i := range 3 {
			if c.Away() {
				t.Fatalf("away after %d failures in a row, want 3", i)
			}
			_, _ = look(t.Context())
		}
		if !c.Away() {
			t.Fatal("three failures in a row: not away")
		}
		for range 3 {
			began, dials := time.Now(), p.dials
			got, err := look(t.Context())
			if (got != Result{}) || !errors.Is(err, ErrAway) || time.Since(began) != 0 || p.dials != dials {
				t.Errorf("while it rests: got %+v, %v after %s and %d dials, want away at once", got, err, time.Since(began), p.dials-dials)
			}
		}
		time.Sleep(10*time.Second + 1) // the bubble's time
		// One that leaves gives its place back, whatever came of it.
		left, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _ = look(left)
		cancel()
		probe := make(chan error, 1)
		go func() { _, err := look(t.Context()); probe <- err }() // ends with its limit, awaited below
		synctest.Wait()
		if _, err := look(t.Context()); !errors.Is(err, ErrAway) {
			t.Errorf("beside the one that tries: got %v, want away", err)
		}
		if err := <-probe; !errors.Is(err, ErrUnknown) {
			t.Errorf("the one that tries: got %v, want unknown", err)
		}
		if _, err := look(t.Context()); !errors.Is(err, ErrAway) {
			t.Errorf("after it failed: got %v, want away", err)
		}
		works.Store(true)
		time.Sleep(10*time.Second + 1) // the bubble's time
		for range 2 {
			if got, err := look(t.Context()); got.Outcome != Authorised {
				t.Errorf("it works again: got %+v, %v", got, err)
			}
		}
		if c.Away() {
			t.Error("it works again: away")
		}
		time.Sleep(persists) // the bubble's time
		_, _ = look(t.Context())
		var lines []string
		for _, line := range logs.All() {
			lines = append(lines, line.Message)
		}
		if len(lines) != 2 || !strings.Contains(lines[0], "does not answer as it should") || !strings.Contains(lines[1], "answers again") {
			t.Errorf("logged %q, want the outage's begin and its end", lines)
		}
	})
}

// A decline, a refusal and an absent payment are answers of a service that is well.
func TestAnswersKeepTheCircuitClosed(t *testing.T) {
	for what, h := range map[string]http.HandlerFunc{
		"declined":       says(200, "application/json", told(Declined, 0, 0, "")),
		"refused":        says(409, "application/json", `{"code":"wrong_state"}`),
		"absent":         says(404, "application/json", `{"code":"no_such_payment"}`),
		"another amount": says(200, "application/json", strings.Replace(told(Authorised, 0, 0, ""), "4500", "1", 1)),
	} {
		c := to(t, h, Config{Trip: 1})
		for range 3 {
			if got, err := c.Look(t.Context(), theAttempt); errors.Is(err, ErrAway) || got.Outcome == "" {
				t.Errorf("%s: got %+v, %v", what, got, err)
			}
		}
	}
}

// A connection that breaks under a request, and nobody listens when the transport tries
// again by itself: the first try may have arrived, so the outcome is unknown.
func TestFirstTryMayHaveArrived(t *testing.T) {
	var p *pipes
	n := 0
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			good(w, r)
			return
		}
		p.listens(false)
		panic(http.ErrAbortHandler)
	}, Config{}, func(t *testing.T, c *Client, network *pipes, _ *observer.ObservedLogs) {
		p = network
		if got, err := c.Authorise(t.Context(), theAttempt, theMethod); got.Outcome != Authorised {
			t.Fatalf("got %+v, %v", got, err)
		}
		got, err := c.Authorise(t.Context(), theAttempt, theMethod)
		if got.Outcome != Unknown || !errors.Is(err, ErrUnknown) || errors.Is(err, ErrAway) {
			t.Errorf("got %+v, %v, want unknown", got, err)
		}
		if network.dials != 2 {
			t.Errorf("got %d dials, want 2: the transport did not try again, so this shows nothing", network.dials)
		}
	})
}
