package testenv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisServer is a Redis of one test, which may stop, kill, restart and freeze
// it to see what the code does while Redis is away. Its data outlives a restart:
// it writes an append-only file, as in production. Not for use by several
// goroutines at once.
type RedisServer struct {
	// Set once.
	t    testing.TB
	dir  string
	port int
	bus  int      // of a cluster's node
	args []string // beside our own
	// Configuration of a Sentinel, which writes there what it learns.
	sentinel string

	// One client for all calls of this package and of the test.
	client *redis.Client

	// The process that runs now; nil after Stop and Kill.
	process *os.Process
	exited  chan struct{} // closed by the goroutine that waits for process
}

// StartRedis starts a Redis for this test alone, with further arguments if need be,
// and stops it when the test ends. It skips the test where WAITROOM_TEST_REDIS is
// not set, and fails where it is and there is no redis-server on the PATH.
func StartRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	address(t, "redis", "WAITROOM_TEST_REDIS")
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("a test with a Redis of its own: %v", err)
	}
	s, err := startRedis(t, args)
	if err != nil {
		t.Fatalf("start a Redis for the test: %v", err)
	}
	return s
}

// StartSentinel starts a Sentinel for this test alone, which by itself decides that
// the master it knows by name is dead, after one second of silence, and promotes a
// replica.
func StartSentinel(t testing.TB, name string, master *RedisServer) *RedisServer {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]d 1\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 5000\n", name, master.port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := launch(&RedisServer{t: t, dir: t.TempDir(), sentinel: conf})
	if err != nil {
		t.Fatalf("start a Sentinel for the test: %v", err)
	}
	return s
}

func startRedis(t testing.TB, args []string) (*RedisServer, error) {
	return launch(&RedisServer{t: t, dir: t.TempDir(), args: args})
}

func launch(s *RedisServer) (*RedisServer, error) {
	s.t.Cleanup(s.close)
	// Another process may take the port between the look and the bind.
	var err error
	for range 3 {
		if s.port, err = freePort(); err != nil {
			continue
		}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// Addr is "127.0.0.1:port", the same over restarts.
func (s *RedisServer) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// URL is the address as WAITROOM_TEST_REDIS has it.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() + "/0" }

// Client is a client of this server, the same at each call, closed when the test
// ends.
func (s *RedisServer) Client() *redis.Client {
	s.t.Helper()
	if s.client == nil {
		client, err := newClient(s.URL())
		if err != nil {
			s.t.Fatalf("the URL of the test's Redis: %v", err)
		}
		s.client = client
	}
	return s.client
}

// close ends the server with the test.
func (s *RedisServer) close() {
	if s.client != nil {
		_ = s.client.Close() // a test may have closed it already
	}
	s.Stop()
}

// Stop ends the server as an operator would and returns when it has ended. It
// does nothing where none runs.
func (s *RedisServer) Stop() {
	s.t.Helper()
	s.end(syscall.SIGTERM)
}

// Kill ends the server by kill -9 and returns when it has ended: nothing that it
// answered is lost, since the kernel has the append-only file's bytes.
func (s *RedisServer) Kill() {
	s.t.Helper()
	s.end(syscall.SIGKILL)
}

// Restart stops the server if it runs, and starts it again with its data on the
// same port; it returns when the server answers.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("restart Redis: %v", err)
	}
}

// Pause freezes the server: connections stay open, new ones are accepted by the
// kernel, and nobody answers. Resume, Stop and Kill end it.
func (s *RedisServer) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume wakes a paused server, which then answers what was asked meanwhile.
func (s *RedisServer) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

// EnableTLS opens a second port that speaks TLS only, with the certificates that
// StartRedis was given, until the server ends.
func (s *RedisServer) EnableTLS() (port string) {
	s.t.Helper()
	// Another process may take the port between the look and the bind.
	var err error
	for range 3 {
		var n int
		if n, err = freePort(); err == nil {
			if err = s.Client().ConfigSet(context.Background(), "tls-port", strconv.Itoa(n)).Err(); err == nil {
				return strconv.Itoa(n)
			}
		}
	}
	s.t.Fatalf("a port with TLS: %v", err)
	return ""
}

func (s *RedisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatalf("%v for a Redis that does not run", sig)
	}
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("%v: %v", sig, err)
	}
}

func (s *RedisServer) end(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		return
	}
	// Errors mean that it has ended already, which exited then tells.
	_ = s.process.Signal(sig)
	_ = s.process.Signal(syscall.SIGCONT) // a paused one hears nothing else but SIGKILL
	end := time.After(wait)
	// A replica that writes its first append-only file drops the signal.
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for s.process != nil {
		select {
		case <-s.exited:
			s.process = nil
		case <-again.C:
			_ = s.process.Signal(sig)
		case <-end:
			_ = s.process.Kill()
			<-s.exited
			s.process = nil
			s.t.Errorf("Redis did not end on %v within %v", sig, wait)
		}
	}
}

// start returns when the server answers, and its error holds the end of the log
// otherwise.
func (s *RedisServer) start() error {
	log := filepath.Join(s.dir, "log")
	args := []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--logfile", log}
	if s.sentinel != "" {
		args = append([]string{s.sentinel, "--sentinel"}, args...)
	} else {
		args = append(args, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
			"--maxmemory-policy", "noeviction", "--enable-debug-command", "local")
	}
	cmd := exec.Command("redis-server", append(args, s.args...)...)
	var err error
	if s.process, s.exited, err = spawn(cmd); err != nil {
		return err
	}
	if err = s.await(); err != nil {
		s.end(syscall.SIGKILL)
		return withEnd(err, log)
	}
	return nil
}

// await asks until our server answers: the pid in the reply tells it from
// another that took the port. A server that loads its file answers LOADING.
func (s *RedisServer) await() error {
	client, err := newClient(s.URL())
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond) // a start takes about 20 ms
	defer tick.Stop()
	for {
		info, err := client.InfoMap(ctx, "server").Result()
		if err == nil {
			if got := info["Server"]["process_id"]; got != strconv.Itoa(s.process.Pid) {
				return fmt.Errorf("port %d is served by process %s, not by ours, %d", s.port, got, s.process.Pid)
			}
			if client.Ping(ctx).Err() == nil {
				return nil
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("redis-server ended")
		case <-ctx.Done():
			return fmt.Errorf("redis-server on port %d did not answer within %v", s.port, wait)
		case <-tick.C:
		}
	}
}

// freePort stays below 32768: from there up Linux takes the ports of outgoing
// connections, and one of those could hold ours while the server is down.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(12000)
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}
