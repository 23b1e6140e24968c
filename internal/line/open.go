package line

import (
	"context"
	"errors"
	"fmt"
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
// password, it returns at once. Errors don't repeat the URL.
func Open(ctx context.Context, url string) (redis.UniversalClient, error) {
	rdb, err := Dial(url)
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
		return nil, errors.Join(fmt.Errorf("%w: %w", room.ErrAway, last), rdb.Close())
	}
}
