package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waitroom/internal/payment"
	"waitroom/internal/process"
	"waitroom/internal/psp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program is the built binary, while it runs.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	log  bytes.Buffer
	said chan []string // all lines of its output, when it has ended
}

func build(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "psp")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}

// start returns when it says where it listens.
func start(t *testing.T, binary string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // one that hangs is killed
	t.Cleanup(cancel)
	p := &program{t: t, cmd: exec.CommandContext(ctx, binary, append(args, "--listen", "127.0.0.1:0")...), said: make(chan []string, 1)}
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make(chan string, 1)
	go func() { // ends with the program's output
		var lines []string
		for in := bufio.NewScanner(out); in.Scan(); {
			if lines = append(lines, in.Text()); len(lines) == 1 {
				first <- in.Text()
			}
		}
		if len(lines) == 0 {
			first <- ""
		}
		p.said <- lines
	}()
	_, p.url, _ = strings.Cut(<-first, "http://")
	p.url = "http://" + strings.TrimSuffix(p.url, "/payments")
	return p
}

// end sends a signal and awaits the end.
func (p *program) end(signal os.Signal) (lines []string, took time.Duration) {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	lines = <-p.said
	err := p.cmd.Wait()
	if killed := signal == syscall.SIGKILL; killed != (err != nil) {
		p.t.Errorf("it ended with %v\n%s", err, p.log.String())
	}
	return lines, time.Since(began)
}

func (p *program) books() (b psp.Books) {
	p.t.Helper()
	res, err := http.Get(p.url + "/ledger")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&b); err != nil {
		p.t.Fatal(err)
	}
	return b
}

// A kill in the middle of many payments: whatever a client was told is in the ledger of
// the next start, once, and the books balance.
func TestKill(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	binary, journal := build(t), filepath.Join(t.TempDir(), "journal")
	told := map[string]payment.Outcome{} // what each attempt's client heard last; guarded by mu
	var mu sync.Mutex
	const kills, buyers = 3, 8
	for kill := range kills {
		p := start(t, binary, "--journal", journal, "--timeouts", "0.05", "--cuts", "0.05")
		c, err := payment.New(payment.Config{URL: p.url, Trip: 1 << 30, Limits: payment.Limits{Authorise: 300 * time.Millisecond, Capture: 300 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		many := make(chan struct{}) // closed when enough was captured
		count := 0
		var all sync.WaitGroup
		for buyer := range buyers {
			all.Go(func() { // ends with ctx, awaited below
				for i := 0; ctx.Err() == nil; i++ {
					a := payment.Attempt{Key: fmt.Sprintf("attempt-%d-%d-%d", kill, buyer, i), Amount: int64(100 + i), Currency: "EUR"}
					for _, call := range []func() (payment.Result, error){
						func() (payment.Result, error) { return c.Authorise(ctx, a, payment.Method{Token: "card_ok"}) },
						func() (payment.Result, error) { return c.Capture(ctx, a) },
					} {
						got, err := call()
						if err != nil {
							break // unknown: the ledger may have it or not
						}
						mu.Lock()
						told[a.Key] = got.Outcome
						if got.Outcome == payment.Captured {
							if count++; count == 40 {
								close(many)
							}
						}
						mu.Unlock()
					}
				}
			})
		}
		<-many
		p.end(syscall.SIGKILL)
		stop()
		all.Wait()
		c.Close()
	}
	p := start(t, binary, "--journal", journal)
	b := p.books()
	state := map[string]payment.Outcome{}
	var captured int64
	for _, one := range b.Payments {
		state[one.Key] = one.State
		captured += one.Captured
		if one.State == payment.Captured && one.Captured != one.Amount {
			t.Errorf("%+v", one)
		}
	}
	for key, heard := range told {
		if now := state[key]; now != heard && !(heard == payment.Authorised && now == payment.Captured) {
			t.Errorf("%s: its client heard %s, the ledger says %q", key, heard, now)
		}
	}
	acts := map[string]bool{}
	for _, e := range b.Entries {
		name := fmt.Sprint(e.Act, e.Payment)
		if acts[name] {
			t.Errorf("%s stands there twice", name)
		}
		acts[name] = true
	}
	s := b.Sums["EUR"]
	if s.Captured != captured || s.Authorised != s.Held+s.Captured+s.Released || len(told) < kills*40 {
		t.Errorf("sums %+v, payments say %d captured, %d attempts", s, captured, len(told))
	}
	lines, _ := p.end(syscall.SIGINT)
	want := fmt.Sprintf("ledger: EUR payments %d, authorised %d, held %d, captured %d, released 0, refunded 0, net %d.", s.Payments, s.Authorised, s.Held, s.Captured, s.Net)
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("the last line: got %q, want %q", got, want)
	}
}

// A signal ends it within a second, also beside requests that hang and callbacks that
// nobody takes; nothing secret is in its log.
func TestStop(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	binary := build(t)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := start(t, binary, "--callback-url", "http://127.0.0.1:1/", "--secret-file", file, "--api-key-file", file)
		cut := make(chan error, 1)
		go func() { // ends with the answer, or with the program
			r, _ := http.NewRequest("POST", p.url+"/payments", strings.NewReader(`{"amount":4500,"currency":"EUR","method":"card_timeout"}`))
			r.Header.Set("Idempotency-Key", "attempt-1")
			r.Header.Set("Authorization", "Bearer s3cret")
			// On a connection of its own: one that is used again would have it sent again.
			res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
			if err == nil {
				res.Body.Close()
			}
			cut <- err
		}()
		for p.books().Sums["EUR"].Held != 4500 { // it is done, so it hangs now
		}
		lines, took := p.end(signal)
		if took > time.Second {
			t.Errorf("%v: took %s, want a second at most", signal, took)
		}
		if err := <-cut; err == nil || strings.Contains(err.Error(), "refused") {
			t.Errorf("%v: who hung: got %v, want a cut", signal, err)
		}
		if got, want := lines[len(lines)-1], "ledger: EUR payments 1, authorised 4500, held 4500, captured 0, released 0, refunded 0, net 0."; got != want {
			t.Errorf("%v: the last line: got %q, want %q", signal, got, want)
		}
		if strings.Contains(p.log.String(), "s3cret") {
			t.Errorf("the log: %s", p.log.String())
		}
	}
}

// All wrong values are told together, and nothing is opened.
func TestWrongFlags(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	var out, log bytes.Buffer
	code := process.Run(t.Context(), "psp", "", &cli{}, []string{"--listen", "nowhere", "--lapse", "-1s", "--declines", "2", "--latency", "-1s",
		"--callback-url", "ftp://x", "--journal", journal}, &out, &log)
	for _, want := range []string{"--listen", "--lapse", "--declines", "--latency", "--callback-url", "--secret-file"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not told:\n%s", want, log.String())
		}
	}
	if _, err := os.Stat(journal); code != 2 || err == nil {
		t.Errorf("got code %d, journal %v; want 2 and no journal", code, err)
	}
}

// The help names every card and every fault.
func TestHelp(t *testing.T) {
	out, err := exec.Command("go", "run", ".", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	for _, card := range psp.Cards {
		if !strings.Contains(text, card.Token) {
			t.Errorf("%s is not in the help", card.Token)
		}
	}
	for _, flag := range []string{"latency", "jitter", "slow", "late", "declines", "timeouts", "cuts", "errors", "html", "duplicates", "lates", "forgeries", "outage", "seed"} {
		if !strings.Contains(text, "--"+flag) && !strings.Contains(text, "--[no-]"+flag) {
			t.Errorf("--%s is not in the help:\n%s", flag, out)
		}
	}
}
