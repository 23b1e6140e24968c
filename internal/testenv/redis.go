package testenv

import (
	"context"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// registry is the set of all rooms (internal/line owns the key; its own tests
// import this package, so it can't be imported here).
const registry = "wr1:rooms"

// RedisURL is the URL of the shared real Redis, for a process that the test
// starts.
func RedisURL(t testing.TB) string {
	t.Helper()
	return address(t, "redis", "WAITROOM_TEST_REDIS")
}

// Redis is a client of the shared real Redis, closed when the test ends.
func Redis(t testing.TB) *redis.Client {
	t.Helper()
	return dial(t, RedisURL(t))
}

// Room is a name that no other test has, valid for a room, that tells which test
// it belongs to. It needs no Redis; where there is one, the room's keys are
// removed when the test ends.
func Room(t testing.TB) string {
	t.Helper()
	// A room's name has up to 63 bytes; the suffix and its dash take 9.
	room := slug(t.Name(), 54) + "-" + suffix()
	t.Cleanup(func() { forget(t, room) })
	return room
}

func newClient(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	// Neither Redis 7 nor miniredis knows the hand-shake of maintenance
	// notifications; asking would cost each new connection a round trip.
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(options), nil
}

// dial makes a client and fails the test unless the server answers.
func dial(t testing.TB, url string) *redis.Client {
	t.Helper()
	client, err := newClient(url)
	if err != nil {
		t.Fatalf("the URL of the test's Redis: %v", err)
	}
	// A test may have closed it already, which is the only error there is.
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		t.Fatalf("Redis at %s does not answer: %v", client.Options().Addr, err)
	}
	return client
}

// forget removes a room from the shared servers: every key whose hash tag it is.
// Without it the registry grows from run to run, and with it the work of every
// test that walks the rooms.
func forget(t testing.TB, room string) {
	if os.Getenv("WAITROOM_TEST_KEEP") != "" { // the server goes as a whole, and its user may not look for keys
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if url := os.Getenv("WAITROOM_TEST_REDIS"); url != "" {
		client, err := newClient(url)
		if err != nil {
			t.Errorf("WAITROOM_TEST_REDIS: %v", err)
			return
		}
		defer client.Close()
		client.SRem(ctx, registry, room)
		sweep(ctx, t, client, room)
	}
	// Three scans more, so only after a test that took the cluster.
	if _, taken := onCluster.Load(t.Name()); taken {
		client := newClusterClient(clusterHosts(os.Getenv("WAITROOM_TEST_REDIS_CLUSTER")))
		defer client.Close()
		client.SRem(ctx, registry, room)
		err := client.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
			sweep(ctx, t, master, room)
			return nil
		})
		if err != nil {
			t.Errorf("remove room %s from the cluster: %v", room, err)
		}
	}
}

func sweep(ctx context.Context, t testing.TB, client *redis.Client, room string) {
	keys := client.Scan(ctx, 0, "*{"+room+"}*", 1000).Iterator()
	for keys.Next(ctx) {
		client.Unlink(ctx, keys.Val())
	}
	if err := keys.Err(); err != nil {
		t.Errorf("remove the keys of room %s: %v", room, err)
	}
}
