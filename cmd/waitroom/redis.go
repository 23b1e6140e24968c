package main

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/line"
	"waitroom/internal/process"
)

// open returns a client of a Redis that has answered and can hold a line, and warns
// of what may lose it.
func (c *runCmd) open(ctx context.Context, env *process.Env, start *process.Start) (rdb redis.UniversalClient, err error) {
	err = start.Await("redis at "+c.Redis.String(), func() error {
		if rdb, err = c.Redis.Open(ctx); err != nil {
			return fmt.Errorf("--redis: %w", err)
		}
		start.Close("redis", rdb.Close)
		warnings, err := line.Check(ctx, rdb, line.RoleNode)
		for _, warning := range warnings {
			env.Log.Warn(warning)
		}
		return err
	})
	return rdb, err
}
