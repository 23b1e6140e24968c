package child

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit = 60 * time.Second // until a process is ready: a race build on a busy machine needs a few
	stopLimit  = 40 * time.Second // after SIGTERM: more than every drain takes
	tailBytes  = 6000             // of each log, when the test failed
)

// Process is one binary that runs, again and again with the same flags. Not for
// use by several goroutines at once.
type Process struct {
	// Set once.
	t    *testing.T
	Name string // "waitroom-1": of its log
	path string
	args []string
	env  []string
	ops  string // address of /readyz
	log  string

	// The process that runs now.
	cmd    *exec.Cmd
	exited chan struct{} // closed by the goroutine that waits for cmd, which ends with it
}

// command is a binary with nothing of the test's own WAITROOM_ variables. No
// balancer has to notice that it goes, unless env says otherwise.
func command(ctx context.Context, path string, args, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WAITROOM_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, "WAITROOM_DRAIN_DELAY=0s"), env...)
	return cmd
}

// Once runs a command of a binary to its end.
func Once(t *testing.T, binary string, env []string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	b, err := command(ctx, filepath.Join(built, binary), args, env).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %s: %v, %v\n%s", binary, strings.Join(args, " "), err, ctx.Err(), b)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(b), code
}

// Must is Once for a command that has to succeed.
func Must(t *testing.T, binary string, env []string, args ...string) string {
	t.Helper()
	out, code := Once(t, binary, env, args...)
	if code != 0 {
		t.Fatalf("%s %s: got exit code %d, want 0\n%s", binary, strings.Join(args, " "), code, out)
	}
	return out
}

// New describes a process of the binary that its name begins with; Start starts
// it. What still runs when the test ends is killed by its pid.
func New(t *testing.T, dir, name, ops string, env []string, args ...string) *Process {
	binary, _, _ := strings.Cut(name, "-")
	return NewProgram(t, dir, name, filepath.Join(built, binary), ops, env, args...)
}

// NewProgram is New for a program that is none of ours, by its path. Without an
// address of /readyz it cannot be waited for by Ready.
func NewProgram(t *testing.T, dir, name, path, ops string, env []string, args ...string) *Process {
	c := &Process{t: t, Name: name, path: path, args: args, env: env, ops: ops, log: filepath.Join(dir, name+".log")}
	t.Cleanup(func() {
		if c.Running() {
			c.cmd.Process.Kill()
			<-c.exited
		}
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", c.Name, tail(c.log))
		}
	})
	return c
}

func (c *Process) Running() bool {
	if c.cmd == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// Start starts the process; Ready waits for it.
func (c *Process) Start() {
	c.t.Helper()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() // the process has its own copy
	cmd := command(context.Background(), c.path, c.args, c.env)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("start %s: %v", c.Name, err)
	}
	c.cmd, c.exited = cmd, make(chan struct{})
	exited := c.exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // its code is in ProcessState
	}()
}

// Ready returns once the process says that it is.
func (c *Process) Ready() {
	c.t.Helper()
	Await(c.t, startLimit, c.Name+" is ready", func() (bool, string) {
		if !c.Running() {
			c.t.Fatalf("%s ended by itself: %v", c.Name, c.cmd.ProcessState)
		}
		code, err := status("http://" + c.ops + "/readyz")
		return code == http.StatusOK, fmt.Sprint(code, " ", err)
	})
}

// Terminate sends SIGTERM and wants the process to end in order.
func (c *Process) Terminate() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatalf("SIGTERM to %s: %v", c.Name, err)
	}
	select {
	case <-c.exited:
	case <-time.After(stopLimit):
		c.t.Fatalf("%s still runs %s after SIGTERM", c.Name, stopLimit)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("%s after SIGTERM: got %v, want exit code 0", c.Name, c.cmd.ProcessState)
	}
}

// Kill is kill -9.
func (c *Process) Kill() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Fatalf("kill -9 %s: %v", c.Name, err)
	}
	<-c.exited
}

// probe asks without keeping connections, which a killed process would break.
var probe = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func status(url string) (int, error) {
	answer, err := probe.Get(url)
	if err != nil {
		return 0, err
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}

// Await looks for a fact until it is there; what it saw last is told when time
// is up.
func Await(t *testing.T, limit time.Duration, what string, look func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		ok, saw := look()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s; saw %s", what, limit, saw)
		}
		time.Sleep(20 * time.Millisecond) // between two looks at a fact, not instead of one
	}
}

var ports = struct {
	mu    sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// Address is free on loopback, and stays so while its process is restarted: it
// lies below the range that the kernel takes the bots' own ports from.
func Address(t *testing.T) string {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for range 200 {
		port := 12000 + rand.IntN(8000)
		if ports.given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		ports.given[port] = true
		return l.Addr().String()
	}
	t.Fatal("found no free port between 12000 and 20000")
	return ""
}

func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if len(b) > tailBytes {
		b = b[len(b)-tailBytes:]
	}
	return string(b)
}
