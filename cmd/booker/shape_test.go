//go:build unix

package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"waitroom/internal/embedded"
	"waitroom/internal/testenv"
)

// start starts a booker as a process of its own, and waits until /readyz says so.
func start(t *testing.T, code int, want string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"run", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}, args...)...)
	cmd.Env = []string{"BOOKER_TEST_MAIN=1", "PATH=" + os.Getenv("PATH")}
	said := &output{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) { // between two looks
		if m := listening.FindStringSubmatch(said.String()); m != nil {
			if got, body := ask(t, "GET", "http://"+m[2]+"/readyz", "", ""); got == code && strings.HasPrefix(body, want) {
				if got, _ := ask(t, "GET", "http://"+m[2]+"/healthz", "", ""); got != http.StatusOK {
					t.Errorf("alive: got %d, want 200", got)
				}
				return cmd, said
			}
		}
		if time.Now().After(end) {
			t.Fatalf("it never said %d %q: %s", code, want, said)
		}
	}
}

// A booker whose servers are away is alive and says what it waits for. A signal ends the
// waiting, which is a good end.
func TestWaitsForServers(t *testing.T) {
	asleep := testenv.NewAsleep(t)
	for want, args := range map[string][]string{
		"not ready: waiting for the database\n":                         {"--db=mysql://u:secret@" + asleep.Addr + "/shop"},
		"not ready: waiting for kafka at " + asleep.Addr + ", for 2s\n": {"--db=sqlite:" + filepath.Join(t.TempDir(), "shop.db"), "--kafka=" + asleep.Addr},
	} {
		cmd, said := start(t, http.StatusServiceUnavailable, want, args...)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || strings.Contains(said.String(), "secret") {
			t.Errorf("%s: got %v, want exit code 0 and no password: %s", want, err, said)
		}
	}
}

// A second signal ends a delay, and everything else, at once.
func TestSecondSignalKills(t *testing.T) {
	kafka, stop, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	writeKeys(t, jwks)
	cmd, said := start(t, http.StatusOK, "ready", "--db=sqlite:"+filepath.Join(t.TempDir(), "shop.db"), "--kafka="+kafka, "--jwks="+jwks, "--drain-delay=5m")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, awaited below
	for {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
		select {
		case <-ended:
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || !strings.Contains(said.String(), "serving on until balancers know") {
				t.Errorf("got exit code %d, want the signal's, within the delay: %s", cmd.ProcessState.ExitCode(), said)
			}
			return
		case <-time.After(100 * time.Millisecond): // one that comes too soon is taken for the first
		}
	}
}
