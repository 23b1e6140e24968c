package line

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Timeouts of a call. Reading takes at most a few ms when Redis is well; a
// visitor is better told "stalled" than kept waiting.
const (
	readTimeout = 2 * time.Second
	dialTimeout = 500 * time.Millisecond
)

// The client library prints a line for every failed dial, hundreds while Redis is
// away. Each comes back as the error of a call, which is where it is told.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

var silence = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

// Dial returns a client for a URL such as redis://user:password@host:6379/0, or
// rediss:// for TLS. With further nodes as addr parameters,
// redis://a:6379?addr=b:6379, it is a client of a Redis Cluster. It does not
// connect yet; the caller closes it. Errors don't repeat the URL, which may hold
// a password.
func Dial(text string) (redis.UniversalClient, error) {
	silence()
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("redis url: not a URL")
	}
	// Redis before 8 does not know the hand-shake; asking costs a round trip.
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if u.Query().Has("addr") {
		options, err := redis.ParseClusterURL(text)
		if err != nil {
			return nil, fmt.Errorf("redis url: want redis://host:port?addr=host:port")
		}
		options.ReadTimeout, options.DialTimeout = readTimeout, dialTimeout
		options.MaintNotificationsConfig = quiet
		// By default the map of slots is read once a minute, and no client comes
		// back after a failover until then.
		options.ClusterStateReloadInterval = time.Second
		options.DialerRetries = 1
		options.MaxRedirects = 8
		return redis.NewClusterClient(options), nil
	}
	options, err := redis.ParseURL(text)
	if err != nil {
		return nil, fmt.Errorf("redis url: want redis://[user:password@]host:port[/db]")
	}
	options.ReadTimeout, options.DialTimeout = readTimeout, dialTimeout
	options.DialerRetries = 1 // the caller's next round asks again
	options.MaintNotificationsConfig = quiet
	return redis.NewClient(options), nil
}

// Check returns a warning for each setting of the server that may lose the line:
// no append-only file, or keys evicted when memory is full. A server that does
// not tell (miniredis, a managed one) gets none.
func Check(ctx context.Context, rdb redis.UniversalClient) []string {
	var warnings []string
	for _, want := range []struct{ setting, value, risk string }{
		{"appendonly", "yes", "a restart of Redis loses the line"},
		{"maxmemory-policy", "noeviction", "Redis may throw a line away when memory is full"},
	} {
		got, err := rdb.ConfigGet(ctx, want.setting).Result()
		if err != nil {
			continue
		}
		if value, told := got[want.setting]; told && value != want.value {
			warnings = append(warnings, fmt.Sprintf("redis has %s %s, want %s: %s",
				want.setting, value, want.value, want.risk))
		}
	}
	return warnings
}
