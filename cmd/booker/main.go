// Command booker is the shop behind the line: visitors with a pass hold and buy
// seats. `booker seats` makes the seats of a room and takes them from sale, `booker report`
// says what was sold.
package main

import (
	"context"
	"fmt"
	"time"

	"waitroom/internal/boxoffice"
	"waitroom/internal/process"
	"waitroom/internal/token"
)

const (
	startWait = 15 * time.Second // for the servers behind to answer; then a supervisor tries again
	// tablesWait is for the database's tables on top of that: a large one that gets a
	// column takes minutes, and what was cut off would be begun again by each start.
	tablesWait = time.Hour
	// ending is what a stop takes at most beyond --drain-delay: requests in service have
	// 11 s, longer than one may take, and the loops the rest.
	ending = 15 * time.Second
)

// idle is how long a socket waits for its next request: longer than a proxy keeps
// it, which is 120 s in Caddy and 60 s in nginx. A proxy whose connection is closed
// under a POST may not send it again, and the visitor would be told 502.
const idle = 130 * time.Second

type cli struct {
	process.Logging `embed:""`
	Run             runCmd    `cmd:"" default:"withargs" help:"Serve the shop."`
	Seats           seatsCmd  `cmd:"" help:"Seats of a room: add, import a plan, block, unblock."`
	Report          reportCmd `cmd:"" help:"Say what a room has sold: seats by category and state, and their money."`
}

func main() {
	process.Main("booker", "The shop behind the line: seats that visitors with a pass hold and buy.", &cli{})
}

type runCmd struct {
	Servers servers          `embed:""`
	Public  process.Public   `embed:""`
	Shop    boxoffice.Config `embed:""`
}

// stop is how long a stop takes at most.
func (c *runCmd) stop() time.Duration { return c.Public.DrainDelay + ending }

// Run serves the shop until ctx ends, in the shape that process.Service has.
func (c *runCmd) Run(ctx context.Context, env *process.Env) error {
	verifier, err := token.LoadVerifier(c.Servers.JWKS)
	if err != nil {
		return fmt.Errorf("--jwks: %w", err)
	}
	return process.Service{
		OpsListen: c.Servers.OpsListen,
		Front:     &process.Front{Listen: c.Servers.Listen, Public: c.Public, Idle: idle},
		Stop:      c.stop(),
		Open: func(ctx context.Context, start *process.Start) (process.Parts, error) {
			kafka := newBroker(c.Servers, env.Log, env.Metrics)
			shop, missing, err := c.open(ctx, env, start, verifier, kafka)
			if err != nil {
				return process.Parts{}, err
			}
			return process.Parts{
				Handler: shop.Handler(),
				Awaits:  "a key that verifies passes, from " + process.Redact(c.Servers.JWKS),
				Await:   func(ctx context.Context) { awaitKeys(ctx, env.Log, c.Servers.JWKS, verifier) },
				Loops: []process.Part{
					{Name: "loops of the shop", Run: shop.Run},
					{Name: "a look at kafka", Run: func(ctx context.Context) error { kafka.watch(ctx, missing); return nil }},
				},
				Drain: shop.Drain,
			}, nil
		},
	}.Run(ctx, env)
}
