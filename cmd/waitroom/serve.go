package main

import (
	"context"
	"fmt"
	"time"

	"waitroom/internal/line"
	"waitroom/internal/node"
	"waitroom/internal/process"
	"waitroom/internal/token"
)

// farewell is the time beyond --drain-delay and --drain for close handshakes, 6 s, and
// then for what the line has to hear at the end: batches given back, the last sign.
const farewell = 10 * time.Second

// idle is how long a visitor's socket waits for a further request: the files of a
// page come together. A proxy that keeps it for longer asks again by itself when it
// was closed under a request, because all requests here are GETs.
const idle = 15 * time.Second

// stop is how long a stop takes at most.
func (c *runCmd) stop() time.Duration { return c.Public.DrainDelay + c.Edge.Drain + farewell }

// service is a node between its first port and its last line of the log.
func (c *runCmd) service(env *process.Env, keys *token.Keyring) process.Service {
	return process.Service{
		OpsListen: c.OpsListen,
		Front: &process.Front{Listen: c.Listen, Public: c.Public, Idle: idle, Need: process.Need{
			Flag: fmt.Sprintf("--max-connections %d", c.Edge.MaxConnections), Upgraded: c.Edge.MaxConnections}},
		Stop: c.stop(),
		Open: func(ctx context.Context, start *process.Start) (process.Parts, error) {
			rdb, err := c.open(ctx, env, start)
			if err != nil {
				return process.Parts{}, err
			}
			n, err := node.New(node.Options{Line: line.New(rdb), Keys: keys, Edge: c.Edge, Hub: c.Hub, Version: process.ReadBuild().Version, Log: env.Log, Metrics: env.Metrics})
			if err != nil {
				return process.Parts{}, err
			}
			return process.Parts{
				Handler: n.Handler(),
				Awaits:  "the list of rooms",
				Await: func(ctx context.Context) {
					select {
					case <-n.Contact():
					case <-ctx.Done():
					}
				},
				Loops: []process.Part{{Name: "ticks and sign of life", Run: n.Run}},
				Drain: n.Drain,
			}, nil
		},
	}
}
