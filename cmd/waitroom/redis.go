package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/line"
	"waitroom/internal/process"
)

// open returns a client of a Redis that has answered and can hold a line, and warns
// of what may lose it.
func (c *runCmd) open(ctx context.Context, env *process.Env) (redis.UniversalClient, error) {
	rdb, err := c.Redis.Open(ctx)
	if err != nil {
		return nil, err
	}
	warnings, err := line.Check(ctx, rdb, line.RoleNode)
	for _, warning := range warnings {
		env.Log.Warn(warning)
	}
	if err != nil {
		_ = rdb.Close() // nothing of it is in use
		return nil, err
	}
	return rdb, nil
}
