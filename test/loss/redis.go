package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a Redis that may lose what it wrote: with an append-only file
// that is never rewritten, so that it can be cut where it ended a while ago.
type redisServer struct {
	// Set once.
	dir  string
	port int
	proc *child

	mu    sync.Mutex
	sizes []size // of the append-only file over time, the last sizesKept
}

type size struct {
	at    time.Time
	bytes int64
}

const (
	sampled   = 50 * time.Millisecond
	sizesKept = 400 // 20 s of samples; the longest cut is 5 s
)

// newRedis starts a Redis with an empty folder.
func newRedis(ctx context.Context, dir, name string, more ...string) (*redisServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &redisServer{dir: filepath.Join(dir, name+".data"), port: port}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	// As an operator should have it: an append-only file, synced each second, and no
	// eviction. A replica may come at once, and a rewrite would move what is to be cut.
	s.proc = newChild(name, "redis-server", filepath.Join(dir, name+".log"), nil, append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", s.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0",
		"--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0"}, more...)...)
	return s, s.start(ctx)
}

func (s *redisServer) url() string { return fmt.Sprintf("redis://127.0.0.1:%d/0", s.port) }

// client has no retries: what the harness asks of a server is asked of this one.
func (s *redisServer) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.port), MaxRetries: -1, PoolSize: 1})
}

// start returns once the server has loaded its file and answers.
func (s *redisServer) start(ctx context.Context) error {
	if err := s.proc.start(); err != nil {
		return err
	}
	c := s.client()
	defer c.Close()
	return await(ctx, startLimit, s.proc.name+" answers", func() (bool, string) {
		if !s.proc.running() {
			return false, "it ended"
		}
		err := c.Ping(ctx).Err()
		return err == nil, fmt.Sprint(err)
	})
}

// file is the append-only file that is written now.
func (s *redisServer) file() (string, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "appendonlydir", "*.incr.aof"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("want one append-only file in %s, got %d", s.dir, len(files))
	}
	return files[0], nil
}

// sample notes how long the file is, again and again until ctx ends.
func (s *redisServer) sample(ctx context.Context) {
	tick := time.NewTicker(sampled)
	defer tick.Stop()
	for {
		if file, err := s.file(); err == nil {
			if info, err := os.Stat(file); err == nil {
				s.mu.Lock()
				s.sizes = append(s.sizes, size{time.Now(), info.Size()})
				s.sizes = s.sizes[max(0, len(s.sizes)-sizesKept):]
				s.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// cut takes the last d before at away from the file of a server that was killed,
// and tells how many bytes that were.
func (s *redisServer) cut(at time.Time, d time.Duration) (int64, error) {
	file, err := s.file()
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := int64(-1)
	for _, one := range s.sizes {
		if !one.at.After(at.Add(-d)) {
			keep = one.bytes
		}
	}
	if keep < 0 {
		return 0, fmt.Errorf("no sample of the file is %s old", d)
	}
	if keep >= info.Size() {
		return 0, errors.New("nothing was written in what was to be cut")
	}
	return info.Size() - keep, os.Truncate(file, keep)
}

// wipe removes the data of a server that was killed.
func (s *redisServer) wipe() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	return os.MkdirAll(s.dir, 0o700)
}

// offset is how much of the replication stream this server has.
func offset(ctx context.Context, c *redis.Client) (int64, error) {
	text, err := c.Info(ctx, "replication").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "master_repl_offset:"); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, errors.New("INFO replication has no offset")
}

// linked reports whether a replica has all of its master's data.
func linked(ctx context.Context, c *redis.Client) (bool, string) {
	text, err := c.Info(ctx, "replication").Result()
	return err == nil && strings.Contains(text, "master_link_status:up"), fmt.Sprint(text, err)
}
