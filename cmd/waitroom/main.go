// Command waitroom is one node of the fleet that visitors are connected to.
// `waitroom keys new` makes the key that signs their places and passes.
package main

import (
	"context"

	"go.uber.org/zap"

	"waitroom/internal/directory"
	"waitroom/internal/gateway"
	"waitroom/internal/hub"
	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/signs"
	"waitroom/web"
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
	Redis     string         `help:"Redis that holds the line: redis://[user:password@]host:port[/db]." default:"redis://127.0.0.1:6379/0" env:"WAITROOM_REDIS"`
	Keys      string         `help:"File with the private keys, made by waitroom keys new; the same on every node." required:"" type:"path" env:"WAITROOM_KEYS"`
	Listen    string         `help:"Public address." default:":8080" env:"WAITROOM_LISTEN"`
	OpsListen string         `help:"Address of /metrics, /healthz, /readyz and /debug/pprof; never public." default:"127.0.0.1:9180" env:"WAITROOM_OPS_LISTEN"`
	Edge      gateway.Config `embed:""`
}

// Run opens Redis, listens, serves, and drains in this order: not ready, no new
// connection, connections sent away, the ticks, Redis.
func (c *runCmd) Run(ctx context.Context, env *process.Env) error {
	keys, err := loadKeys(c.Keys)
	if err != nil {
		return err
	}
	rdb, err := c.open(ctx, env)
	if err != nil {
		return err
	}
	defer rdb.Close()
	lines := line.New(rdb)
	rooms := directory.New(lines, env.Log)
	visitors := hub.New(lines, keys, c.Edge.ShopURL, env.Log, env.Metrics)
	edge, err := gateway.New(c.Edge, visitors, keys.Verifier(), env.Log, env.Metrics)
	if err != nil {
		return err
	}
	pages := web.Handler(web.Options{Page: web.Waiting, Prefix: c.Edge.Prefix, Rooms: rooms.Room})
	beat := signs.NewBeat(lines, room.RoleNode, process.ReadBuild().Version, visitors.Signs, env.Log)
	env.Log.Info("signs that it lives", zap.String("sign", beat.ID())) // as status names it
	return c.serve(ctx, env, visitors, edge, edge.Handler(keys.JWKS(), pages), beat.Run, rooms.Run)
}
