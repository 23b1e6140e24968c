package socket

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	// maxTail bounds what is kept for a connection that does not read: an answer
	// to each thing a visitor may ask fits in; who has more waiting reads nothing.
	maxTail = 8 << 10
	// stuckAfter is how long a connection may refuse bytes before it is cut.
	stuckAfter = int64(15 * time.Second)
	// closeGrace is how long a peer may take to answer a close frame.
	closeGrace = int64(5 * time.Second)
	// halfWithin is how long a peer may take for what it has begun to send: a
	// message is one packet, so this is many times a bad mobile round trip.
	halfWithin = int64(5 * time.Second)
)

// frames lends buffers for one frame while it is written.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// Handler is told what comes from a connection, by one goroutine at a time. It
// may block; nothing is read meanwhile.
type Handler interface {
	// Message is one whole message of text, which is valid during the call only.
	Message(text []byte)
	// Ended comes once, after the last Message, as soon as no other can follow.
	// Where the peer may still be there (Silent, Unfinished, Broken, Binary,
	// NotText, TooLong, TooFast) Send and Close work until Ended returns: these are
	// the last words. Who does not call Close gets a code of RFC 6455.
	Ended(Why)
	// Released comes once, last, when the descriptor is gone: up to closeGrace after
	// Ended.
	Released()
}

// Conn is one WebSocket connection. TrySend, Send, Close and Within never wait
// and never call back, so they may be called under any lock.
type Conn struct {
	// Set once.
	server *Server
	kept   *kept // of the goroutine waiter; else nil

	mu      sync.Mutex // guards all below up to the worker's
	handler Handler    // nil until Start
	fd      int        // -1: closed
	index   int        // in server.conns, guarded by server.mu
	tail    []byte     // rest of a torn frame, and what was told behind it
	busy    int64      // since when it does not take everything; 0: it does
	due     int64      // when a message, or the end after our close frame, must have come; 0: no limit
	half    int64      // when what the peer has begun must be whole; 0: nothing is begun
	tick    int64      // of the wheel's next look; 0: none is needed
	code    uint16     // to close with if the handler does not say
	why     Why        // 0: it serves
	told    bool       // the handler was told why; then what comes is read away
	closing bool       // the close frame is written or in tail
	tended  bool       // the janitor knows that it is busy
	working bool       // there is a worker; stays true once all is over
	again   bool       // the worker has something more to look at

	// Owned by the worker; by nobody while there is none.
	in     *inbox // nil: nothing is begun
	away   int    // bytes read away
	budget budget
}

// Start hands the connection to its handler, and returns at once. Every
// connection that was accepted must be started, also one that is to be closed.
func (c *Conn) Start(h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler = h
	if c.fd < 0 || c.why != 0 || c.in != nil {
		c.wake()
		return
	}
	c.park()
}

// TrySend writes a text that the next one supersedes. False: the peer does not
// take it now, and it was dropped.
func (c *Conn) TrySend(text []byte) bool { return c.send(opText, text, false) }

// Send writes texts that must arrive in their turn, together where it can. A
// connection that can not keep them ends, which its handler is told.
func (c *Conn) Send(texts ...[]byte) {
	buf := frames.Get().(*[]byte)
	*buf = (*buf)[:0]
	for _, text := range texts {
		*buf = append(appendHead(*buf, opText, len(text)), text...)
	}
	c.write(buf, true)
}

// Close sends a close frame behind everything that was sent, and gives the peer a
// few seconds to answer it. What comes from the peer is not told any more. A code
// of 0 sends none.
func (c *Conn) Close(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(code)
}

// Within gives the peer d for its next message; 0: any time. A message takes the
// limit away. When none came the connection ends as Silent.
func (c *Conn) Within(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != 0 || c.closing {
		return // the time left is that of the peer's answer
	}
	c.due = 0
	if d > 0 {
		c.due = c.server.now() + int64(d)
		c.schedule(c.due)
	}
}

// send writes one frame. must keeps it behind a torn one; otherwise a busy
// connection drops it. False: it was dropped.
func (c *Conn) send(op byte, payload []byte, must bool) bool {
	buf := frames.Get().(*[]byte)
	*buf = append(appendHead((*buf)[:0], op, len(payload)), payload...)
	return c.write(buf, must)
}

// write writes whole frames out of a lent buffer, and gives it back.
func (c *Conn) write(buf *[]byte, must bool) bool {
	c.mu.Lock()
	ok := !c.closing && c.push(*buf, must)
	c.mu.Unlock()
	frames.Put(buf)
	return ok
}

