package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	opText  = 0x1
	opClose = 0x8

	// maxTail bounds what is kept for a connection that does not read: an answer
	// to each thing a visitor may ask fits in; who has more waiting reads nothing.
	maxTail = 8 << 10
	// stuckAfter is how long a connection may refuse bytes before it is closed.
	stuckAfter = 15 * time.Second
	// closeGrace is how long a peer may take to answer a close frame.
	closeGrace = 5 * time.Second
	// sendBuffer bounds what the kernel keeps for a peer that does not read, so
	// that it is noticed within minutes and costs little until then.
	sendBuffer = 16 << 10
	// userTimeout is how long sent bytes may stay without an acknowledgement: with
	// a beat every few seconds, a dead peer is gone within half a minute.
	userTimeout = 20 * time.Second
)

// frames lends buffers for one frame while it is written.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// conn is the net.Conn under one WebSocket. Its writes never wait.
//
// Two write to it: send, with whole frames of ours, and the library, through
// Write, with whole control frames. So mu is its own, and frames never mix.
type conn struct {
	net.Conn
	raw   syscall.RawConn
	write func(fd uintptr) bool // once, bound a single time so that a write allocates nothing

	early []byte        // read by the HTTP server before the upgrade; owned by the reader
	ahead *bufio.Reader // the library's reader, which may hold bytes already; owned by the reader

	mu      sync.Mutex
	tail    []byte    // rest of a torn frame, and what was told behind it
	busy    time.Time // since when it does not take everything; zero: it does
	closing bool      // the close frame is written or in tail
	out     []byte    // of the write under way
	wrote   int
	failed  error
}

var errNotRaw = errors.New("connection has no file descriptor")

func newConn(nc net.Conn, early []byte) (*conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, errNotRaw
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, raw: raw, early: early}
	c.write = c.once
	if tcp, ok := nc.(*net.TCPConn); ok {
		// Both only save memory and time; a kernel that refuses is no reason to
		// refuse the visitor.
		_ = tcp.SetWriteBuffer(sendBuffer)
		_ = setUserTimeout(raw, userTimeout)
	}
	return c, nil
}

// await returns when the reader has something to read. A goroutine that waits
// deep inside the library keeps 8 KiB of stack; from up here the collector can
// shrink it to a quarter, which is most of what a silent connection costs. An
// error is left to the read behind it, which meets the same.
func (c *conn) await() {
	if len(c.early) == 0 && c.ahead.Buffered() == 0 {
		_ = c.raw.Read(readable)
	}
}

// Read gives what the HTTP server had read already, then the connection.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		if len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// Write is for the library's control frames, each whole in one call. After our
// close frame nothing may follow, so they are swallowed then.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return len(p), nil
	}
	if !c.push(p, true) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// send writes one frame. must keeps it behind a torn one; otherwise a busy
// connection drops it. False: it was dropped.
func (c *conn) send(op byte, payload []byte, must bool) bool {
	buf := frames.Get().(*[]byte)
	*buf = append(appendHeader((*buf)[:0], op, len(payload)), payload...)
	c.mu.Lock()
	ok := !c.closing && c.push(*buf, must)
	c.mu.Unlock()
	frames.Put(buf)
	return ok
}

// appendHeader writes the head of an unmasked final frame (RFC 6455, 5.2).
func appendHeader(b []byte, op byte, n int) []byte {
	if n < 126 {
		return append(b, 0x80|op, byte(n))
	}
	b = append(b, 0x80|op, 126)
	return binary.BigEndian.AppendUint16(b, uint16(n))
}

// push writes p behind the tail. The caller holds mu.
func (c *conn) push(p []byte, must bool) bool {
	if c.flush(); len(c.tail) == 0 {
		n := c.try(p)
		if c.failed != nil {
			return false
		}
		if n == len(p) {
			c.busy = time.Time{}
			return true
		}
		c.since()
		if n == 0 && !must {
			return false
		}
		c.tail = append(c.tail, p[n:]...)
		return true
	}
	if !must || c.failed != nil {
		return false
	}
	if len(c.tail)+len(p) > maxTail {
		c.fail(errors.New("peer does not read"))
		return false
	}
	c.tail = append(c.tail, p...)
	return true
}

// flush writes the tail on. The caller holds mu.
func (c *conn) flush() {
	if len(c.tail) == 0 || c.failed != nil {
		return
	}
	n := c.try(c.tail)
	if n < len(c.tail) {
		c.tail = c.tail[:copy(c.tail, c.tail[n:])]
		c.since()
		return
	}
	c.tail, c.busy = nil, time.Time{}
	if c.closing {
		c.half()
	}
}

func (c *conn) since() {
	if c.busy.IsZero() {
		c.busy = time.Now()
	}
}

// try writes what the kernel takes now. The caller holds mu.
func (c *conn) try(p []byte) int {
	c.out, c.wrote = p, 0
	if err := c.raw.Write(c.write); err != nil && c.failed == nil {
		c.failed = err
	}
	c.out = nil
	if c.failed != nil {
		c.fail(c.failed)
	}
	return c.wrote
}

// fail ends the connection the hard way: its reader wakes and cleans up. The
// caller holds mu.
func (c *conn) fail(err error) {
	c.failed = err
	c.tail = nil
	_ = c.Conn.Close() // the reader closes it once more and sees why
}

// half says that nothing more will come, so that a peer who waits for our end of
// the closing handshake has it. The caller holds mu.
func (c *conn) half() {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite() // the peer may be gone already
	}
}

// shut sends a close frame behind everything told, and gives the peer closeGrace
// to answer. The reader then ends.
func (c *conn) shut(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.failed != nil {
		return
	}
	frame := binary.BigEndian.AppendUint16(appendHeader(make([]byte, 0, 4), opClose, 2), uint16(code))
	if !c.push(frame, true) {
		return
	}
	c.closing = true
	_ = c.Conn.SetReadDeadline(time.Now().Add(closeGrace)) // fails on a closed connection only
	if len(c.tail) == 0 {
		c.half()
	}
}

// isClosing reports that the close frame is on its way, or the connection broken.
func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing || c.failed != nil
}

// tend writes a tail on and ends a connection that is stuck; true if it did.
func (c *conn) tend(now time.Time) (stuck bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return false
	}
	c.flush()
	if c.busy.IsZero() || now.Sub(c.busy) < stuckAfter {
		return false
	}
	c.fail(errors.New("peer did not read"))
	return true
}
