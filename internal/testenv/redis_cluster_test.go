package testenv_test

import (
	"testing"
	"time"

	"waitroom/internal/testenv"
)

// A cluster of one test serves each slot, survives the kill -9 of a master by its
// replica, and takes the dead one back.
func TestStartRedisCluster(t *testing.T) {
	c := testenv.StartRedisCluster(t)
	client, ctx := c.Client(), t.Context()
	for _, key := range []string{"b", "c", "d", "e", "f", "a"} { // on all three masters
		if err := client.Set(ctx, key, key, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	master := c.MasterOf("a")
	conn := master.Client().Conn() // one connection: what it wrote is what it waits for
	defer conn.Close()
	err := conn.Set(ctx, "a", "a", 0).Err()
	if n, err2 := conn.Wait(ctx, 1, 5*time.Second).Result(); err != nil || err2 != nil || n != 1 {
		t.Fatalf("write to the master and its replica: got %d replicas, %v, %v", n, err, err2)
	}
	master.Kill()
	promoted := c.MasterOf("a")
	if promoted == master {
		t.Fatal("the dead master serves on")
	}
	master.Restart()
	c.Await()
	if got, err := client.Get(ctx, "a").Result(); err != nil || got != "a" {
		t.Errorf("after the failover: got %q, %v", got, err)
	}
}

// What a test leaves of its room in the shared cluster goes with it.
func TestRoomOfClusterIsForgotten(t *testing.T) {
	client, ctx, key := testenv.Cluster(t), t.Context(), ""
	t.Run("a test", func(t *testing.T) {
		mine, room := testenv.Cluster(t), testenv.Room(t)
		key = "wr1:{" + room + "}:seq"
		if err := mine.Set(ctx, key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	})
	if n, err := client.Exists(ctx, key).Result(); err != nil || n != 0 {
		t.Errorf("%s: got %d, %v, want it gone", key, n, err)
	}
}
