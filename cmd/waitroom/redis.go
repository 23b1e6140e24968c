package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
)

// startWait is how long a start waits for Redis: long enough for everything to be
// started at once, short enough for a person who mistyped an address.
const startWait = 10 * time.Second

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
	redis.SetLogger(silent{})
	rdb, err := line.Dial(c.Redis)
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var last error
	for {
		err := rdb.Ping(ctx).Err()
		if err == nil {
			break
		}
		if ctx.Err() == nil || last == nil {
			last = err // "connection refused" says more than "deadline exceeded"
		}
		var refused redis.Error
		if errors.As(err, &refused) && !redis.HasErrorPrefix(err, "LOADING") {
			return nil, errors.Join(c.away(last), rdb.Close()) // a wrong password, say
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(c.away(last), rdb.Close())
		}
	}
	for _, warning := range line.Check(ctx, rdb) {
		env.Log.Warn(warning)
	}
	return rdb, nil
}

func (c *runCmd) away(last error) error {
	return fmt.Errorf("--redis %s: %w: %w", process.Redact(c.Redis), room.ErrAway, last)
}

// silent drops what the client prints by itself, once per failed dial: the same
// errors are returned, counted, and logged once per change.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
