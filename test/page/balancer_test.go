package page

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// balancer is the one address behind which a page finds the nodes, and the
// network in between: it can hold bytes back, refuse, cut, and swallow. A node
// that does not accept is passed over for the next, as balancers do.
type balancer struct {
	t        *testing.T
	listener net.Listener
	wg       sync.WaitGroup // every goroutine of it; its end waits for them

	mu       sync.Mutex
	backends []string
	next     int           // of backends, in turn
	delay    time.Duration // of each request and answer together
	refusing bool          // accept, read the request, close
	links    map[*link]bool
	dials    []time.Time // of WebSockets
	closed   bool
}

// link is one connection through it.
type link struct {
	client, node net.Conn
	ws           bool

	mu    sync.Mutex
	black bool // stays open and carries nothing, not even its end
}

// newBalancer listens until the test ends.
func newBalancer(t *testing.T, backends ...string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{t: t, listener: l, backends: backends, links: map[*link]bool{}}
	b.wg.Go(b.accept)
	t.Cleanup(b.close)
	return b
}

func (b *balancer) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.listener.Close()
	b.cut()
	b.wg.Wait()
}

func (b *balancer) addr() string { return b.listener.Addr().String() }

// to sends new connections to these nodes, in turn.
func (b *balancer) to(backends ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = backends
}

// slow makes each request and its answer take this long together; the
// connection itself costs nothing, which a page cannot change.
func (b *balancer) slow(delay time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delay = delay
}

// refuse closes each new connection once its request was read.
func (b *balancer) refuse(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusing = yes
}

// swallow turns every connection of now into a black hole: open on both sides,
// and nothing comes through. New ones pass. It returns how many WebSockets.
func (b *balancer) swallow() int {
	n := 0
	for l := range b.all() {
		l.mu.Lock()
		l.black = true
		l.mu.Unlock()
		if l.ws {
			n++
		}
	}
	return n
}

// cut ends every connection of now.
func (b *balancer) cut() {
	for l := range b.all() {
		l.client.Close()
		l.node.Close()
	}
}

func (b *balancer) all() map[*link]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[*link]bool{}
	for l := range b.links {
		all[l] = true
	}
	return all
}

// dialled is how many WebSockets were asked for after a moment.
func (b *balancer) dialled(after time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, at := range b.dials {
		if !at.Before(after) {
			n++
		}
	}
	return n
}

func (b *balancer) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return // closed
		}
		b.wg.Go(func() { b.serve(c) })
	}
}

// serve carries one connection until both of its sides have ended.
func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	// The first bytes tell a WebSocket from a request.
	first := make([]byte, 4096)
	_ = client.SetReadDeadline(time.Now().Add(time.Minute)) // Chromium opens some ahead and says nothing
	n, err := client.Read(first)
	if err != nil {
		return
	}
	_ = client.SetReadDeadline(time.Time{})
	head, _, _ := bytes.Cut(first[:n], []byte("\r\n"))
	ws := bytes.Contains(head, []byte("/ws "))
	b.mu.Lock()
	if ws {
		b.dials = append(b.dials, time.Now())
	}
	refusing, delay, backends, next := b.refusing, b.delay, b.backends, b.next
	b.next++
	b.mu.Unlock()
	if refusing {
		return
	}
	var node net.Conn
	for i := range backends {
		if node, err = net.Dial("tcp", backends[(next+i)%len(backends)]); err == nil {
			break
		}
	}
	if node == nil {
		return
	}
	defer node.Close()
	l := &link{client: client, node: node, ws: ws}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.links[l] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.links, l)
		b.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { l.carry(node, io.MultiReader(bytes.NewReader(first[:n]), client), delay/2) })
	both.Go(func() { l.carry(client, node, delay/2) })
	both.Wait()
}

func (l *link) isBlack() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.black
}

// carry brings one direction's bytes over, each delay after it came. A black
// hole reads them all and passes none on; its end comes with the test's.
func (l *link) carry(to net.Conn, from io.Reader, delay time.Duration) {
	type piece struct {
		due   time.Time
		bytes []byte
	}
	pieces := make(chan piece, 1024) // a page of ours has fewer on the way at once
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range pieces {
			time.Sleep(time.Until(p.due)) // the network's, not the test's
			if !l.isBlack() {
				_, _ = to.Write(p.bytes) // a side that is gone is seen by the reader
			}
		}
		if !l.isBlack() {
			if c, ok := to.(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
		}
	})
	for {
		b := make([]byte, 16<<10)
		n, err := from.Read(b)
		if n > 0 {
			pieces <- piece{time.Now().Add(delay), b[:n]}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	writer.Wait()
}
