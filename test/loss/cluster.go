package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// clusterNodes is how many scripts/services starts: three masters, three replicas.
const clusterNodes = 6

// cluster is a Redis Cluster of one run, by scripts/services.
type cluster struct {
	h   *harness
	dir string
	url string // redis-cluster://host:port,host:port
}

func newCluster(ctx context.Context, h *harness, dir string) (*cluster, error) {
	c := &cluster{h: h, dir: filepath.Join(dir, "cluster")}
	if _, err := h.script(ctx, "start", c.dir, "cluster"); err != nil {
		return c, err
	}
	env, err := h.script(ctx, "env", c.dir, "cluster")
	if err != nil {
		return c, err
	}
	c.url = env["WAITROOM_TEST_REDIS_CLUSTER"]
	if c.url == "" {
		return c, errors.New("scripts/services env named no cluster")
	}
	return c, nil
}

func (c *cluster) client() *redis.ClusterClient {
	_, hosts, _ := strings.Cut(c.url, "://")
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Split(hosts, ",")})
}

func (c *cluster) close() {
	// Its own context: it is stopped after a Ctrl-C as well.
	if _, err := c.h.script(context.Background(), "stop", c.dir, "cluster"); err != nil {
		fmt.Fprintln(os.Stderr, "loss:", err)
	}
}

// killMaster ends the master that holds a key by kill -9, and returns once a
// replica has been promoted in its place.
func (c *cluster) killMaster(ctx context.Context, key string) (took string, err error) {
	client := c.client()
	defer client.Close()
	master, err := client.MasterForKey(ctx, key)
	if err != nil {
		return "", err
	}
	return "the master of the room was taken away, with what its replica had not heard, if anything", c.kill(ctx, client, master, key, nil)
}

// cutOff breaks the link from the replica of a key's master: with a password, which
// the master has none of, the replica is refused each time it comes back.
func (c *cluster) cutOff(ctx context.Context, key string) error {
	_, replica, done, err := c.pair(ctx, key)
	if err != nil {
		return err
	}
	defer done()
	if err := replica.ConfigSet(ctx, "masterauth", "nobody's").Err(); err != nil {
		return err
	}
	if err := replica.ClientKillByFilter(ctx, "TYPE", "master").Err(); err != nil {
		return err
	}
	// It is tried again each second, and refused.
	return await(ctx, startLimit, "the replica is cut off", func() (bool, string) {
		up, text := linked(ctx, replica)
		return !up && text != "", text
	})
}

// takeOver kills the master of a key and has its replica, which was cut off, take its
// slots without asking the other masters.
func (c *cluster) takeOver(ctx context.Context, key string) (took string, err error) {
	master, replica, done, err := c.pair(ctx, key)
	if err != nil {
		return "", err
	}
	defer done()
	had, err := offset(ctx, master)
	if err != nil {
		return "", err
	}
	client := c.client()
	defer client.Close()
	lacks := int64(0)
	err = c.kill(ctx, client, master, key, func() error {
		has, err := offset(ctx, replica)
		if err != nil {
			return err
		}
		if lacks = had - has; lacks <= 0 {
			return fmt.Errorf("the replica has %d of %d bytes: it lacks nothing", has, had)
		}
		return replica.Do(ctx, "CLUSTER", "FAILOVER", "TAKEOVER").Err()
	})
	return fmt.Sprintf("%d KB of writes were taken away, with the master that had them", (lacks+999)/1000), err
}

// pair are the master of a key and its replica, each asked alone, until done.
func (c *cluster) pair(ctx context.Context, key string) (master, replica *redis.Client, done func(), err error) {
	client := c.client()
	master, err = client.MasterForKey(ctx, key)
	if err != nil {
		return nil, nil, nil, errors.Join(err, client.Close())
	}
	slot, err := client.ClusterKeySlot(ctx, key).Result()
	if err != nil {
		return nil, nil, nil, errors.Join(err, client.Close())
	}
	shards, err := client.ClusterShards(ctx).Result()
	if err != nil {
		return nil, nil, nil, errors.Join(err, client.Close())
	}
	for _, node := range serving(shards, slot) {
		if node.Role == "replica" {
			replica = redis.NewClient(&redis.Options{Addr: fmt.Sprint("127.0.0.1:", node.Port), MaxRetries: -1, PoolSize: 1})
			return master, replica, func() { _ = errors.Join(replica.Close(), client.Close()) }, nil
		}
	}
	return nil, nil, nil, errors.Join(fmt.Errorf("no replica has slot %d", slot), client.Close())
}

// serving are the nodes of the shard that has a slot, dead ones too.
func serving(shards []redis.ClusterShard, slot int64) []redis.Node {
	for _, shard := range shards {
		for _, s := range shard.Slots {
			if s.Start <= slot && slot <= s.End {
				return shard.Nodes
			}
		}
	}
	return nil
}

// kill ends a master by kill -9, calls then, nil for nothing to do, and returns once
// another node is the master of the key.
func (c *cluster) kill(ctx context.Context, client *redis.ClusterClient, master *redis.Client, key string, then func() error) error {
	slot, err := client.ClusterKeySlot(ctx, key).Result()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(master.Options().Addr)
	if err != nil {
		return err
	}
	pid, survivor, err := c.find(port)
	if err != nil {
		return err
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := process.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill -9 of the master on port %s: %w", port, err)
	}
	if then != nil {
		if err := then(); err != nil {
			return err
		}
	}
	other := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + survivor, MaxRetries: -1, PoolSize: 1})
	defer other.Close()
	return await(ctx, startLimit, "a replica is promoted", func() (bool, string) {
		shards, err := other.ClusterShards(ctx).Result()
		if err != nil {
			return false, err.Error()
		}
		info, err := other.ClusterInfo(ctx).Result()
		if err != nil || !strings.Contains(info, "cluster_state:ok") {
			return false, fmt.Sprint(info, err)
		}
		for _, node := range serving(shards, slot) {
			// The dead master stands there too, as a failed one.
			if node.Role == "master" && node.Health == "online" && fmt.Sprint(node.Port) != port {
				return true, ""
			}
		}
		return false, "nobody else has the slot"
	})
}

// find is the process on a port, and the port of another node.
func (c *cluster) find(port string) (pid int, survivor string, err error) {
	for i := range clusterNodes {
		name := filepath.Join(c.dir, fmt.Sprint("cluster", i+1))
		at, err := os.ReadFile(filepath.Join(name, "port"))
		if err != nil {
			return 0, "", err
		}
		if strings.TrimSpace(string(at)) != port {
			survivor = strings.TrimSpace(string(at))
			continue
		}
		if pid, err = readPID(filepath.Join(name, "pid")); err != nil {
			return 0, "", err
		}
	}
	if pid == 0 {
		return 0, "", fmt.Errorf("no node of the cluster has port %s", port)
	}
	return pid, survivor, nil
}

// readPID reads what scripts/services wrote: a pid and when it was born.
func readPID(name string) (int, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	word, _, _ := strings.Cut(string(b), " ")
	pid, err := strconv.Atoi(word)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return pid, nil
}
