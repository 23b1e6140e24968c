package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/embedded"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// atOnce is how many of the tests run at the same time, each on servers of its own: some
// wait for limits of 5 to 10 s, others start one process after another. By default there
// would be as many as cores. What looks at a time that the machine's load changes runs
// alone.
const atOnce = 4

// The test binary is the built command when it is told so.
func TestMain(m *testing.M) {
	if os.Getenv("ADMITTER_TEST_MAIN") == "1" {
		main()
	}
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	// Nothing of the tester's environment: WAITROOM_… variables are flags.
	cmd.Env = []string{"ADMITTER_TEST_MAIN=1", "USER=ann", "PATH=" + os.Getenv("PATH")}
	if len(args) > 0 && args[0] != "run" {
		// Under the race detector every process sleeps a second at its end, for what
		// other goroutines may do in it. An operator's command has none by then.
		cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	}
	return cmd
}

// run runs the command to its end.
func run(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	return end(t, command(t, args...))
}

func end(t *testing.T, cmd *exec.Cmd) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func redisURL(t *testing.T) string {
	t.Helper()
	_, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return "redis://" + addr + "/0"
}

func clientOf(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	rdb, err := line.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func linesOf(t *testing.T, url string) *line.Lines {
	t.Helper()
	return line.New(clientOf(t, url))
}

// An operator's day, each step with its exit code and its words.
func TestOperator(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	lines := linesOf(t, url)
	for _, step := range []struct {
		args string
		code int
		out  string // a pattern of the whole output
		err  string // a pattern within the errors
	}{
		{"room list", 0, ``, ``},
		{"status", 0, ``, ``},
		{"status sale", 1, ``, `unknown_room: .*sale`},
		{"room create sale --rate 20 --max-active 50 --claim 30s --pass 5m --notice soon --opens-at 2030-01-01T00:00:00Z", 0, `[a-z2-7]{8}\n`, ``},
		{"room create sale", 1, ``, `room_exists: room sale`},
		{"room list", 0, `sale\n`, ``},
		{"resume sale", 1, ``, `wrong_state: .*opening, want paused`},
		{"pause sale", 0, `state: opening -> paused\n`, ``},
		{"resume sale", 0, `state: paused -> opening\n`, ``},
		{"set sale --opens-at 2031-06-01T12:00:00Z --claim 45s", 0,
			`(?s)claim: 30s -> 45s\n.*opens_at: 2030-01-01T00:00:00Z -> 2031-06-01T12:00:00Z\n`, ``},
		{"set sale --grace 45s", 0, `grace: 2m0s -> 45s\n`, ``},
		{"status sale --acts", 0, `(?s)sale\n.* claim +45s, pass 5m0s, grace 45s\n.*set grace_ms 2m0s → 45s\n.*`, ``},
		{"set sale --grace 29s --rate 0", 2, ``, `(?s)rate 0.*grace ms 29000: want 30000 to 3600000`},
		{"room create other --grace 2h", 2, ``, `grace ms 7200000`},
		{"set sale --opens-at never", 0, `opens_at: 2031-06-01T12:00:00Z -> never\n`, ``},
		{"set sale --opens-at 2020-01-01T00:00:00Z --rate 0", 2, ``, `(?s)rate 0.*--opens-at 2020-01-01T00:00:00Z has passed.*room open`},
		{"room open sale", 0, `state: opening -> open\n`, ``},
		{"pause sale --actor bob", 0, `state: open -> paused\n`, ``},
		{"pause sale", 0, `nothing to change\n`, ``},
		{"resume sale", 0, `state: paused -> open\n`, ``},
		{"pause sale --notice shortly", 0, `notice: soon -> shortly\nstate: open -> paused\n`, ``},
		{"resume sale", 0, `state: paused -> open\nnotice: shortly -> ""\n`, ``},
		{"pause sale --notice " + strings.Repeat("x", 281), 2, ``, `notice: want at most 280`},
		{"set sale --rate 7.5", 0, `rate: 20 -> 7.5\n`, ``},
		{"set sale --rate 1000", 0, `(?s)rate: 7.5 -> 1000\n.*`, `burst raised.*100`},
		{"set sale", 2, ``, `no value given`},
		{"set other --rate 5", 1, ``, `unknown_room: room other`},
		{"set slae --rate 5", 1, ``, `unknown_room: room slae: .*; did you mean sale\?`},
		{"room open sal", 1, ``, `did you mean sale\?`},
		{"room close ssale", 1, ``, `did you mean sale\?`},
		{"room delete salle", 1, ``, `did you mean sale\?`},
		{"room reopen sale", 0, `nothing to change\n`, ``},
		{"room reopen sale --stock-rev 7", 0, `stock_rev: "" -> 7\n`, ``},
		{"status sale", 0, `(?s)sale\n.* stock +rev 7 is the newest the shop told, sold out: false\n.*`, ``},
		{"room reopen sale --stock-rev -1", 2, ``, `stock rev -1: want 0 to`},
		{"set sale --rate 3 --rev 1", 1, ``, `room_changed: room sale: .*: rev \d+ by ann@.*; this command changed nothing`},
		{"pause sale --rev 1", 1, ``, `room_changed`},
		{"resume sale --rev 1", 1, ``, `room_changed`},
		{"room open sale --rev 1", 1, ``, `room_changed`},
		{"room close sale --rev 1", 1, ``, `room_changed`},
		{"room reopen sale --rev 1 --stock-rev 8", 1, ``, `room_changed`},
		{"set sale --rate 0 --rev -1", 2, ``, `(?s)--rev -1.*rate 0|rate 0.*--rev -1`},
		{"room reopen sael", 1, ``, `did you mean sale\?`},
		{"pause sales", 1, ``, `did you mean sale\?`},
		{"resume sole", 1, ``, `did you mean sale\?`},
		{"pause opera", 1, ``, `admitter room list`},
		{"room create old --opens-at 2020-01-01T00:00:00Z", 2, ``, `--opens-at 2020-01-01T00:00:00Z has passed.*--state open`},
		{"room create old --opens-at 2020-01-01T00:00:00Z --state paused --rate 0", 2, ``, `(?s)rate 0.*has passed`},
		{"room create old --opens-at 2020-01-01T00:00:00Z --state open", 0, `[a-z2-7]{8}\n`, ``},
		{"room delete old", 0, ``, ``},
		{"set Sale --rate 0 --claim 5 --opens-at soon --max-active=0 --shop-url ftp://x", 2, ``,
			`(?s)--claim "5".*rate 0 is refused.*--opens-at "soon".*max-active 0.*shop url.*room name must.*nothing was changed`},
		{"room create other --rate 5 --state ajar --claim 0s", 2, ``, `(?s)claim.*state "ajar"|state "ajar".*claim`},
		{"status sale", 0, `(?s)sale\n.*state +open .*epoch [a-z2-7]{8}.*rate +1000 per second, burst 100\n.*`, ``},
		{"room close sale", 0, `state: open -> closed\n`, ``},
		{"pause sale", 1, ``, `wrong_state: .*closed, want open or opening`},
		{"room delete sale", 0, ``, ``},
		{"room delete sale", 1, ``, `room_deleted: room sale: room was deleted by ann@\S+ at 20\S+Z\n`},
		{"set sale --rate 5", 1, ``, `room_deleted: room sale`},
		{"status sale", 1, `(?s)sale\n  deleted by ann@\S+, since 20[^\n]*\nprocesses\n.*`, `room_deleted: room sale`},
		{"status sale --acts", 1, `(?s)sale\n  deleted by ann@\S+, since [^\n]*\n +20\S+Z +ann@\S+: delete\n.*: create\nprocesses\n.*`, `room_deleted: room sale`},
		{"status sale --acts --json", 1, `\{"room":"sale",.*"cause":"deleted","since":"20.*"deleted":\{"epoch":"[a-z2-7]{8}","at":"20.*Z","actor":"ann@.*"acts":\[\{"at":"20.*,"actor":"ann@.*","what":"delete"\}.*\n`, `room_deleted: room sale`},
		{"room create sale", 0, `[a-z2-7]{8}\n`, ``},
		{"status sale", 0, `(?s)sale\n  stands still: not open yet.*`, ``},
		{"room delete sale", 0, ``, ``},
		{"-h", 0, `(?s)Usage: admitter.*room create.*`, ``},
		{"run -h", 0, `(?s).*--redis=.*WAITROOM_REDIS.*--kafka=.*`, ``},
	} {
		args := strings.Fields(step.args)
		if last := args[len(args)-1]; last != "-h" {
			args = append(args, "--redis", url)
		}
		code, out, errOut := run(t, args...)
		if code != step.code {
			t.Errorf("%s: got exit code %d, want %d; %s", step.args, code, step.code, errOut)
		}
		if !regexp.MustCompile(`^(?:` + step.out + `)$`).MatchString(out) {
			t.Errorf("%s: got output %q, want %q", step.args, out, step.out)
		}
		if !regexp.MustCompile(step.err).MatchString(errOut) || (step.err == "" && step.code == 0 && errOut != "") {
			t.Errorf("%s: got errors %q, want %q", step.args, errOut, step.err)
		}
		if step.args == "room close sale" {
			acts, err := lines.Acts(t.Context(), "sale", 100)
			if err != nil {
				t.Fatal(err)
			}
			bob, ann := 0, 0
			for _, act := range acts {
				switch {
				case act.Actor == "bob":
					bob++
				case strings.HasPrefix(act.Actor, "ann@"):
					ann++
				}
			}
			if bob != 1 || ann != 14 {
				t.Errorf("audit stream: got %d acts by bob and %d by ann, want 1 and 14: %v", bob, ann, acts)
			}
		}
	}
}

// A negative number is a wrong value among others, and hides none of them.
func TestNegativeNumbers(t *testing.T) {
	t.Parallel()
	code, _, errOut := run(t, "set", "sale", "--rate", "-5", "--burst", "-1", "--max-active", "0", "--claim", "-3s", "--max-waiting=-7", "--opens-at", "soon")
	if code != 2 {
		t.Errorf("got exit code %d, want 2", code)
	}
	for _, want := range []string{`rate "-5"`, "burst -1", "max-active 0", "claim ms -3000", "max-waiting -7", `--opens-at "soon"`} {
		if strings.Count(errOut, want) != 1 {
			t.Errorf("got %q, want %s once", errOut, want)
		}
	}
}

// Deleting refuses while visitors wait; --force does not.
func TestDelete(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	lines := linesOf(t, url)
	_, out, _ := run(t, "room", "create", "sale", "--state", "open", "--redis", url)
	epoch := room.Epoch(strings.TrimSpace(out))
	_, err := lines.Join(t.Context(), "sale", room.Caller{Epoch: epoch}, room.Lane{Name: "test", Batch: 1}, []room.VisitorID{room.NewVisitorID()})
	if err != nil {
		t.Fatal(err)
	}
	code, _, errOut := run(t, "room", "delete", "sale", "--redis", url)
	if code != 1 || !strings.Contains(errOut, "room_busy") || !strings.Contains(errOut, "--force") {
		t.Errorf("delete: got %d, %q, want 1, room_busy and --force", code, errOut)
	}
	if code, _, errOut = run(t, "room", "delete", "sale", "--force", "--redis", url); code != 0 {
		t.Errorf("delete --force: got %d, %q, want 0", code, errOut)
	}
}

func TestStatusJSON(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	for _, name := range []string{"one", "two"} {
		if code, _, errOut := run(t, "room", "create", name, "--rate", "12.5", "--redis", url); code != 0 {
			t.Fatal(errOut)
		}
	}
	_, out, _ := run(t, "status", "--json", "--acts", "--redis", url)
	decoder := json.NewDecoder(strings.NewReader(out))
	var names []string
	for {
		var v statusView
		if err := decoder.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		names = append(names, v.Room)
		if v.Rate != "12.5" || v.State != "opening" || v.Head != 1 || len(v.Acts) != 1 {
			t.Errorf("got %+v, want rate 12.5, opening, head 1, one act", v)
		}
	}
	if strings.Join(names, " ") != "one two" {
		t.Errorf("got rooms %v, want one and two", names)
	}
}

// A Redis away at the start is named, with a stable code and without the
// password, and the process fails.
func TestServerAway(t *testing.T) {
	t.Parallel() // it waits as long as a start does
	const want = `unavailable: redis://127\.0\.0\.1:1: .*refused`
	cmd := command(t, "run", "--kafka", "127.0.0.1:1", "--ops-listen", "127.0.0.1:0")
	cmd.Env = append(cmd.Env, "WAITROOM_REDIS=redis://user:hunter2@127.0.0.1:1/0") // where its password may stand
	code, _, errOut := end(t, cmd)
	if code != 1 || !regexp.MustCompile(want).MatchString(errOut) {
		t.Errorf("got %d, %q, want 1 and %q", code, errOut, want)
	}
	if strings.Contains(errOut, "hunter2") {
		t.Errorf("the password is in %q", errOut)
	}
}

// A password on the command line, where everybody on the machine reads it, is
// refused and not repeated.
func TestPasswordOnCommandLine(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--redis", "redis://:hunter2@127.0.0.1:1"}, {"--redis=redis://:hunter2@127.0.0.1:1"}} {
		code, out, errOut := run(t, append([]string{"room", "list"}, args...)...)
		if code != 2 || !strings.Contains(errOut, "--redis-password-file") || strings.Contains(out+errOut, "hunter2") {
			t.Errorf("%v: got %d, %q, want 2 and what to do instead", args, code, errOut)
		}
	}
}

