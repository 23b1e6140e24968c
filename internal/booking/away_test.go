package booking

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"waitroom/internal/events"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
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

// The database goes away and comes back: what visitors do is refused as away, the
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
	visitor := newPass()
	record, id := admittedRecord(t)
	mustHold(t, b.store, visitor, "A-1", noon)

	p.stop()
	if _, _, err := b.Hold(t.Context(), newPass(), ids("A-2")); !errors.Is(err, sqldb.ErrAway) {
		t.Errorf("hold: got %v, want %v", err, sqldb.ErrAway)
	}
	if err := b.Leave(t.Context(), visitor); !errors.Is(err, sqldb.ErrAway) {
		t.Errorf("leave: got %v, want %v", err, sqldb.ErrAway)
	}
	if err := b.Consume(t.Context(), []events.Record{record}); err == nil {
		t.Error("consume: got no error, want the batch again")
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
