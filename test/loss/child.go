package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit = 60 * time.Second // until a process answers, on a machine that others use too
	stopLimit  = 40 * time.Second // after SIGTERM: more than every drain takes
)

// child is a process that runs again and again with the same flags. Not for use by
// several goroutines at once.
type child struct {
	// Set once.
	name, path, log string
	env, args       []string

	// The process that runs now.
	process *os.Process
	exited  chan struct{} // closed by the goroutine that waits for process, which ends with it
}

func newChild(name, path, log string, env []string, args ...string) *child {
	return &child{name: name, path: path, log: log, env: env, args: args}
}

// command has nothing of the caller's own WAITROOM_ variables.
func command(ctx context.Context, path string, env, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WAITROOM_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	// No balancer has to notice that a process goes.
	cmd.Env = append(append(cmd.Env, "WAITROOM_DRAIN_DELAY=0s"), env...)
	return cmd
}

func (c *child) start() error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own copy
	cmd := command(context.Background(), c.path, c.env, c.args)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	started, exited := make(chan error), make(chan struct{})
	// Ends with the process. The parent of dieWithParent is the thread that started
	// it, so this goroutine keeps one for itself.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	c.process, c.exited = cmd.Process, exited
	return nil
}

func (c *child) running() bool {
	if c.process == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// kill is kill -9; it returns when the process has ended.
func (c *child) kill() {
	if c.running() {
		_ = c.process.Kill() // fails where it has ended, which exited tells
		<-c.exited
	}
}

// stopAll ends processes in order, all at once; whoever takes too long is killed.
func stopAll(children []*child) {
	var all sync.WaitGroup
	for _, c := range children {
		if !c.running() {
			continue
		}
		_ = c.process.Signal(syscall.SIGTERM)
		all.Go(func() {
			select {
			case <-c.exited:
			case <-time.After(stopLimit):
				c.kill()
			}
		})
	}
	all.Wait()
}

// once runs a command of a binary to its end.
func once(ctx context.Context, path string, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	out, err := command(ctx, path, env, args).CombinedOutput()
	if err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		err = fmt.Errorf("%s: %w: %s", strings.Join(args[:min(2, len(args))], " "), err, said)
	}
	return string(out), err
}

// await looks for a fact until it is there.
func await(ctx context.Context, limit time.Duration, what string, look func() (bool, string)) error {
	tick := time.NewTicker(100 * time.Millisecond) // a look may cost a database some ms
	defer tick.Stop()
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		ok, saw := look()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("%s: not within %s; saw %s", what, limit, saw)
		case <-tick.C:
		}
	}
}

// probe asks without keeping connections, which a killed process would break.
var probe = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ready returns once the process says so at its ops address.
func (c *child) ready(ctx context.Context, ops string) error {
	ended := false
	err := await(ctx, startLimit, c.name+" is ready", func() (bool, string) {
		if ended = !c.running(); ended {
			return true, ""
		}
		answer, err := probe.Get("http://" + ops + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK, answer.Status
	})
	if ended {
		return fmt.Errorf("%s ended by itself", c.name)
	}
	return err
}

var given = map[int]bool{} // ports handed out, so that none is twice

// freePort lies below the range from which the kernel takes the ports of outgoing
// connections, so that it stays free while its process is started again.
func freePort() (int, error) {
	for range 200 {
		port := 12000 + rand.IntN(8000)
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		given[port] = true
		return port, l.Close()
	}
	return 0, errors.New("found no free port between 12000 and 20000")
}

func address() (string, error) {
	port, err := freePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}
