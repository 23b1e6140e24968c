package booking

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"waitroom/internal/events"
	"waitroom/internal/testenv"
	"waitroom/internal/wire"
)

// proxy stands before a server and can cut it off.
type proxy struct {
	to   string
	addr string
	wait sync.WaitGroup

	mu    sync.Mutex
	l     net.Listener // guarded by mu, as are the connections
	conns []net.Conn
}

// start accepts until stop, at the same address as before.
func (p *proxy) start(t *testing.T) {
	t.Helper()
	at := p.addr
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.l, p.addr = l, l.Addr().String()
	p.mu.Unlock()
	p.wait.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.wait.Go(func() { io.Copy(out, in); out.Close() })
			p.wait.Go(func() { io.Copy(in, out); in.Close() })
		}
	})
}

// stop cuts every connection and returns when the proxy's goroutines have ended.
func (p *proxy) stop() {
	p.mu.Lock()
	p.l.Close()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.wait.Wait()
}

// The database goes away and comes back: visitors are told `unavailable`, the
// consumer's batch is not lost, nothing has changed, and no restart is needed.
func TestDatabaseAway(t *testing.T) {
	u, err := url.Parse(testenv.MySQL(t))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: u.Host}
	p.start(t)
	t.Cleanup(p.stop)
	u.Host = p.addr
	b := newBooker(t, u.String(), 2, nil)
	c := client{t, b.Handler()}
	visitor := newPass()
	record, id := admittedRecord(t)
	want[holdAnswer](t, c.do("POST", "/rooms/gig/holds", bearer(visitor), `{"seats":["A-1"]}`), 201)

	p.stop()
	w := c.do("POST", "/rooms/gig/holds", bearer(newPass()), `{"seats":["A-2"]}`)
	if wantProblem(t, "hold", w, wire.Unavailable); w.Header().Get("Retry-After") == "" {
		t.Error("got no Retry-After, want one")
	}
	wantProblem(t, "leave", c.do("DELETE", "/rooms/gig/pass", bearer(visitor), ""), wire.Unavailable)
	if err := b.Consume(t.Context(), []events.Record{record}); err == nil {
		t.Error("consume: got no error, want the batch again")
	}
	if _, err := b.outbox.step(t.Context()); err == nil {
		t.Error("publish: got no error, want one")
	}

	p.start(t)
	if err := b.Consume(t.Context(), []events.Record{record}); err != nil {
		t.Errorf("consume, back again: %v", err)
	}
	if _, err := b.store.admission(t.Context(), id); err != nil {
		t.Errorf("got %v, want the admission recorded", err)
	}
	wantSeats(t, b.store, "A-1:held A-2")
	wantFacts(t, b.store, "held")
}
