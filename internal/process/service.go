package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// What a stop keeps for those that come later in it, so that one that hangs takes
// nothing from the others.
const (
	// keptForLoops is what the public port leaves: the longest loop, a relay, gives up
	// after 3 s, and a member leaves its group within 3 s.
	keptForLoops = 4 * time.Second
	// keptForLast is what the loops leave where something follows them: a last sign of
	// life takes a second at most.
	keptForLast = time.Second
	// keptForEnd is for closing the servers and the ops port.
	keptForEnd = 500 * time.Millisecond
	// keptToTell is for what was cut by its limit to return.
	keptToTell = 100 * time.Millisecond
	// patience is how long a server may keep a start waiting before the log says so.
	patience = time.Second
)

// Service is a process that serves. Run gives every binary one shape:
//
//   - The settings were checked. What the process may open is looked at, then both ports
//     are taken, so that a port in use is told before any server is asked. From here on
//     the ops port answers: alive, and not ready because of what it names. Whoever knocks
//     at the public port waits in the kernel's queue until there is somebody to answer.
//   - The servers are opened, one after the other, and the parts made.
//   - The parts run, the public port answers, and the process is ready once Await says so.
//   - It stops at a signal, or when a part fails. Not ready comes first; after --drain-delay
//     the public port closes and Drain sends away whoever is connected; then the loops end,
//     then the last words, then the servers are closed, then the ops port; the last line of
//     the log says so.
type Service struct {
	OpsListen string
	Front     *Front // nil: the process has no public port
	// Stop is how long all of the stop takes at most, counted from the signal. What has
	// not ended by then, or by the time that is kept for what comes after it, is named in
	// the log and left as it is, and the process ends with 1. Without a signal there is
	// nobody to wait for, so --drain-delay is left out.
	Stop time.Duration
	// Open opens the servers and makes the parts. Its context ends with the signal.
	Open func(ctx context.Context, start *Start) (Parts, error)
}

// Front is a public port.
type Front struct {
	Listen string
	Public Public
	Need   Need
	Idle   time.Duration // a socket may wait so long for its next request
}

// Parts are what a process does once its servers are there.
type Parts struct {
	Handler http.Handler // of the public port
	// Await returns when the process may be called ready; Awaits says what it waits for.
	// nil: it is ready at once.
	Await  func(context.Context)
	Awaits string
	Loops  []Part
	// Drain sends away who is connected, while the loops go on; nil: nobody is.
	Drain func(context.Context)
	Last  []Part // they end after the loops
}

// Part runs until its context ends. An error of it ends the process.
type Part struct {
	Name string // in the log, when it was cut short
	Run  func(context.Context) error
}

// Run lives the service's life, until ctx ends, which is the good end, or a part fails.
// Where the stop was cut short, goroutines are left behind: the process is to end then.
func (s Service) Run(ctx context.Context, env *Env) error {
	if err := ctx.Err(); err != nil {
		return err // before anything is opened
	}
	l := &life{Service: s, env: env, signal: ctx, under: map[string]int{}}
	var err error
	if s.Front != nil {
		s.Front.Public.Memory.Set(env.Log)
		if l.sockets, err = s.Front.Public.Sockets(env, s.Front.Need, s.Front.Idle); err != nil {
			return err
		}
	}
	if err := l.listen(); err != nil {
		return err
	}
	ctx, l.fail = context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() { ended <- l.live(ctx) }() // ends with the life, or with the process at the limit
	var over <-chan time.Time
	stopping := ctx.Done()
	for {
		select {
		case err := <-ended:
			return err
		case <-stopping:
			stopping, over = nil, time.After(l.limit())
		case <-over:
			return l.cut(l.still()...)
		}
	}
}

// limit is how long the stop may take that has begun.
func (l *life) limit() time.Duration {
	if l.Front != nil && l.signal.Err() == nil {
		return l.Stop - l.Front.Public.DrainDelay
	}
	return l.Stop
}

// listen takes the ports, and says of both what is wrong.
func (l *life) listen() error {
	var errs []error
	open := func(flag, address string) net.Listener {
		port, err := Listen(flag, address)
		errs = append(errs, err)
		return port
	}
	if l.Front != nil {
		l.public = open("listen", l.Front.Listen)
	}
	l.ops = open("ops-listen", l.OpsListen)
	if err := errors.Join(errs...); err != nil {
		for _, port := range []net.Listener{l.public, l.ops} {
			if port != nil {
				port.Close() // nobody has been let in
			}
		}
		return err
	}
	fields := []zap.Field{zap.Stringer("ops", l.ops.Addr())}
	if l.public != nil {
		fields = append([]zap.Field{zap.Stringer("listen", l.public.Addr())}, fields...)
	}
	l.env.Log.Info("listening", fields...)
	return nil
}

// Start is what Open has in hand.
type Start struct {
	life   *life
	closes []Part
}

// Await opens a server: while open runs, /readyz names what is waited for, and after a
// second the log does. Where a signal came meanwhile, its error is the signal's.
func (s *Start) Await(what string, open func() error) error {
	l := s.life
	l.ready.Wait("waiting for " + what)
	defer l.begin("waiting for " + what)()
	slow := time.AfterFunc(patience, func() { l.env.Log.Info("not ready: waiting for " + what) })
	defer slow.Stop()
	err := open()
	if err != nil && errors.Is(l.signal.Err(), context.Canceled) {
		return l.signal.Err() // a good end, whatever the server said of it
	}
	return err
}

// Close has a server closed at the end, the last one opened first. A start that fails
// closes as well.
func (s *Start) Close(name string, close func() error) {
	s.closes = append(s.closes, Part{Name: name, Run: func(context.Context) error { return close() }})
}

func (s *Start) close() {
	for i := len(s.closes) - 1; i >= 0; i-- {
		done := s.life.begin("closing " + s.closes[i].Name)
		_ = s.closes[i].Run(context.Background()) // at the end, with nothing under way
		done()
	}
}

// cut says which parts were not awaited.
func (l *life) cut(names ...string) error {
	l.env.Log.Error("the stop was cut short", zap.Strings("parts", names), zap.Duration("limit", l.limit()))
	return fmt.Errorf("the stop was cut short after %s: %s", l.limit(), strings.Join(names, ", "))
}
