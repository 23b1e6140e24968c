package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"waitroom/internal/wire"
)

const (
	// firstRaider is the last byte of the first address of attackers, and raiders how
	// many addresses they have: 28,000 ports each, of which a connection that was
	// ended from here keeps one for a minute.
	firstRaider = 100
	raiders     = 8
	// spread is the time between the first dials of two attackers: 2,000 a second, so
	// that coming is not the attack.
	spread = 500 * time.Microsecond
	// again is how long after the end of a connection its attacker comes back.
	again = time.Second
	// yielding is the priority of the attackers' process: on a network their work is
	// not done by the machine that they attack.
	yielding = 19
)

// order is what attackers are told.
type order struct {
	Kind, Address, Room string
	Count               int
	Within              string   // they end by themselves after it
	Places              []string // of an older line of the room
}

// Toll is what came of it.
type Toll struct {
	Seconds float64
	Opened  int64
	Open    int64            // at the end
	Acts    int64            // whatever the kind counts: frames, bytes, requests
	Ends    map[string]int64 // how connections ended, and dials that became none
}

// raid is the attackers of one process.
type raid struct {
	order
	kind kind
	// connect opens a connection for an attacker; tests have one without a network.
	connect            func(ctx context.Context, a *attacker, deaf bool) (net.Conn, error)
	opened, open, acts atomic.Int64

	mu   sync.Mutex
	ends map[string]int64
}

// playRaid hears its order, attacks until it is asked to stop, and says what came of
// it.
func playRaid(ctx context.Context, in io.Reader) error {
	// Where it may not be lowered the attackers take more from the node.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, yielding)
	var o order
	// The next question comes after the answer to this one, so the decoder reads
	// nothing of it.
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	within, err := time.ParseDuration(o.Within)
	if err != nil {
		return err
	}
	r, err := newRaid(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var all sync.WaitGroup
	began := time.Now()
	all.Go(func() { r.run(ctx) })
	if err := say(true); err != nil {
		return err
	}
	return answer(map[string]func(string) (any, error){
		"stop": func(string) (any, error) {
			t := r.toll(time.Since(began)) // before the end: who is open is still open
			cancel()
			all.Wait()
			return t, nil
		},
	})
}

func newRaid(o order) (*raid, error) {
	for _, k := range kinds {
		if k.name == o.Kind {
			return &raid{order: o, kind: k, connect: connect, ends: map[string]int64{}}, nil
		}
	}
	return nil, fmt.Errorf("no hostile peers %q", o.Kind)
}

// run returns when ctx has ended and every attacker with it.
func (r *raid) run(ctx context.Context) {
	var all sync.WaitGroup
	for i := range r.Count {
		all.Go(func() {
			if pause(ctx, time.Duration(i)*spread) != nil {
				return
			}
			a := &attacker{raid: r, index: i}
			for {
				err := r.kind.life(ctx, a)
				a.hangUp()
				if ctx.Err() != nil {
					return
				}
				r.ended(err)
				if pause(ctx, again) != nil {
					return
				}
			}
		})
	}
	all.Wait()
}

func (r *raid) toll(d time.Duration) Toll {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Toll{Seconds: d.Seconds(), Opened: r.opened.Load(), Open: r.open.Load(), Acts: r.acts.Load(), Ends: maps.Clone(r.ends)}
}

// ended counts how a connection ended. The words are few: statuses, close codes and
// these.
func (r *raid) ended(err error) {
	var status refused
	var code closed
	var network net.Error
	how := ""
	switch {
	case err == nil:
		how = "left by themselves"
	case errors.As(err, &status):
		how = "answered " + status.Error()
	case errors.As(err, &code):
		how = "closed with " + code.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		how = "closed without a word"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		how = "reset"
	case errors.Is(err, syscall.ECONNREFUSED):
		how = "not accepted"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		how = "without a port of their own"
	case errors.As(err, &network) && network.Timeout():
		how = "not answered"
	default:
		how = "ended otherwise"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends[how]++
}

// closed is the code of a close frame.
type closed uint16

func (c closed) Error() string { return fmt.Sprint(uint16(c)) }

// attacker is one of a raid, with one connection at a time.
type attacker struct {
	*raid
	index int
	dials int
	place string // its own; with it it comes back as the same visitor

	conn net.Conn // nil: none
	in   *bufio.Reader
	stop func() bool // lets go of the context that would end conn
}

// dial opens a connection, which ends with ctx.
func (a *attacker) dial(ctx context.Context, deaf bool) error {
	a.hangUp()
	a.dials++
	conn, err := a.connect(ctx, a, deaf)
	if err != nil {
		return err
	}
	a.opened.Add(1)
	a.open.Add(1)
	a.conn, a.in = conn, bufio.NewReaderSize(conn, maxFrame)
	a.stop = context.AfterFunc(ctx, func() { conn.Close() })
	return nil
}

// connect dials by TCP. A deaf one has the smallest receive buffer there is.
func connect(ctx context.Context, a *attacker, deaf bool) (net.Conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(firstRaider+(a.index+a.dials)%raiders))}
	d := net.Dialer{LocalAddr: from, Timeout: 10 * time.Second, KeepAlive: -1,
		Control: func(_, _ string, c syscall.RawConn) (failed error) {
			err := c.Control(func(fd uintptr) {
				failed = bindLater(int(fd))
				if deaf && failed == nil {
					failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
				}
			})
			return errors.Join(err, failed)
		}}
	return d.DialContext(ctx, "tcp", a.Address)
}