// shut is Close. The caller holds mu.
func (c *Conn) shut(code int) {
	if c.closing || c.fd < 0 {
		return
	}
	frame := [4]byte{0x80 | opClose}
	n := 2
	if code != 0 {
		frame[1], n = 2, 4
		binary.BigEndian.PutUint16(frame[2:], uint16(code))
	}
	buf := frames.Get().(*[]byte)
	*buf = append((*buf)[:0], frame[:n]...)
	ok := c.push(*buf, true)
	frames.Put(buf)
	if !ok {
		return
	}
	c.closing = true
	c.half, c.due = 0, c.server.now()+closeGrace
	c.schedule(c.due)
	if len(c.tail) == 0 {
		c.finishWrites()
	}
	c.end(Closed)
}

// push writes p behind the tail. The caller holds mu.
func (c *Conn) push(p []byte, must bool) bool {
	if c.flush(); c.fd < 0 {
		return false
	}
	if len(c.tail) == 0 {
		n := c.try(p)
		if c.fd < 0 {
			return false
		}
		if n == len(p) {
			c.busy = 0
			return true
		}
		c.stuck()
		if n == 0 && !must {
			// Something has to be kept, or nobody would notice that the peer reads again: a
			// pong that was not asked for, which says nothing (RFC 6455, 5.5.3).
			c.tail = append(c.tail, 0x80|opPong, 0)
			return false
		}
		c.tail = append(c.tail, p[n:]...)
		return true
	}
	if !must {
		return false
	}
	if len(c.tail)+len(p) > maxTail {
		c.cut(Slow)
		return false
	}
	c.tail = append(c.tail, p...)
	return true
}

// flush writes the tail on. The caller holds mu.
func (c *Conn) flush() {
	if len(c.tail) == 0 {
		return
	}
	n := c.try(c.tail)
	if c.fd < 0 {
		return
	}
	if n < len(c.tail) {
		c.tail = c.tail[:copy(c.tail, c.tail[n:])]
		return
	}
	c.tail, c.busy = nil, 0
	if c.closing {
		c.finishWrites()
	}
}

// stuck notes that the peer does not take everything. The caller holds mu.
func (c *Conn) stuck() {
	if c.busy == 0 {
		c.busy = c.server.now()
	}
	if !c.tended {
		c.tended = true
		c.server.addBusy(c)
	}
}

// try writes what the kernel takes now. The caller holds mu.
func (c *Conn) try(p []byte) int {
	n, err := write(c.fd, p)
	if err != nil {
		c.cut(Gone)
	}
	return n
}

// finishWrites says that nothing more will come, so that a peer who waits for our
// end of the closing handshake has it. The caller holds mu.
func (c *Conn) finishWrites() { halfClose(c.fd) }

// cut ends the connection the hard way. The caller holds mu.
func (c *Conn) cut(why Why) {
	if c.fd < 0 {
		return
	}
	c.server.waiter.release(c)
	c.fd, c.tail, c.busy, c.due, c.half = -1, nil, 0, 0, 0
	if !c.end(why) {
		c.wake() // it was told; the rest is to be cleared away
	}
}

// end notes why no message can follow, unless that is known, and has the handler
// told. The caller holds mu.
func (c *Conn) end(why Why) bool {
	if c.why != 0 {
		return false
	}
	c.why = why
	c.half = 0
	if !c.closing {
		c.due = 0
	}
	c.wake()
	return true
}

// wake sees to it that a worker looks at the connection. The caller holds mu.
func (c *Conn) wake() {
	switch {
	case c.handler == nil: // Start looks for itself
	case c.working:
		c.again = true
	default:
		c.working = true
		go c.work() // ends by itself; Server.Close waits
	}
}

// Ready implements the waiter's: something came, or the connection broke.
func (c *Conn) Ready() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
}

// park has the connection wait for bytes, without a worker. The caller holds mu.
func (c *Conn) park() {
	if err := c.server.waiter.arm(c); err != nil {
		c.cut(Refused)
	}
}

// schedule has the wheel look soon after at, unless it looks before. The caller
// holds mu.
func (c *Conn) schedule(at int64) {
	if c.tick == 0 || at/wheelTick < c.tick-1 {
		c.tick = c.server.wheel.add(at, c)
	}
}

// expire is the wheel's: it ends what is out of time.
func (c *Conn) expire(now, tick int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tick != tick {
		return // an earlier look was asked for since, and saw to it
	}
	c.tick = 0
	if c.fd < 0 {
		return
	}
	first := c.due
	if c.half != 0 && (first == 0 || c.half < first) {
		first = c.half
	}
	switch {
	case first == 0:
	case first > now:
		c.schedule(first)
	case c.closing:
		c.cut(Closed)
	case first == c.half:
		c.end(Unfinished)
		c.code = uint16(closeCodes[Unfinished])
	default:
		c.end(Silent)
		c.code = uint16(closeCodes[Silent])
	}
}

// tend writes a tail on, cuts a connection that is stuck, and lets go of one that
// is not busy.
func (c *Conn) tend(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		if c.flush(); c.busy != 0 && now-c.busy >= stuckAfter {
			c.cut(Slow)
		}
	}
	if c.busy == 0 && c.tended {
		c.tended = false
		c.server.removeBusy(c)
	}
}
