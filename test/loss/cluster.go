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
	slot, err := client.ClusterKeySlot(ctx, key).Result()
	if err != nil {
		return "", err
	}
	master, err := client.MasterForKey(ctx, key)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(master.Options().Addr)
	if err != nil {
		return "", err
	}
	pid, survivor, err := c.find(port)
	if err != nil {
		return "", err
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return "", err
	}
	if err := process.Signal(syscall.SIGKILL); err != nil {
		return "", fmt.Errorf("kill -9 of the master on port %s: %w", port, err)
	}
	other := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + survivor, MaxRetries: -1, PoolSize: 1})
	defer other.Close()
	err = await(ctx, startLimit, "a replica is promoted", func() (bool, string) {
		shards, err := other.ClusterShards(ctx).Result()
		if err != nil {
			return false, err.Error()
		}
		info, err := other.ClusterInfo(ctx).Result()
		if err != nil || !strings.Contains(info, "cluster_state:ok") {
			return false, fmt.Sprint(info, err)
		}
		for _, shard := range shards {
			for _, s := range shard.Slots {
				if s.Start > slot || slot > s.End {
					continue
				}
				for _, node := range shard.Nodes {
					// The dead master stands there too, as a failed one.
					if node.Role == "master" && node.Health == "online" && fmt.Sprint(node.Port) != port {
						return true, ""
					}
				}
			}
		}
		return false, "nobody else has the slot"
	})
	return "the master of the room was taken away, and what its replica had not heard", err
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
