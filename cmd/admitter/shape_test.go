package main

import (
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"waitroom/internal/testenv"
)

// until waits for a fact about a process that logs.
func (l *logs) until(t *testing.T, what string, is func(string) bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(l.String()); {
		if !wait(t.Context(), 5*time.Millisecond) || time.Now().After(end) {
			t.Fatalf("never: %s\n%s", what, l)
		}
	}
}

var opsAddress = regexp.MustCompile(`"msg":"listening","ops":"([^"]+)"`)

// look asks the ops port of the process that logs there.
func (l *logs) look(path string) (int, string) {
	m := opsAddress.FindStringSubmatch(l.String())
	if m == nil {
		return 0, "no port yet"
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + m[1] + path)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(b)
}

func terminate(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// An admitter whose Redis is away is alive and says what it waits for. A signal ends the
// waiting, which is a good end.
func TestWaitsForRedis(t *testing.T) {
	t.Parallel()
	asleep := testenv.NewAsleep(t)
	cmd, said := admitter(t, "redis://"+asleep.Addr, "127.0.0.1:1")
	said.until(t, "it says what it waits for", func(string) bool {
		code, body := said.look("/readyz")
		return code == http.StatusServiceUnavailable && body == "not ready: waiting for redis at redis://"+asleep.Addr+"\n"
	})
	if code, body := said.look("/healthz"); code != http.StatusOK {
		t.Errorf("alive: got %d %q, want 200", code, body)
	}
	terminate(t, cmd)
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v, want exit code 0: %s", err, said)
	}
}

// A port in use is told before Redis is asked.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	code, _, errOut := run(t, "run", "--redis", "redis://"+testenv.NewAsleep(t).Addr, "--ops-listen", taken.Addr().String())
	if code != 1 || !strings.Contains(errOut, "--ops-listen "+taken.Addr().String()+": ") || strings.Contains(errOut, "redis") {
		t.Errorf("got %d, %q, want 1, the port, and no word of Redis", code, errOut)
	}
}

// hanging is an admitter that serves a room, of a Redis that hangs from now on.
func hanging(t *testing.T) (*exec.Cmd, *logs) {
	t.Helper()
	server := testenv.StartRedis(t)
	if code, _, errOut := run(t, "room", "create", "sale", "--state", "open", "--redis", server.URL()); code != 0 {
		t.Fatal(errOut)
	}
	cmd, said := admitter(t, server.URL(), testenv.NewAsleep(t).Addr)
	said.until(t, "the room is served", func(log string) bool {
		code, _ := said.look("/readyz")
		return code == http.StatusOK && strings.Contains(log, "serving room")
	})
	server.Pause()
	return cmd, said
}

// An admitter whose Redis hangs stops within its limit.
func TestStopWhileRedisHangs(t *testing.T) {
	t.Parallel()
	cmd, said := hanging(t)
	began := time.Now()
	terminate(t, cmd)
	said.until(t, "the end is logged", func(log string) bool {
		return strings.Contains(log, `"msg":"stopped"`) || strings.Contains(log, "the stop was cut short")
	})
	if took := time.Since(began); took > stopLimit {
		t.Errorf("got stopped after %s, want within %s: %s", took, stopLimit, said)
	}
	_ = cmd.Wait() // 0 or 1, as the log says
}

// A second signal ends a stop at once.
func TestSecondSignalKills(t *testing.T) {
	t.Parallel()
	cmd, said := hanging(t)
	terminate(t, cmd)
	said.until(t, "it stops", func(log string) bool { return strings.Contains(log, `"msg":"stopping"`) })
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, awaited below
	for {
		select {
		case <-ended:
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
				t.Errorf("got exit code %d, want the signal's: %s", cmd.ProcessState.ExitCode(), said)
			}
			return
		case <-time.After(50 * time.Millisecond): // one that comes too soon is taken for the first
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
		}
	}
}
