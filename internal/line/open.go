package line

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// startWait is how long a start waits for Redis: long enough for everything to
// be started at once, short enough for a person who mistyped an address.
const startWait = 10 * time.Second

// Open is Dial for the start of a process: the client it returns has answered.
// It waits for a Redis that is away, loading or full of clients, at most startWait;
// then its error is room.ErrAway with the last cause. What waiting can't cure, such as a wrong
// password, it returns at once. Errors name the address, without user and password.
func (s Server) Open(ctx context.Context) (redis.UniversalClient, error) {
	rdb, err := s.Dial()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var last error
	for {
		err := rdb.Ping(ctx).Err()
		if err == nil {
			return rdb, nil
		}
		if ctx.Err() == nil || last == nil {
			last = err // "connection refused" says more than "deadline exceeded"
		}
		if room.Retryable(translate(err)) {
			select {
			case <-time.After(200 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		_ = rdb.Close() // nothing of it is in use
		return nil, fmt.Errorf("%s: %w: %w", s, room.ErrAway, explain(last))
	}
}

// explain says in our words what the client's leave open.
func explain(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "cluster support disabled"):
		return fmt.Errorf("a server that is no node of a cluster; write redis:// instead of redis-cluster:// (%w)", err)
	case errors.Is(err, redis.Nil) && strings.Contains(text, "sentinels"):
		return fmt.Errorf("no Sentinel knows a master of this name (%w)", err)
	}
	return err
}
