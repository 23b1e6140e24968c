package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/line"
	"waitroom/internal/process"
)

// open returns a client of a Redis that has answered, and warns of settings that
// may lose the line.
func (c *runCmd) open(ctx context.Context, env *process.Env) (redis.UniversalClient, error) {
	rdb, err := c.Redis.Open(ctx)
	if err != nil {
		return nil, err
	}
	for _, warning := range line.Check(ctx, rdb) {
		env.Log.Warn(warning)
	}
	return rdb, nil
}
