package testenv

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ClusterURL is the URL of the shared Redis Cluster, for what dials by itself.
func ClusterURL(t testing.TB) string {
	t.Helper()
	return address(t, "cluster", "WAITROOM_TEST_REDIS_CLUSTER")
}

// Cluster is a client of the shared Redis Cluster, closed when the test ends. A
// test that kills a node, or fills one, starts a cluster of its own.
func Cluster(t testing.TB) *redis.ClusterClient {
	t.Helper()
	hosts := clusterHosts(ClusterURL(t))
	onCluster.Store(t.Name(), true)
	return dialCluster(t, hosts)
}

// onCluster are the names of the tests that took the shared cluster: their rooms
// are removed from it. It holds as many names as the process has tests.
var onCluster sync.Map

func clusterHosts(url string) []string {
	return strings.Split(strings.TrimPrefix(url, "redis-cluster://"), ",")
}

func newClusterClient(hosts []string) *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: hosts, ClusterStateReloadInterval: time.Second, DialerRetries: 1,
		DisableRoutingPolicies: true, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
}

func dialCluster(t testing.TB, hosts []string) *redis.ClusterClient {
	t.Helper()
	client := newClusterClient(hosts)
	// A test may have closed it already, which is the only error there is.
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := client.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() }); err != nil {
		t.Fatalf("the Redis Cluster at %v does not answer: %v", hosts, err)
	}
	return client
}

// The shape of a RedisCluster, the least that survives any one node.
const (
	clusterMasters = 3
	clusterSlots   = 16384
	// nodeTimeout is how long a node is silent until the others take it for dead,
	// in ms. Production has 5 to 15 s; a test should not wait so long, and less is
	// taken for dead on a busy machine.
	nodeTimeout = 2_000
)

// RedisCluster is a Redis Cluster of one test: three masters with a replica each,
// six processes. Not for use by several goroutines at once.
type RedisCluster struct {
	// Set once.
	t     testing.TB
	Nodes []*RedisServer // first the masters, as they began, then their replicas
}

// StartRedisCluster starts a cluster for this test alone and stops it when the
// test ends; it returns when every node serves all slots and every replica follows.
// It skips the test where WAITROOM_TEST_REDIS_CLUSTER is not set: six processes are
// for a machine that is meant to have them.
func StartRedisCluster(t testing.TB, args ...string) *RedisCluster {
	t.Helper()
	address(t, "cluster", "WAITROOM_TEST_REDIS_CLUSTER")
	c := &RedisCluster{t: t}
	for range 2 * clusterMasters {
		c.Nodes = append(c.Nodes, startNode(t, args))
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := c.form(ctx); err != nil {
		t.Fatalf("form a Redis Cluster for the test: %v", err)
	}
	return c
}

// startNode starts one server with a bus of its own: by default that lies 10,000
// above the port, where the kernel takes outgoing connections from. By default a
// master also waits 5 s for further replicas before it answers the first.
func startNode(t testing.TB, args []string) *RedisServer {
	t.Helper()
	var err error
	for range 3 { // another process may take a port between the look and the bind
		var bus int
		if bus, err = freePort(); err != nil {
			continue
		}
		var s *RedisServer
		if s, err = startRedis(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus),
			"--cluster-node-timeout", strconv.Itoa(nodeTimeout), "--repl-diskless-sync-delay", "0"}, args...)); err == nil {
			s.bus = bus
			return s
		}
	}
	t.Fatalf("start a node of a Redis Cluster: %v", err)
	return nil
}

func (c *RedisCluster) form(ctx context.Context) error {
	first := c.Nodes[0]
	ids := make([]string, len(c.Nodes))
	for i, s := range c.Nodes {
		client := s.Client()
		id, err := client.Do(ctx, "CLUSTER", "MYID").Text()
		if err != nil {
			return err
		}
		ids[i] = id
		// Epochs of their own from the beginning: found equal, they are settled one
		// by one, and no slot is anybody's until then.
		if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
		if i < clusterMasters {
			from, to := i*clusterSlots/clusterMasters, (i+1)*clusterSlots/clusterMasters-1
			if err := client.ClusterAddSlotsRange(ctx, from, to).Err(); err != nil {
				return err
			}
		}
		if i > 0 {
			if err := client.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", first.port, first.bus).Err(); err != nil {
				return err
			}
		}
	}
	for i, s := range c.Nodes[clusterMasters:] {
		// The replica must have heard of its master first.
		if err := until(ctx, func() error { return s.Client().ClusterReplicate(ctx, ids[i]).Err() }); err != nil {
			return err
		}
	}
	return until(ctx, func() error { return c.whole(ctx) })
}

// whole is nil when every node sees all slots served, and every replica follows
// its master.
func (c *RedisCluster) whole(ctx context.Context) error {
	for i, s := range c.Nodes {
		client := s.Client()
		info, err := client.ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384", fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes))} {
			if !strings.Contains(info, want) {
				return fmt.Errorf("node %d has not %s:\n%s", i, want, info)
			}
		}
		replication, err := client.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		if strings.Contains(replication, "role:slave") != strings.Contains(replication, "master_link_status:up") ||
			strings.Contains(replication, "role:master") && strings.Contains(replication, "connected_slaves:0") {
			return fmt.Errorf("node %d:\n%s", i, replication)
		}
	}
	return nil
}

// Await returns when the cluster is whole again: after a failover, and after the
// dead node came back.
func (c *RedisCluster) Await() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := until(ctx, func() error { return c.whole(ctx) }); err != nil {
		c.t.Fatalf("the cluster is not whole within %v: %v", wait, err)
	}
}

// URL is the address of all nodes, as WAITROOM_TEST_REDIS_CLUSTER has it.
func (c *RedisCluster) URL() string { return "redis-cluster://" + strings.Join(c.hosts(), ",") }

func (c *RedisCluster) hosts() []string {
	hosts := make([]string, len(c.Nodes))
	for i, s := range c.Nodes {
		hosts[i] = s.Addr()
	}
	return hosts
}

// Client is a client of this cluster, closed when the test ends.
func (c *RedisCluster) Client() *redis.ClusterClient {
	c.t.Helper()
	return dialCluster(c.t, c.hosts())
}

// MasterOf is the node that serves a key; it waits for one, after a kill for the
// promotion. Kill it, and Restart brings it back as a replica of the promoted one.
func (c *RedisCluster) MasterOf(key string) (master *RedisServer) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	err := until(ctx, func() error {
		for _, s := range c.Nodes {
			// A master answers for its own keys and MOVED for others; a replica says
			// MOVED to all.
			if s.process != nil && s.Client().Exists(ctx, key).Err() == nil {
				master = s
				return nil
			}
		}
		return fmt.Errorf("no node of the cluster serves %s", key)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return master
}

// until tries until try succeeds or ctx ends; then its error is the last one.
func until(ctx context.Context, try func() error) error {
	tick := time.NewTicker(20 * time.Millisecond) // nodes hear of each other within a second
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
