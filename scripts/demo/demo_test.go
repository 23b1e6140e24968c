package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"waitroom/internal/bot"
	"waitroom/internal/process"
)

// pageWithin is what README promises of the built program.
const pageWithin = 3 * time.Second

// TestDemo is the built program as somebody uses it, three times: its page
// answers soon, a visitor among its bots sees a position, the seat page and the
// metrics are there, and a signal ends it cleanly, with no file left behind.
func TestDemo(t *testing.T) {
	program := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for run, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGINT} {
		t.Run(fmt.Sprintf("%d %v", run+1, signal), func(t *testing.T) { demo(t, program, signal) })
	}
}

func demo(t *testing.T, program string, signal os.Signal) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	temporary := t.TempDir()
	cmd := exec.CommandContext(ctx, program, "--bots", "30", "--rate", "0.5",
		"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it has ended, unless the test failed
		if t.Failed() {
			t.Logf("the demo's log:\n%s", log.String())
		}
	}()
	lines := bufio.NewScanner(stdout)
	urls := map[string]string{}
	address := regexp.MustCompile(`^  (the line|the seats|metrics) +(http://\S+)$`)
	for len(urls) < 3 && lines.Scan() {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			urls[m[1]] = m[2]
		}
	}
	rest := make(chan struct{})
	go func() { // ends with the program's output, which ends with the program
		defer close(rest)
		_, _ = io.Copy(io.Discard, stdout)
	}()
	if len(urls) < 3 {
		t.Fatalf("got addresses %v, want three", urls)
	}
	if body := page(t, ctx, urls["the line"]); !strings.Contains(body, "<html") {
		t.Errorf("%s: got %.80q, want a page", urls["the line"], body)
	}
	took := time.Since(started)
	t.Logf("a page %s after the start", took.Round(time.Millisecond))
	if took > pageWithin {
		t.Errorf("got a page after %s, want within %s", took, pageWithin)
	}
	if body := page(t, ctx, urls["the seats"]); !strings.Contains(body, "<html") {
		t.Errorf("%s: got %.80q, want a page", urls["the seats"], body)
	}

	node := strings.TrimSuffix(urls["the line"], "/rooms/show")
	// The first visitors of all may be let in, or leave, before a tick tells them
	// a position; somebody behind the bots hears one.
	for heard := 0; heard == 0; {
		out := bot.Run(ctx, bot.Config{Nodes: []string{node}, Room: "show", Plan: bot.Plan{Leave: 1, LeaveIn: 3 * time.Second}})
		stay := out.Place()
		if (out.End != bot.Left && out.End != bot.Booked) || stay.Rises > 0 || (stay.Heard > 0 && stay.First < 1) {
			t.Fatalf("got end %s (%v) and stay %+v, want one that left or bought", out.End, out.Err, stay)
		}
		heard = stay.Heard
	}
	if body := page(t, ctx, urls["metrics"]); !strings.Contains(body, `waitroom_admitter_admitted_total{room="show"}`) {
		t.Errorf("metrics: got no admissions of the room")
	}

	stopping := time.Now()
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-rest
	if err := cmd.Wait(); err != nil {
		t.Errorf("after %v: got %v, want exit code 0", signal, err)
	}
	t.Logf("ended %s after %v", time.Since(stopping).Round(time.Millisecond), signal)
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind in the temporary folder: %v, %v", left, err)
	}
	for _, bad := range []string{"\terror\t", "a bot failed", "panic"} {
		if strings.Contains(log.String(), bad) {
			t.Errorf("the log has %q", bad)
		}
	}
}

// A phone asks the demo by this machine's address in the network, and is sent
// nowhere else: not to the loopback address that the demo prints.
func TestDemoFromAPhone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	in, out := io.Pipe()
	var log bytes.Buffer
	ended := make(chan int, 1)
	running, stop := context.WithCancel(ctx)
	go func() { // ends with running, and is waited for below
		ended <- process.Run(running, "demo", "", &cli{}, []string{"--bots", "3", "--rate", "50", "--listen", "0.0.0.0:0", "--ops-listen", "127.0.0.1:0"}, out, &log)
		out.Close()
	}()
	var printed []string
	port := ""
	for lines := bufio.NewScanner(in); lines.Scan(); {
		printed = append(printed, lines.Text())
		if m := regexp.MustCompile(`the line +http://127\.0\.0\.1:(\d+)/`).FindStringSubmatch(lines.Text()); m != nil {
			port = m[1]
		}
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, in) }() // ends with the demo, which closes its end

	// All of 127.0.0.0/8 is this machine; only 127.0.0.2 stands for the phone's way.
	var mu sync.Mutex
	dialed := map[string]int{}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		dialed[address]++
		mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
	defer client.CloseIdleConnections()
	phone := "http://127.0.0.2:" + port
	got := bot.Run(ctx, bot.Config{Nodes: []string{phone}, Room: "show", HTTP: client})
	if got.End != bot.Booked {
		t.Errorf("got end %s (%v), want seats booked; the demo printed %q", got.End, got.Err, printed)
	}
	for address := range dialed {
		if address != "127.0.0.2:"+port {
			t.Errorf("the phone was sent to %s, want to 127.0.0.2:%s only", address, port)
		}
	}
	for _, path := range []string{"/rooms/show", "/rooms/show/shop"} {
		if body := page(t, ctx, phone+path); !strings.Contains(body, "<html") || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: got a page that names 127.0.0.1, or none: %.200q", path, body)
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("got exit code %d, want 0: %s", code, log.String())
	}
}

func page(t *testing.T, ctx context.Context, address string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: got %d, %v, want 200", address, answer.StatusCode, err)
	}
	return string(body)
}

func TestWrongFlags(t *testing.T) {
	var out, errOut bytes.Buffer
	code := process.Run(t.Context(), "demo", "", &cli{},
		[]string{"--bots=-1", "--rate", "0", "--room", "No", "--seats", "x", "--db", "secret"}, &out, &errOut)
	if code != 2 {
		t.Errorf("got code %d, want 2", code)
	}
	for _, want := range []string{"--bots", "--rate", "--room", "--seats", "--db"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("got %q, want %s named", errOut.String(), want)
		}
	}
	if strings.Contains(errOut.String(), "secret") {
		t.Errorf("got %q, want the database's URL kept back", errOut.String())
	}
}

// A port that is taken is named by its flag before anything is started.
func TestTakenPort(t *testing.T) {
	taken, err := process.Listen("listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var out, errOut bytes.Buffer
	code := process.Run(t.Context(), "demo", "", &cli{},
		[]string{"--listen", "127.0.0.1:0", "--ops-listen", taken.Addr().String()}, &out, &errOut)
	if code != 1 || !strings.Contains(errOut.String(), "--ops-listen") {
		t.Errorf("got code %d and %q, want 1 and --ops-listen", code, errOut.String())
	}
}
