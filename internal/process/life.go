package process

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// life is one run of a service.
type life struct {
	Service
	env     *Env
	signal  context.Context // ends with the signal
	fail    context.CancelCauseFunc
	sockets *Sockets
	public  net.Listener // nil: none
	ops     net.Listener
	ready   Ready

	mu    sync.Mutex
	under map[string]int // what is under way, by name; guarded by mu
	err   error          // of the first part that failed; guarded by mu
}

// begin notes that something is under way, until done is called.
func (l *life) begin(name string) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under[name]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.under[name]--; l.under[name] == 0 {
			delete(l.under, name)
		}
	}
}

// still are the names of what is under way.
func (l *life) still() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.under))
}

func (l *life) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.fail(err)
}

// live is all of the life behind the ports. ctx ends with the signal or with the first
// failure.
func (l *life) live(ctx context.Context) error {
	defer l.fail(nil)
	serving, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	ops := make(chan struct{})
	go func() { // ends with stopOps, which is awaited below
		defer close(ops)
		if err := Serve(serving, l.ops, Ops(l.env.Metrics, &l.ready), keptForEnd); err != nil && serving.Err() == nil {
			l.failed(err)
		}
	}()
	defer func() { stopOps(); <-ops }()

	start := &Start{life: l}
	parts, err := l.Open(ctx, start)
	if err != nil {
		start.close()
		if l.public != nil {
			l.public.Close() // who waits there is told now
		}
		return err
	}
	cut := l.serve(ctx, parts)
	if len(cut) > 0 {
		return errors.Join(l.failure(), l.cut(cut...)) // the servers are in use
	}
	start.close()
	defer l.begin("closing the ops port")()
	stopOps()
	<-ops
	l.env.Log.Info("stopped")
	return l.failure()
}

func (l *life) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// serve runs the parts until ctx ends, and stops them. It returns the names of those
// that were not awaited.
func (l *life) serve(ctx context.Context, parts Parts) (cut []string) {
	loops, last := l.run(ctx, parts.Loops), l.run(ctx, parts.Last)
	front := l.open(ctx, parts)
	if parts.Await != nil {
		l.ready.Wait("waiting for " + parts.Awaits)
		parts.Await(ctx)
	}
	if ctx.Err() == nil {
		l.ready.Set(true)
		l.env.Log.Info("ready")
	}
	<-ctx.Done()

	l.ready.Wait("stopping")
	limit := l.limit()
	end := time.Now().Add(limit)
	l.env.Log.Info("stopping", zap.Duration("limit", limit))
	kept := keptForEnd
	if len(parts.Last) > 0 {
		kept += keptForLast
	}
	if front != nil {
		cut = append(cut, front.stop(end.Add(-keptForLoops))...)
	}
	cut = append(cut, loops.stop(end.Add(-kept))...)
	return append(cut, last.stop(end.Add(-keptForEnd))...)
}

// stage is parts that run and end together.
type stage struct {
	life  *life
	end   context.CancelFunc
	names []string
	all   sync.WaitGroup
}

// run starts parts, which end with stop and not with ctx.
func (l *life) run(ctx context.Context, parts []Part) *stage {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	s := &stage{life: l, end: end}
	for _, part := range parts {
		s.names = append(s.names, part.Name)
		done := l.begin(part.Name)
		s.all.Go(func() { // ends with the part, which stop awaits
			defer done()
			if err := part.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				l.failed(err)
			}
		})
	}
	return s
}

// stop ends the parts and awaits them until the deadline. It returns the names of those
// that run on.
func (s *stage) stop(deadline time.Time) (cut []string) {
	s.end()
	done := make(chan struct{})
	go func() { s.all.Wait(); close(done) }() // ends with the parts, or with the process
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
	}
	still := s.life.still()
	return slices.DeleteFunc(slices.Clone(s.names), func(name string) bool { return !slices.Contains(still, name) })
}

// front is the public port while it is served.
type front struct {
	life    *life
	drain   func(context.Context)
	port    *stage
	limit   context.Context // ends when the port has had its time
	reached context.CancelFunc
	cut     bool // requests were; owned by the port until it has ended
}

// open serves the public port, if there is one.
func (l *life) open(ctx context.Context, parts Parts) *front {
	if l.Front == nil {
		return nil
	}
	f := &front{life: l, drain: parts.Drain}
	f.limit, f.reached = context.WithCancel(context.WithoutCancel(ctx))
	f.port = l.run(ctx, []Part{{Name: "requests in service", Run: func(ctx context.Context) error {
		err := l.sockets.serve(ctx, f.limit, l.public, parts.Handler)
		if f.cut = errors.Is(err, errInService); f.cut {
			return nil
		}
		return err
	}}})
	return f
}

// stop lets the public port serve on for --drain-delay, where a signal ended it: a part
// that failed makes no visitor wait. Then it closes, and everybody is sent away.
func (f *front) stop(deadline time.Time) (cut []string) {
	defer f.reached()
	if delay := f.life.Front.Public.DrainDelay; delay > 0 && f.life.signal.Err() != nil {
		f.life.env.Log.Info("not ready any more; serving on until balancers know", zap.Duration("drain_delay", delay))
		time.Sleep(delay) // nothing ends it early but a second signal, which ends the process
	}
	defer time.AfterFunc(time.Until(deadline), f.reached).Stop()
	var away []Part
	if f.drain != nil {
		// Its time is the port's: it does not end with the stage.
		away = append(away, Part{Name: "visitors to be sent away", Run: func(context.Context) error { f.drain(f.limit); return nil }})
	}
	draining := f.life.run(f.limit, away)
	// Both are cut by the limit, and need a moment to say so.
	deadline = deadline.Add(keptToTell)
	cut = append(f.port.stop(deadline), draining.stop(deadline)...)
	if len(cut) == 0 && f.cut {
		return []string{"requests in service"}
	}
	return cut
}
