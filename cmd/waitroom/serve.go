package main

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/node"
	"waitroom/internal/process"
)

// farewell is the time beyond --drain for close handshakes and requests in service.
const farewell = 10 * time.Second

// idle is how long a visitor's socket waits for a further request: the files of a
// page come together. A proxy that keeps it for longer asks again by itself when it
// was closed under a request, because all requests here are GETs.
const idle = 15 * time.Second

// serve runs until ctx ends or a part fails. Then it is not ready, and after
// --drain-delay the public port closes and the visitors are sent away.
func (c *runCmd) serve(ctx context.Context, env *process.Env, n *node.Node) error {
	c.Public.Memory.Set(env.Log)
	sockets, err := c.Public.Sockets(env, process.Need{
		Flag: fmt.Sprintf("--max-connections %d", c.Edge.MaxConnections), Upgraded: c.Edge.MaxConnections}, idle)
	if err != nil {
		return err
	}
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
	closing, closePort := context.WithCancel(last) // ends with the delay
	defer closePort()
	parts, ending := errgroup.WithContext(ctx)
	parts.Go(func() error { return process.Serve(last, private, process.Ops(env.Metrics, &ready), farewell) })
	parts.Go(func() error { return n.Run(last) })
	parts.Go(func() error { return sockets.Serve(closing, public, n.Handler(), farewell) })
	parts.Go(func() error {
		defer stop()
		select {
		case <-n.Contact():
			ready.Set(true)
		case <-ending.Done():
		}
		<-ending.Done()
		ready.Set(false)
		if ctx.Err() != nil { // a part that failed makes no visitor wait
			c.Public.Linger(env.Log)
		}
		closePort()
		limit, cancel := context.WithTimeout(last, c.Edge.Drain+farewell)
		defer cancel()
		n.Drain(limit)
		return nil
	})
	env.Log.Info("serving visitors", zap.Stringer("listen", public.Addr()), zap.Stringer("ops", private.Addr()))
	err = parts.Wait()
	env.Log.Info("stopped")
	return err
}
