package main

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/line"
	"waitroom/internal/process"
)

// Check reports a URL that the client does not understand, without repeating it:
// it may hold a password.
func (c *runCmd) Check() error {
	rdb, err := line.Dial(c.Redis)
	if err != nil {
		return fmt.Errorf("--redis: %w", err)
	}
	return rdb.Close() // it has not connected
}

// open returns a client of a Redis that has answered, and warns of settings that
// may lose the line.
func (c *runCmd) open(ctx context.Context, env *process.Env) (redis.UniversalClient, error) {
	rdb, err := line.Open(ctx, c.Redis)
	if err != nil {
		return nil, fmt.Errorf("--redis %s: %w", process.Redact(c.Redis), err)
	}
	for _, warning := range line.Check(ctx, rdb) {
		env.Log.Warn(warning)
	}
	return rdb, nil
}