func (a *attacker) hangUp() {
	if a.conn == nil {
		return
	}
	a.stop()
	a.conn.Close()
	a.open.Add(-1)
	a.conn = nil
}

// send writes what counts as so many acts.
func (a *attacker) send(b []byte, acts int) error {
	_, err := a.conn.Write(b)
	if err == nil {
		a.acts.Add(int64(acts))
	}
	return err
}

// upgrade opens a WebSocket, with more headers.
func (a *attacker) upgrade(ctx context.Context, more string) error {
	if err := a.dial(ctx, false); err != nil {
		return err
	}
	if _, err := io.WriteString(a.conn, handshake(a.Address, a.Room, more)); err != nil {
		return err
	}
	return readUpgrade(a.in)
}

// enter opens a WebSocket and joins, with the place of the time before.
func (a *attacker) enter(ctx context.Context, more string) error {
	if err := a.upgrade(ctx, more); err != nil {
		return err
	}
	if _, err := a.conn.Write(frame(final|opText, joinWith(a.place))); err != nil {
		return err
	}
	for {
		payload, err := a.hear()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(payload, []byte(`{"type":"joined"`)) {
			var joined wire.JoinedMessage
			err := json.Unmarshal(payload, &joined)
			a.place = joined.Place
			return err
		}
	}
}

func joinWith(place string) string {
	return string(wire.Encode(wire.Request{Type: wire.Join, Place: place}))
}

// hear is the next message; a close frame is an error with its code.
func (a *attacker) hear() ([]byte, error) {
	op, payload, err := readFrame(a.in)
	if err == nil && op == opClose {
		code := closed(1005) // none was sent (RFC 6455, 7.1.5)
		if len(payload) >= 2 {
			code = closed(binary.BigEndian.Uint16(payload))
		}
		return nil, code
	}
	return payload, err
}

// listen reads a WebSocket until the server ends it.
func (a *attacker) listen() error {
	for {
		if _, err := a.hear(); err != nil {
			return err
		}
	}
}

// watch reads what is no WebSocket until the server ends it; an answer of HTTP says
// why.
func (a *attacker) watch() error {
	line, err := a.in.ReadString('\n')
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, a.in); err != nil {
		return err
	}
	return refused(line)
}

// drip sends again and again until the server ends the connection, which ear
// notices: by the end of reading, or, without one, by a write that fails.
func (a *attacker) drip(ctx context.Context, every time.Duration, acts int, next func(i int) []byte, ear func() error) error {
	over := make(chan error, 1)
	if ear != nil {
		// It ends with the connection, which this function ends.
		go func() { over <- ear() }()
		defer func() { a.conn.Close(); <-over }()
	}
	beat := time.NewTicker(every)
	defer beat.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-over:
			over <- err
			return err
		case <-beat.C:
		}
		if err := a.send(next(i), acts); err != nil {
			if ear == nil {
				return err
			}
			// What was read before the end says more than the failed write.
			_ = a.conn.SetReadDeadline(time.Now().Add(time.Second))
			why := <-over
			over <- why
			return why
		}
	}
}
