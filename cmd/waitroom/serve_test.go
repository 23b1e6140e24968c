//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"waitroom/internal/embedded"
	"waitroom/internal/testenv"
)

// beWaitroom makes this test's binary the command itself: a limit of files and a
// signal belong to a process, so it takes one to see what they do.
const beWaitroom = "BE_WAITROOM"

func TestMain(m *testing.M) {
	if os.Getenv(beWaitroom) != "" {
		main()
	}
	os.Exit(m.Run())
}

// logged is what a process prints, readable while it runs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a waitroom that runs as a process over a Redis of its own.
type running struct {
	url, ops string
	log      *logged
	cmd      *exec.Cmd
	exited   chan struct{} // closed by the goroutine that waits for cmd, which ends with it
}

// waitroom starts the command with at most files open files; 0: as many as this
// process. It takes 100 connections, so that any machine has the files, and ends
// with the test at the latest.
func waitroom(t *testing.T, files int, args ...string) *running {
	t.Helper()
	_, redis, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	keys := filepath.Join(t.TempDir(), "keys.json")
	n := &running{log: &logged{}, exited: make(chan struct{})}
	limit := ":"
	if files > 0 {
		limit = fmt.Sprintf("ulimit -n %d", files)
	}
	script := `"$0" keys new --file "$1" >/dev/null && ` + limit + ` && file=$1 && shift && exec "$0" run --keys "$file" "$@"`
	n.cmd = exec.Command("sh", append([]string{"-c", script, os.Args[0], keys, "--redis=redis://" + redis + "/0",
		"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--max-connections=100"}, args...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WAITROOM_") {
			n.cmd.Env = append(n.cmd.Env, v)
		}
	}
	n.cmd.Env = append(n.cmd.Env, beWaitroom+"=1", "GOMAXPROCS=2") // files are kept by cores
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(n.exited)
		_ = n.cmd.Wait() // its code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = n.cmd.Process.Kill() // it has ended, unless the test failed
		<-n.exited
		if t.Failed() {
			t.Logf("its log:\n%s", n.log)
		}
	})
	return n
}

var addresses = regexp.MustCompile(`"listen":"([^"]+)","ops":"([^"]+)"`)

// ready waits until the node says that it is.
func (n *running) ready(t *testing.T) {
	t.Helper()
	n.await(t, "is ready", func() bool {
		m := addresses.FindStringSubmatch(n.log.String())
		if m == nil {
			return false
		}
		n.url, n.ops = "http://"+m[1]+"/.well-known/jwks.json", "http://"+m[2]+"/readyz"
		code, _ := get(n.ops)
		return code == http.StatusOK
	})
}

// await looks for a fact until it is there.
func (n *running) await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); {
		select {
		case <-n.exited:
			t.Fatalf("waitroom ended before it %s: %v\n%s", what, n.cmd.ProcessState, n.log)
		case <-time.After(10 * time.Millisecond): // between two looks
		}
		if time.Now().After(deadline) {
			t.Fatalf("waitroom never %s\n%s", what, n.log)
		}
	}
}

// end waits for the process's end and returns its exit code, -1 for a signal.
func (n *running) end(t *testing.T) int {
	t.Helper()
	select {
	case <-n.exited:
		return n.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		t.Fatalf("waitroom still runs\n%s", n.log)
		return 0
	}
}

