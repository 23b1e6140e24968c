// Command waitroom is one node of the fleet that visitors are connected to.
// `waitroom keys new` makes the key that signs their places and passes.
package main

import (
	"context"
	"errors"

	"waitroom/internal/gateway"
	"waitroom/internal/hub"
	"waitroom/internal/line"
	"waitroom/internal/process"
)

type cli struct {
	process.Logging `embed:""`
	Run             runCmd  `cmd:"" default:"withargs" help:"Serve visitors."`
	Keys            keysCmd `cmd:"" help:"Keys that sign places and passes."`
}

func main() {
	process.Main("waitroom", "A node of the waiting room: visitors join, watch their position and take their pass here.", &cli{})
}

type runCmd struct {
	Redis     line.Server    `embed:""`
	Keys      string         `help:"File with the private keys, made by waitroom keys new; the same on every node." required:"" type:"path" env:"WAITROOM_KEYS"`
	Listen    string         `help:"Public address." default:":8080" env:"WAITROOM_LISTEN"`
	OpsListen string         `help:"Address of /metrics, /healthz, /readyz and /debug/pprof; never public." default:"127.0.0.1:9180" env:"WAITROOM_OPS_LISTEN"`
	Public    process.Public `embed:""`
	Edge      gateway.Config `embed:""`
	Hub       hub.Config     `embed:""`
}

// Check reports wrong addresses to listen on; the groups of flags check their own.
func (c *runCmd) Check() error {
	return errors.Join(process.CheckListen("listen", c.Listen), process.CheckListen("ops-listen", c.OpsListen))
}

// Run serves visitors until ctx ends, in the shape that process.Service has.
func (c *runCmd) Run(ctx context.Context, env *process.Env) error {
	keys, err := loadKeys(c.Keys)
	if err != nil {
		return err
	}
	return c.service(env, keys).Run(ctx, env)
}
