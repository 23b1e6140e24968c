package socket

import (
	"net"
	"runtime"
	"syscall"

	"waitroom/internal/epoll"
)

func newWaiter() (waiter, error) { return newPolled() }

// polled is the waiter of Linux: an epoll set for all, and nothing per
// connection.
type polled struct{ set *epoll.Set }

func newPolled() (*polled, error) {
	set, err := epoll.New(runtime.GOMAXPROCS(0))
	return &polled{set}, err
}

// take duplicates the descriptor and lets the runtime forget the connection: what
// that keeps for one is half of all that a silent connection needs.
func (p *polled) take(c *Conn, nc net.Conn) error {
	fd, err := epoll.Take(nc)
	if err != nil {
		return err
	}
	if err := p.set.Add(fd, c); err != nil {
		_ = syscall.Close(fd)
		return err
	}
	c.fd = fd
	return nil
}

func (p *polled) arm(c *Conn) error { return p.set.Arm(c.fd) }

func (p *polled) release(c *Conn) {
	p.set.Remove(c.fd)
	_ = syscall.Close(c.fd) // nothing is lost: what was to be said is said
}

func (p *polled) close() { p.set.Close() }