// The process serves rooms made before and after its start, with its flags, is
// ready, and SIGTERM ends it with exit code 0. A second start with the same
// flags leaves a change made in between.
func TestRun(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	lines := linesOf(t, url)
	broker, stopKafka, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopKafka)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	create := func(name room.Name) {
		if code, _, errOut := run(t, "room", "create", string(name), "--state", "open", "--redis", url); code != 0 {
			t.Fatal(errOut)
		}
		status, err := lines.Status(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		ids := []room.VisitorID{room.NewVisitorID(), room.NewVisitorID(), room.NewVisitorID()}
		_, err = lines.Join(ctx, name, room.Caller{Epoch: status.Conf.Epoch}, room.Lane{Name: "test", Batch: 1}, ids)
		if err != nil {
			t.Fatal(err)
		}
	}
	until := func(name room.Name, what string, is func(room.Status) bool) {
		t.Helper()
		for {
			status, err := lines.Status(ctx, name)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if is(status) {
				return
			}
			wait(ctx, 5*time.Millisecond)
		}
	}
	served := func(s room.Status) bool {
		return s.Stats.Admitted == 3 && s.Outbox == 0 && s.Conf.Rate == 300_000
	}
	start := func() (end func()) {
		cmd := command(t, "run", "--redis", url, "--kafka", broker, "--rate", "300", "--ops-listen", "127.0.0.1:0", "--log-format", "text")
		var logs bytes.Buffer
		cmd.Stderr = &logs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("after SIGTERM: got %v, want exit code 0; %s", err, logs.String())
			}
			if got := strings.Count(logs.String(), "error"); got != 0 {
				t.Errorf("got %d errors logged, want none: %s", got, logs.String())
			}
		}
	}

	create("before")
	end := start()
	until("before", "served", served)
	create("after")
	until("after", "served", served)
	end()

	if code, _, errOut := run(t, "set", "before", "--rate", "40", "--redis", url); code != 0 {
		t.Fatal(errOut)
	}
	end = start()
	create("last")
	until("last", "served", served)
	end()
	if status, err := lines.Status(ctx, "before"); err != nil || status.Conf.Rate != 40_000 {
		t.Errorf("after a restart with the same flags: got rate %s, %v, want the 40 that was set live", status.Conf.Rate, err)
	}
}

