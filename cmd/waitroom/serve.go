package main

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/gateway"
	"waitroom/internal/hub"
	"waitroom/internal/process"
)

// farewell is the time beyond --drain for close handshakes and requests in service.
const farewell = 10 * time.Second

// serve runs until ctx ends or a part fails, then drains. besides are loops that
// nobody waits for before the visitors are gone.
func (c *runCmd) serve(ctx context.Context, env *process.Env, visitors *hub.Hub, edge *gateway.Gateway, handler http.Handler, besides ...func(context.Context) error) error {
	public, err := process.Listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer public.Close()
	private, err := process.Listen("ops-listen", c.OpsListen)
	if err != nil {
		return err
	}
	defer private.Close()
	var ready process.Ready
	last, stop := context.WithCancel(context.WithoutCancel(ctx)) // ends when the visitors are gone
	defer stop()
	parts, ending := errgroup.WithContext(ctx)
	parts.Go(func() error { return process.Serve(last, private, process.Ops(env.Metrics, &ready), farewell) })
	parts.Go(func() error { return visitors.Run(last) })
	parts.Go(func() error { return edge.Run(last) })
	for _, loop := range besides {
		parts.Go(func() error { return loop(last) })
	}
	parts.Go(func() error { return process.Serve(ending, public, handler, farewell) })
	parts.Go(func() error {
		defer stop()
		select {
		case <-visitors.Contact():
			ready.Set(true)
		case <-ending.Done():
		}
		<-ending.Done()
		ready.Set(false)
		limit, cancel := context.WithTimeout(last, c.Edge.Drain+farewell)
		defer cancel()
		edge.Drain(limit)
		return nil
	})
	env.Log.Info("serving visitors", zap.Stringer("listen", public.Addr()), zap.Stringer("ops", private.Addr()))
	err = parts.Wait()
	env.Log.Info("stopped")
	return err
}
