package kafkaio

import (
	"context"
	"net"
	"sync"
	"time"
)

// ending dials connections that all end at one time, once it is known. kafka-go's
// group gives each call up to 5 s, a join more, and its Close waits for the call
// under way and then for more of them: a stop would last as long as they do.
type ending struct {
	mu   sync.Mutex
	at   time.Time           // zero: not known yet; guarded by mu
	open map[*ended]struct{} // guarded by mu
}

func newEnding() *ending { return &ending{open: map[*ended]struct{}{}} }

func (e *ending) dial(ctx context.Context, network, address string) (net.Conn, error) {
	e.mu.Lock()
	at := e.at
	e.mu.Unlock()
	dialer := net.Dialer{Timeout: dialTimeout, Deadline: at}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &ended{Conn: conn, ending: e}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open[c] = struct{}{}
	if !e.at.IsZero() {
		_ = conn.SetDeadline(e.at) // an error is the next call's too
	}
	return c, nil
}

// by says when all of them end, those to come too.
func (e *ending) by(at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = at
	for c := range e.open {
		_ = c.Conn.SetDeadline(at) // of a connection that broke, which has ended
	}
}

// ended is a connection whose deadlines do not pass the common end.
type ended struct {
	net.Conn
	ending *ending
}

func (c *ended) SetDeadline(t time.Time) error      { return c.set(t, c.Conn.SetDeadline) }
func (c *ended) SetReadDeadline(t time.Time) error  { return c.set(t, c.Conn.SetReadDeadline) }
func (c *ended) SetWriteDeadline(t time.Time) error { return c.set(t, c.Conn.SetWriteDeadline) }

// set holds mu to the end, so that no later deadline passes one that by sets.
func (c *ended) set(t time.Time, set func(time.Time) error) error {
	c.ending.mu.Lock()
	defer c.ending.mu.Unlock()
	if at := c.ending.at; !at.IsZero() && (t.IsZero() || t.After(at)) {
		t = at
	}
	return set(t)
}

func (c *ended) Close() error {
	c.ending.mu.Lock()
	delete(c.ending.open, c)
	c.ending.mu.Unlock()
	return c.Conn.Close()
}