func TestOps(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	broker, stopKafka, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopKafka)
	run(t, "room", "create", "sale", "--state", "open", "--redis", url)
	cmd := command(t, "run", "--redis", url, "--kafka", broker, "--ops-listen", "127.0.0.1:0")
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The first lines say where the ops port is.
	var addr string
	decoder := json.NewDecoder(pipe)
	for addr == "" {
		var entry struct{ Ops string }
		if err := decoder.Decode(&entry); err != nil {
			t.Fatal(err)
		}
		addr = entry.Ops
	}
	for path, want := range map[string]string{"/healthz": "alive", "/readyz": "ready\n", "/metrics": `waitroom_admitter_rounds_total{cause="empty",room="sale"}`} {
		got := ""
		for range 1000 {
			reply, err := http.Get("http://" + addr + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(reply.Body)
			reply.Body.Close()
			if got = string(body); strings.Contains(got, want) && !strings.HasPrefix(got, "not ") {
				break
			}
			wait(t.Context(), 5*time.Millisecond)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %.200q, want %q in it", path, got, want)
		}
		if path == "/metrics" {
			testenv.Scraped(t, got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, pipe)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: got %v, want exit code 0", err)
	}
}

// More rooms than a registry may hold hide none of the first thousand, and are said.
func TestTooManyRooms(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	rdb := clientOf(t, url)
	for i := range room.MaxRooms + 2 {
		if err := rdb.SAdd(t.Context(), "wr1:rooms", fmt.Sprintf("r%04d", i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errOut := run(t, "room", "list", "--redis", url)
	if code != 1 || strings.Count(out, "\n") != room.MaxRooms || !strings.HasPrefix(out, "r0000\n") || !strings.Contains(errOut, "too_many_rooms: ") || !strings.Contains(errOut, "1002") {
		t.Errorf("room list: got %d, %d lines, %q, want the first thousand and too_many_rooms with 1002", code, strings.Count(out, "\n"), errOut)
	}
	code, out, errOut = run(t, "status", "--json", "--redis", url)
	if code != 1 || strings.Count(out, "\n") != room.MaxRooms || !strings.Contains(errOut, "1002") {
		t.Errorf("status: got %d, %d lines, %.200q, want a thousand rooms and 1002", code, strings.Count(out, "\n"), errOut)
	}
}
