package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/process"
)

// idle is how long a socket waits for its next request: longer than a proxy keeps
// it, which is 120 s in Caddy and 60 s in nginx. A proxy whose connection is closed
// under a POST may not send it again, and the visitor would be told 502.
const idle = 130 * time.Second

// serve answers until ctx ends or a part fails, then drains.
func (c *runCmd) serve(ctx context.Context, env *process.Env, shop *booking.Booker, passes keys) error {
	c.Public.Memory.Set(env.Log)
	sockets, err := c.Public.Sockets(env, process.Need{}, idle)
	if err != nil {
		return err
	}
	public, err := process.Listen("listen", c.Servers.Listen)
	if err != nil {
		return err
	}
	defer public.Close()
	private, err := process.Listen("ops-listen", c.Servers.OpsListen)
	if err != nil {
		return err
	}
	defer private.Close()

	var ready process.Ready
	// The loops outlive the requests, and metrics outlive the loops, so each has
	// a context of its own; errgroup waits for all of them.
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	closing, closePort := context.WithCancel(loops) // ends with --drain-delay
	defer closePort()
	ops, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOps()
	parts, failed := errgroup.WithContext(ctx)
	parts.Go(func() error {
		defer stopLoops()
		return sockets.Serve(closing, public, shop.Handler(), drainGrace)
	})
	parts.Go(func() error {
		defer stopOps()
		return shop.Run(loops)
	})
	parts.Go(func() error { return process.Serve(ops, private, process.Ops(env.Metrics, &ready), drainGrace) })
	parts.Go(func() error {
		if awaitKeys(failed, env.Log, c.Servers.JWKS, passes) {
			ready.Set(true)
			env.Log.Info("shop is open")
		}
		<-failed.Done()
		ready.Set(false)
		if ctx.Err() != nil { // a part that failed makes nobody wait
			c.Public.Linger(env.Log)
		}
		closePort()
		return nil
	})
	env.Log.Info("listening", zap.Stringer("listen", public.Addr()), zap.Stringer("ops", private.Addr()))
	err = parts.Wait()
	env.Log.Info("shop is closed")
	return err
}