// fresh asks on a connection of its own, as a new visitor does, and as patiently
// as a probe.
var fresh = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(url string) (int, error) {
	answer, err := fresh.Get(url)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// look is get with what was answered.
func look(url string) (int, string) {
	answer, err := fresh.Get(url)
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

func (n *running) metrics(t *testing.T) string {
	t.Helper()
	answer, err := fresh.Get("http://" + host(n.ops) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// host is the address within a URL.
func host(url string) string {
	address, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	return address
}

// More silent sockets than the process may open files keep neither pages nor
// probes out.
func TestSilentSockets(t *testing.T) {
	const files, silent = 400, 450
	n := waitroom(t, files)
	n.ready(t)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for _, at := range []string{n.url, n.ops} {
		for range silent {
			c, err := net.DialTimeout("tcp", host(at), 2*time.Second)
			if err != nil {
				t.Fatalf("socket %d: %v", len(held), err)
			}
			held = append(held, c)
		}
		for _, url := range []string{n.url, n.ops} {
			if code, err := get(url); code != http.StatusOK {
				t.Errorf("GET %s with %d silent sockets: got %d, %v, want 200", url, len(held), code, err)
			}
		}
	}
	if strings.Contains(n.log.String(), "too many open files") {
		t.Error("it ran out of files")
	}
	// 400 less 160 that are kept and 100 for connections are 140; the 310 before them
	// made room.
	figures := n.metrics(t)
	for _, c := range []struct {
		metric     string
		least, may int
	}{{"waitroom_sockets ", 1, 140}, {`waitroom_sockets_closed_total{cause="evicted"} `, silent - 140, silent}, {`waitroom_sockets_closed_total{cause="refused"} `, 0, 0}} {
		_, rest, _ := strings.Cut(figures, "\n"+c.metric)
		line, _, _ := strings.Cut(rest, "\n")
		if got, err := strconv.Atoi(line); err != nil || got < c.least || got > c.may {
			t.Errorf("%s: got %q, want %d to %d", c.metric, line, c.least, c.may)
		}
	}
}

// A node that cannot open the files for its connections ends, and says what to
// set.
func TestTooFewFiles(t *testing.T) {
	n := waitroom(t, 400, "--max-connections=1000")
	if code := n.end(t); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	for _, want := range []string{"--max-connections 1000: needs 1288 open files", "may open 400", "ulimit -Hn"} {
		if !strings.Contains(n.log.String(), want) {
			t.Errorf("got %s, want %q in it", n.log, want)
		}
	}
}

// upgrade opens a WebSocket that says nothing.
func (n *running) upgrade(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", host(n.url), 2*time.Second)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprint(c, "GET /rooms/show/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: waitroom.v1\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: got %v, %v, want 101", answer, err)
	}
	return c
}

func (n *running) signal(t *testing.T) {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// notReady waits until the node says so; an ops port that is gone says nothing.
func (n *running) notReady(t *testing.T) {
	t.Helper()
	n.await(t, "says that it is not ready", func() bool {
		code, _ := get(n.ops)
		return code == http.StatusServiceUnavailable
	})
}

// After SIGTERM readiness goes first. Until --drain-delay is over visitors come in
// and stay as on any other day, so that nobody is sent to a closed port by a
// balancer that has not looked yet; then the drain begins.
func TestDrainDelay(t *testing.T) {
	const delay = 2 * time.Second
	n := waitroom(t, 0, "--drain-delay", delay.String(), "--drain=100ms")
	n.ready(t)
	early := n.upgrade(t)
	asked := time.Now()
	n.signal(t)
	n.notReady(t)
	late := n.upgrade(t)
	if took := time.Since(asked); took > delay {
		t.Fatalf("not ready and a visitor after %s: this machine is too slow to see it within %s", took, delay)
	}
	for code := http.StatusOK; code == http.StatusOK; { // until a new visitor is refused
		var err error
		if code, err = get(n.url); err == nil && code != http.StatusOK {
			t.Errorf("within the delay: got %d, want 200", code)
		}
	}
	if open := time.Since(asked); open < delay {
		t.Errorf("the public port was closed after %s, want not before %s", open, delay)
	}
	for name, c := range map[string]net.Conn{"early": early, "late": late} {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		said, err := io.ReadAll(c)
		if err != nil || len(said) == 0 {
			t.Errorf("the %s visitor: got %q, %v, want a farewell", name, said, err)
		}
		c.Close() // or the node waits for an answer to its close frame
	}
	if code := n.end(t); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

// A node whose Redis is away is alive and says what it waits for. A signal ends the
// waiting, which is a good end.
func TestWaitsForRedis(t *testing.T) {
	asleep := testenv.NewAsleep(t)
	n := waitroom(t, 0, "--redis=redis://"+asleep.Addr)
	n.await(t, "says what it waits for", func() bool {
		m := addresses.FindStringSubmatch(n.log.String())
		if m == nil {
			return false
		}
		n.ops = "http://" + m[2] + "/readyz"
		code, body := look(n.ops)
		return code == http.StatusServiceUnavailable && body == "not ready: waiting for redis at redis://"+asleep.Addr+"\n"
	})
	if code, err := get("http://" + host(n.ops) + "/healthz"); code != http.StatusOK {
		t.Errorf("alive: got %d, %v, want 200", code, err)
	}
	n.signal(t)
	if code := n.end(t); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

// Ports in use are told, both of them, and before Redis is asked.
func TestPortsInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	n := waitroom(t, 0, "--redis=redis://"+testenv.NewAsleep(t).Addr, "--listen="+address, "--ops-listen="+address)
	if code := n.end(t); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	for _, want := range []string{"\nwaitroom: --listen " + address + ": ", "\nwaitroom: --ops-listen " + address + ": "} {
		if !strings.Contains(n.log.String(), want) {
			t.Errorf("got %s, want %q in it", n.log, want)
		}
	}
	if strings.Contains(n.log.String(), "redis") {
		t.Errorf("got %s, want no word of Redis", n.log)
	}
}

// A second signal ends a delay, and everything else, at once.
func TestSecondSignalKills(t *testing.T) {
	n := waitroom(t, 0, "--drain-delay=5m")
	n.ready(t)
	n.signal(t)
	n.notReady(t)
	for { // one that comes too soon is taken for the first
		select {
		case <-n.exited:
			if code := n.end(t); code != -1 {
				t.Errorf("got exit code %d, want the signal's", code)
			}
			return
		case <-time.After(100 * time.Millisecond):
			_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
		}
	}
}

func TestMemoryIsSet(t *testing.T) {
	n := waitroom(t, 0, "--memory=300MiB", "--gc-percent=70")
	n.ready(t)
	figures := n.metrics(t)
	for _, want := range []string{"\ngo_gc_gomemlimit_bytes 3.145728e+08\n", "\ngo_gc_gogc_percent 70\n"} {
		if !strings.Contains(figures, want) {
			t.Errorf("metrics: want %q", want)
		}
	}
}
