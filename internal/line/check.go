package line

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

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
