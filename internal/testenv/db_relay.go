package testenv

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Relay is a hop in front of a TCP server that a test can take away as networks do. It is
// safe for concurrent use.
type Relay struct {
	Addr string

	listener net.Listener
	to       string
	wait     sync.WaitGroup

	mu     sync.Mutex
	opened int
	pairs  map[*relayed]bool
}

// relayed is one connection: both sides, and whether it forwards anything.
type relayed struct {
	relay  *Relay
	client net.Conn
	server net.Conn
	silent bool // guarded by relay.mu
}

// NewRelay takes a port that forwards to a server until the test ends.
func NewRelay(t testing.TB, to string) *Relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: listener.Addr().String(), listener: listener, to: to, pairs: map[*relayed]bool{}}
	r.wait.Go(r.accept) // ends with the listener
	t.Cleanup(func() {
		listener.Close()
		r.Cut()
		r.wait.Wait()
	})
	return r
}

// Opened is how many connections there were so far.
func (r *Relay) Opened() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened
}

// Silence makes the connections of now those of a host that vanished: both sides stay
// open, nothing is forwarded any more, not even an end. Later connections are forwarded.
func (r *Relay) Silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.silent = true
	}
}

// Cut closes both sides of the connections of now.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.client.Close()
		p.server.Close()
	}
	clear(r.pairs)
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", r.to, time.Second) // on this machine: at once, or nobody listens
		if err != nil {
			client.Close()
			continue
		}
		p := &relayed{relay: r, client: client, server: server}
		r.mu.Lock()
		r.opened++
		r.pairs[p] = true
		r.mu.Unlock()
		// Both end with either side, or with Cut.
		r.wait.Go(func() { p.copy(server, client) })
		r.wait.Go(func() { p.copy(client, server) })
	}
}

// copy forwards until from ends. A silent connection is read and forgotten; its other
// side hears of no end.
func (p *relayed) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.relay.mu.Lock()
		silent := p.silent
		p.relay.mu.Unlock()
		if !silent && err == nil {
			_, err = to.Write(buf[:n])
		}
		if err == nil {
			continue
		}
		if !silent {
			p.client.Close()
			p.server.Close()
			p.relay.mu.Lock()
			delete(p.relay.pairs, p)
			p.relay.mu.Unlock()
		}
		return
	}
}
