package socket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// tendEvery is how often the janitor looks at busy connections and at deadlines:
// a torn frame goes on within this time of the peer reading again.
const tendEvery = 250 * time.Millisecond

// paused is how late the janitor is when the process must have stood still: then no
// peer is to blame for what was not read in time.
const paused = int64(2 * time.Second)

// What is wrong when hands were shaken and the connection can't be kept all the same:
// the server is closed, or the system has nothing left for it (descriptors, memory).
// The peer has seen the handshake and then the end.
var (
	ErrClosed   = errors.New("server closed")
	ErrNotTaken = errors.New("connection can't be taken")
)

// Options are what a server's connections have in common.
type Options struct {
	Subprotocols []string // what is spoken, best first
	MaxMessage   int      // bytes of the longest message; 0: 4,096
}

// Server holds the connections of a process. Run must go on for as long as there
// are any: it is what meets deadlines and cuts who does not read.
type Server struct {
	subprotocols []string
	limit        int
	start        time.Time // of the clock that now tells
	waiter       waiter
	wheel        wheel
	inboxes      *inboxes
	ended        [whys]atomic.Int64
	wg           sync.WaitGroup // of connections, from Accept to their end

	mu     sync.Mutex // guards the rest; taken under Conn.mu
	closed bool
	conns  []*Conn // each knows its index
	busy   map[*Conn]struct{}
}

// New makes a server.
func New(o Options) (*Server, error) {
	w, err := newWaiter()
	if err != nil {
		return nil, err
	}
	return newServer(o, w), nil
}

func newServer(o Options, w waiter) *Server {
	if o.MaxMessage == 0 {
		o.MaxMessage = 4096
	}
	return &Server{subprotocols: o.Subprotocols, limit: o.MaxMessage, start: time.Now(), waiter: w,
		wheel: wheel{ticks: map[int64][]*Conn{}}, inboxes: newInboxes(o.MaxMessage), busy: map[*Conn]struct{}{}}
}

// now is the time in nanoseconds since the server was made, by a clock that does
// not jump. It is never 0.
func (s *Server) now() int64 { return int64(time.Since(s.start)) + 1 }

// Open is how many connections have a descriptor or a handler yet to be told.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Busy is how many connections do not take what they are sent.
func (s *Server) Busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.busy)
}

// Handlers are those of all connections that were started and have not ended.
func (s *Server) Handlers() []Handler {
	s.mu.Lock()
	all := append([]*Conn(nil), s.conns...)
	s.mu.Unlock()
	handlers := make([]Handler, 0, len(all))
	for _, c := range all {
		c.mu.Lock()
		if c.handler != nil && c.why == 0 {
			handlers = append(handlers, c.handler)
		}
		c.mu.Unlock()
	}
	return handlers
}

// Ended is how many connections have ended for a reason.
func (s *Server) Ended(why Why) int64 { return s.ended[why].Load() }

// Accept shakes hands and takes the connection from the HTTP server, which keeps
// nothing of it. On an error the request was answered. Origins are the caller's to
// check. What is returned must be started, soon.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	h := &hijack{ResponseWriter: w}
	// Compression would cost more memory per connection than all the rest.
	_, err := websocket.Accept(h, r, &websocket.AcceptOptions{Subprotocols: s.subprotocols,
		InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if h.nc == nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	c, err := s.adopt(h.nc, h.early)
	if err != nil {
		_ = h.nc.Close() // whatever is left to close
		return nil, fmt.Errorf("socket: %w", err)
	}
	return c, nil
}

// adopt makes a connection out of one on which hands were shaken. On an error nc
// is the caller's to close.
func (s *Server) adopt(nc net.Conn, early []byte) (*Conn, error) {
	c := &Conn{server: s, budget: newBudget(s.now())}
	if len(early) > roomFor(s.limit) {
		return nil, fmt.Errorf("%w: %d bytes came with its handshake", ErrNotTaken, len(early))
	}
	if err := s.waiter.take(c, nc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotTaken, err)
	}
	tune(c.fd)
	if !s.add(c) {
		s.waiter.release(c)
		return nil, ErrClosed
	}
	if len(early) > 0 {
		c.in = s.inboxes.get()
		c.in.end = copy(c.in.buf, early)
	}
	return c, nil
}

// errTaken makes the library stop at the point where it would build its own
// connection, which costs 2 KB and a finalizer and would be thrown away.
var errTaken = errors.New("taken")

// hijack keeps what the library asks for.
type hijack struct {
	http.ResponseWriter
	nc    net.Conn
	early []byte // read by the HTTP server behind the request
}

// Hijack implements http.Hijacker.
func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.nc = nc
	h.early, _ = rw.Reader.Peek(rw.Reader.Buffered()) // buffered: it can not fail
	return nil, nil, errTaken
}

// WriteHeader drops the library's word on errTaken.
func (h *hijack) WriteHeader(code int) {
	if h.nc == nil {
		h.ResponseWriter.WriteHeader(code)
	}
}

// Write drops it likewise.
func (h *hijack) Write(p []byte) (int, error) {
	if h.nc == nil {
		return h.ResponseWriter.Write(p)
	}
	return len(p), nil
}

func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	c.index = len(s.conns)
	s.conns = append(s.conns, c)
	s.wg.Add(1)
	return true
}

// remove is the last thing that happens to a connection.
func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	last := len(s.conns) - 1
	s.conns[c.index] = s.conns[last]
	s.conns[c.index].index = c.index
	s.conns[last] = nil
	s.conns = s.conns[:last]
	delete(s.busy, c)
	s.mu.Unlock()
	s.wg.Done()
}

// addBusy has the janitor look at a busy connection until it is not.
func (s *Server) addBusy(c *Conn) {
	s.mu.Lock()
	s.busy[c] = struct{}{}
	s.mu.Unlock()
}

// removeBusy ends that.
func (s *Server) removeBusy(c *Conn) {
	s.mu.Lock()
	delete(s.busy, c)
	s.mu.Unlock()
}

// Run is the janitor, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for last := s.now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := s.now()
			if now-last < paused { // else what came meanwhile is read first
				s.tend(now)
			}
			last = now
		}
	}
}

// tend looks once.
func (s *Server) tend(now int64) {
	s.mu.Lock()
	busy := make([]*Conn, 0, len(s.busy))
	for c := range s.busy {
		busy = append(busy, c)
	}
	s.mu.Unlock()
	for _, c := range busy {
		c.tend(now)
	}
	s.wheel.advance(now, func(c *Conn, tick int64) { c.expire(now, tick) })
}

// Drain accepts nothing more and waits until every connection has ended, or ctx
// has; then it is Close. It ends none of them before: whoever calls it has sent
// them away, and Run must go on meanwhile. It returns how many were cut.
func (s *Server) Drain(ctx context.Context) (cut int) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { // ends when the connections have; Close sees to that at the latest
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		cut = s.Open()
	}
	s.Close()
	<-ended
	return cut
}

// Close cuts every connection and returns when all have ended and their handlers
// were told. What a handler waits for must have ended before.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	all := append([]*Conn(nil), s.conns...)
	s.mu.Unlock()
	for _, c := range all {
		c.mu.Lock()
		c.cut(Cut)
		c.mu.Unlock()
	}
	s.wg.Wait()
	s.waiter.close()
}
