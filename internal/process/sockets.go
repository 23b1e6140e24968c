package process

import (
	"container/list"
	"context"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// serviceLimit is how long a request in service keeps its socket although others
// want in: more than a body may take, and handlers take milliseconds. Who asks
// and never reads the answer would keep it three times as long.
const serviceLimit = 10 * time.Second

// Sockets bounds the TCP connections of one listener, as long as the HTTP server
// has them; those that are hijacked are their new owner's to count. At the bound a
// new one takes the place of the one that has waited longest for a request: since
// it was accepted, or since its last answer. A request in service is let finish,
// for serviceLimit; when all are in service, the new one is closed.
//
// net/http calls a connection active from the first byte of a header on, so that a
// byte a second would look like a visitor: in service is who reached the handler.
type Sockets struct {
	// Set once.
	most    int
	idle    time.Duration
	said    *log.Logger // net/http's own lines; nil: to stderr as they are
	closed  *prometheus.CounterVec
	closing chan struct{} // holds one for each socket that is being closed for another

	mu      sync.Mutex
	open    map[net.Conn]*socket
	waiting *list.List // of *socket; who waits longest is first
	serving *list.List // of *socket; whose request is oldest is first

	told portLog // owned by the goroutine that accepts
}

// socket is one connection; guarded by Sockets.mu.
type socket struct {
	conn  net.Conn
	in    *list.List // waiting or serving; nil: no longer ours
	at    *list.Element
	since time.Time // when it came into its list
}

// NewSockets makes a bound of most sockets, which wait at most idle for a next
// request.
func NewSockets(most int, idle time.Duration, to *zap.Logger, reg prometheus.Registerer) *Sockets {
	s := &Sockets{most: most, idle: idle, told: portLog{log: to}, said: log.New(serverLog{to}, "", 0), closing: make(chan struct{}, closingSockets),
		open: map[net.Conn]*socket{}, waiting: list.New(), serving: list.New(),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Name: "sockets_closed_total",
			Help: "TCP connections of the public port closed at its bound; cause is evicted (it waited longest without a request) or refused (all others had one in service)."}, []string{"cause"})}
	for _, cause := range []string{"evicted", "refused"} {
		s.closed.WithLabelValues(cause)
	}
	reg.MustRegister(s.closed, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "waitroom", Name: "sockets",
		Help: "TCP connections of the public port that are no WebSockets: silent, idle or with a request."},
		func() float64 { return float64(s.count()) }))
	return s
}

func (s *Sockets) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// bounded is a listener whose connections are counted.
type bounded struct {
	net.Listener
	sockets *Sockets
}

// Accept returns the next connection that has a place. An error of the kind that
// passes, such as no descriptor left, net/http tries again, after 1 s at most.
func (b bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			// Others use more descriptors than was kept for them, or the whole system has
			// none: one of ours goes back.
			if passing, ok := err.(interface{ Temporary() bool }); ok && passing.Temporary() {
				b.sockets.told.failed(time.Now(), err)
				b.sockets.makeRoom()
			}
			return nil, err
		}
		b.sockets.told.accepted(time.Now())
		if b.sockets.admit(c) {
			return c, nil
		}
		_ = c.Close()
	}
}

// admit gives c a place, if need be that of another; false: there is none.
func (s *Sockets) admit(c net.Conn) bool {
	now := time.Now()
	s.mu.Lock()
	waiting, serving := s.waiting.Len(), s.serving.Len()
	full := len(s.open) >= s.most
	var evicted *socket
	if full {
		evicted = s.takeLongest(now)
	}
	fits := !full || evicted != nil
	if fits {
		place := &socket{conn: c}
		s.open[c] = place
		s.move(place, s.waiting, now)
	}
	s.mu.Unlock()
	if full {
		s.told.full(now, s.most, waiting, serving)
	} else {
		s.told.room(now)
	}
	if evicted != nil {
		s.evict(evicted)
	}
	if !fits {
		s.closed.WithLabelValues("refused").Inc()
	}
	return fits
}

// makeRoom closes a socket for its descriptor, if one may be.
func (s *Sockets) makeRoom() {
	s.mu.Lock()
	evicted := s.takeLongest(time.Now())
	s.mu.Unlock()
	if evicted != nil {
		s.evict(evicted)
	}
}

// takeLongest takes out who is to be closed next; nil: nobody may be. mu is held.
func (s *Sockets) takeLongest(now time.Time) *socket {
	first := s.waiting.Front()
	if first == nil {
		first = s.serving.Front()
		if first == nil || now.Sub(first.Value.(*socket).since) <= serviceLimit {
			return nil
		}
	}
	c := first.Value.(*socket)
	s.forget(c)
	return c
}

// evict closes a socket that was taken out.
func (s *Sockets) evict(c *socket) {
	s.closed.WithLabelValues("evicted").Inc()
	s.closing <- struct{}{} // closingSockets are being closed: each gives way soon
	go func() {             // ends when the connection's reader has let go, which the close makes it do
		_ = c.conn.Close()
		<-s.closing
	}()
}

// move puts a socket at the end of a list; mu is held.
func (s *Sockets) move(c *socket, to *list.List, now time.Time) {
	if c.in != nil {
		c.in.Remove(c.at)
	}
	c.in, c.at, c.since = to, to.PushBack(c), now
}

// forget takes a socket out; mu is held.
func (s *Sockets) forget(c *socket) {
	if c.in != nil {
		c.in.Remove(c.at)
		c.in, c.at = nil, nil
		delete(s.open, c.conn)
	}
}

// changed hears of the end of a connection within net/http.
func (s *Sockets) changed(c net.Conn, to http.ConnState) {
	if to != http.StateHijacked && to != http.StateClosed {
		return // what happens between is told by the handler, and earlier
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.open[c]; ok { // it may have been closed for another
		s.forget(known)
	}
}

type socketKey struct{}

// named lets the handler find the socket of its request.
func (s *Sockets) named(ctx context.Context, c net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return context.WithValue(ctx, socketKey{}, s.open[c])
}

// handler marks who is in service around h.
func (s *Sockets) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(socketKey{}).(*socket)
		if c == nil || !s.shift(c, s.serving) {
			// Closed for another before its request was whole: nothing may be done that
			// nobody can be told.
			panic(http.ErrAbortHandler)
		}
		// What net/http does behind the handler may take as long as the peer likes: it
		// reads what is left of a body. Hijacked ones are gone by now.
		defer s.shift(c, s.waiting)
		h.ServeHTTP(w, r)
	})
}

// shift moves a socket if it is still ours.
func (s *Sockets) shift(c *socket, to *list.List) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.in == nil {
		return false
	}
	s.move(c, to, time.Now())
	return true
}
