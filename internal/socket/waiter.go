package socket

import (
	"net"
	"sync"
	"syscall"
)

// waiter waits for bytes on behalf of silent connections. Whatever it does to a
// connection it does under the connection's lock.
type waiter interface {
	// take sets the descriptor of a new connection, which does not block, and is the
	// connection's until it calls release. On an error nc is the caller's to close.
	take(c *Conn, nc net.Conn) error
	// arm asks for one call of Conn.Ready when there is something to read, be it the
	// end. A second one before that changes nothing.
	arm(*Conn) error
	// release closes the descriptor. A call of Ready that is on its way may come.
	release(*Conn)
	// close returns when no call of Ready can come. All connections were released.
	close()
}

// goroutines is the waiter for any system: one goroutine per silent connection.
// It did nothing before it waits, so its stack is the smallest there is; what
// comes is read by the worker that it wakes, on another one.
type goroutines struct{ wg sync.WaitGroup }

func (g *goroutines) take(c *Conn, nc net.Conn) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return errNotRaw
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	c.kept = &kept{nc: nc, raw: raw}
	// The number stays valid until release closes nc: nobody else does.
	return raw.Control(func(fd uintptr) { c.fd = int(fd) })
}

func (g *goroutines) arm(c *Conn) error {
	if !c.kept.parked {
		c.kept.parked = true
		g.wg.Add(1)
		go g.wait(c) // ends with the connection at the latest; close waits
	}
	return nil
}

func (g *goroutines) wait(c *Conn) {
	defer g.wg.Done()
	_ = c.kept.raw.Read(readable) // an error is left to the worker, which meets the same
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.parked = false
	c.wake()
}

// release waits until a parked goroutine has let go of the descriptor, which it
// does at once and without a lock.
func (g *goroutines) release(c *Conn) { _ = c.kept.nc.Close() } // nothing is lost: what was to be said is said

func (g *goroutines) close() { g.wg.Wait() }

// kept is what goroutines needs of a connection.
type kept struct {
	nc     net.Conn
	raw    syscall.RawConn
	parked bool // a goroutine waits; guarded by Conn.mu
}
