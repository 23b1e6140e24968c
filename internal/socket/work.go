package socket

import "sync"

const (
	// drainBytes is how much of an ended connection's stream is read away, so that
	// the last words reach the peer: closing on unread bytes resets the connection
	// and takes them along.
	drainBytes = 64 << 10
	// drainRead is what one read of that counts for at least, so that a peer wakes us
	// 128 times at most after its end.
	drainRead = 512
)

// inboxes lends an inbox while something is begun or a worker runs.
type inboxes struct{ pool sync.Pool }

func newInboxes(limit int) *inboxes {
	return &inboxes{sync.Pool{New: func() any { return &inbox{buf: make([]byte, roomFor(limit))} }}}
}

func (p *inboxes) get() *inbox { return p.pool.Get().(*inbox) }

func (p *inboxes) put(in *inbox) {
	in.clear()
	p.pool.Put(in)
}

// work is the worker. It ends when there is nothing more for now, with the
// connection at the latest.
func (c *Conn) work() {
	if c.in == nil {
		c.in = c.server.inboxes.get()
	} else {
		c.serve() // bytes that came with the handshake, or part of a frame
	}
	for c.step() {
	}
}

// step does one thing, and reports whether there may be more.
func (c *Conn) step() bool {
	c.mu.Lock()
	c.again = false
	if c.why != 0 && !c.told {
		c.told = true
		why, code := c.why, int(c.code)
		c.mu.Unlock()
		c.in.clear()
		c.server.ended[why].Add(1)
		c.handler.Ended(why)
		c.Close(code)
		return true
	}
	if c.fd < 0 {
		c.mu.Unlock()
		c.server.inboxes.put(c.in)
		c.in = nil
		c.handler.Released()
		c.mu.Lock()
		c.handler = nil // the wheel may keep the connection for a minute more
		c.mu.Unlock()
		c.server.remove(c)
		return false // working stays true: nobody has anything to do here again
	}
	free := c.in.free()
	n, err := read(c.fd, free)
	if err == nil && n == 0 || err != nil && err != errAgain {
		c.cut(Gone)
	}
	told := c.told
	c.mu.Unlock()
	switch {
	case n > 0 && told:
		if c.away += max(n, drainRead); c.away > drainBytes {
			c.mu.Lock()
			c.cut(Closed)
			c.mu.Unlock()
		}
	case n > 0:
		c.in.end += n
		if !c.budget.spend(c.server.now(), readCost) {
			c.stop(TooFast, 0)
			return true
		}
		c.serve()
	}
	// A full buffer may not be all; otherwise the waiter tells of what came since.
	return n == len(free) || c.rest()
}

// rest parks the connection, unless something happened meanwhile, which it
// reports.
func (c *Conn) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.again {
		return true
	}
	if !c.in.unfinished() {
		c.server.inboxes.put(c.in)
		c.in = nil
	}
	c.working = false
	c.park()
	return false
}

// serve deals with the frames that are whole.
func (c *Conn) serve() {
	fresh := false // what is unfinished was begun just now
	for {
		f, ok, wrong := c.in.next(c.server.limit)
		if wrong != 0 {
			c.stop(wrong, 0)
			return
		}
		if !ok {
			break
		}
		if !c.budget.spend(c.server.now(), frameCost+f.size) {
			c.stop(TooFast, 0)
			return
		}
		fresh = fresh || !c.in.more
		switch {
		case f.op == opText && f.final:
			if !c.deliver(f.payload) {
				return
			}
		case f.op == opPing:
			c.send(opPong, f.payload, true)
		case f.op == opClose:
			c.stop(Left, closeCode(f.payload))
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.why != 0:
	case !c.in.unfinished():
		c.half = 0
	case fresh || c.half == 0:
		c.half = c.server.now() + halfWithin
		c.schedule(c.half)
	}
}

// deliver hands one message on. False: the connection has ended.
func (c *Conn) deliver(text []byte) bool {
	c.mu.Lock()
	ended := c.why != 0
	if !ended {
		c.half, c.due = 0, 0
	}
	c.mu.Unlock()
	if ended {
		return false
	}
	c.handler.Message(text)
	return true
}

// stop ends the serving for a reason that the worker found. code is for the close
// frame; 0: the reason's own.
func (c *Conn) stop(why Why, code int) {
	if code == 0 {
		code = closeCodes[why]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end(why) {
		c.code = uint16(code)
	}
}
