package e2e

import (
	"bytes"
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

// child is one binary that runs, again and again with the same flags. Not for
// use by several goroutines at once.
type child struct {
	// Set once.
	t    *testing.T
	name string // "waitroom-1": of its log
	path string
	args []string
	env  []string
	ops  string // address of /readyz
	log  string

	// The process that runs now.
	cmd    *exec.Cmd
	exited chan struct{} // closed by the goroutine that waits for cmd, which ends with it
}

// command is a binary with nothing of the test's own WAITROOM_ variables.
func command(ctx context.Context, binary string, args, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(built, binary), args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WAITROOM_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// once runs a command of a binary to its end.
func once(t *testing.T, binary string, env []string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	b, err := command(ctx, binary, args, env).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %s: %v, %v\n%s", binary, strings.Join(args, " "), err, ctx.Err(), b)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(b), code
}

// must is once for a command that has to succeed.
func must(t *testing.T, binary string, env []string, args ...string) string {
	t.Helper()
	out, code := once(t, binary, env, args...)
	if code != 0 {
		t.Fatalf("%s %s: got exit code %d, want 0\n%s", binary, strings.Join(args, " "), code, out)
	}
	return out
}

// newChild describes a process; start starts it. What still runs when the test
// ends is killed by its pid.
func newChild(t *testing.T, dir, name, ops string, env []string, args ...string) *child {
	binary, _, _ := strings.Cut(name, "-")
	c := &child{t: t, name: name, path: binary, args: args, env: env, ops: ops, log: filepath.Join(dir, name+".log")}
	t.Cleanup(func() {
		if c.running() {
			c.cmd.Process.Kill()
			<-c.exited
		}
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", c.name, tail(c.log))
		}
	})
	return c
}

func (c *child) running() bool {
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

// start starts the process; ready waits for it.
func (c *child) start() {
	c.t.Helper()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() // the process has its own copy
	cmd := command(context.Background(), c.path, c.args, c.env)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("start %s: %v", c.name, err)
	}
	c.cmd, c.exited = cmd, make(chan struct{})
	exited := c.exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // its code is in ProcessState
	}()
}

// ready returns once the process says that it is.
func (c *child) ready() {
	c.t.Helper()
	await(c.t, startLimit, c.name+" is ready", func() (bool, string) {
		if !c.running() {
			c.t.Fatalf("%s ended by itself: %v", c.name, c.cmd.ProcessState)
		}
		code, err := status("http://" + c.ops + "/readyz")
		return code == http.StatusOK, fmt.Sprint(code, " ", err)
	})
}

// terminate sends SIGTERM and wants the process to end in order.
func (c *child) terminate() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatalf("SIGTERM to %s: %v", c.name, err)
	}
	select {
	case <-c.exited:
	case <-time.After(stopLimit):
		c.t.Fatalf("%s still runs %s after SIGTERM", c.name, stopLimit)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("%s after SIGTERM: got %v, want exit code 0", c.name, c.cmd.ProcessState)
	}
}

// kill is kill -9.
func (c *child) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Fatalf("kill -9 %s: %v", c.name, err)
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

// await looks for a fact until it is there; what it saw last is told when time
// is up.
func await(t *testing.T, limit time.Duration, what string, look func() (bool, string)) {
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

// address is free on loopback, and stays so while its process is restarted: it
// lies below the range that the kernel takes the bots' own ports from.
func address(t *testing.T) string {
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

// secrets are what no log and no message may hold: the beginning of every JWT
// and of every base64 JSON header, and the database's password with its colon.
var secrets = []string{"eyJ", `"d":"`}

// silent wants none of the secrets in text.
func silent(t *testing.T, where string, text []byte, more ...string) {
	t.Helper()
	for _, secret := range append(more, secrets...) {
		if at := bytes.Index(text, []byte(secret)); secret != "" && at >= 0 {
			line := text[bytes.LastIndexByte(text[:at], '\n')+1 : at]
			t.Errorf("%s holds a secret (it begins with %.3q) after %q", where, secret, line)
		}
	}
}
