package main

import (
	"bufio"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"waitroom/internal/embedded"
	"waitroom/internal/room"
)

// The status says in a sentence why the room stands still, as it comes to stand
// for one reason after another; --json has the same.
func TestStatusSaysWhy(t *testing.T) {
	t.Parallel() // it waits for signs of life and looks, on servers of its own
	url := redisURL(t)
	lines := linesOf(t, url)
	broker, stopKafka, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stopKafka)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	must := func(args ...string) string {
		t.Helper()
		code, out, errOut := run(t, append(args, "--redis", url)...)
		if code != 0 {
			t.Fatalf("%v: got exit code %d; %s", args, code, errOut)
		}
		return out
	}
	// until waits for a status that matches the pattern.
	until := func(what, pattern string) string {
		t.Helper()
		for out := ""; ; wait(ctx, 50*time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatalf("%s: got %s, want %q in it", what, out, pattern)
			}
			if out = must("status", "sale"); regexp.MustCompile(pattern).MatchString(out) {
				return out
			}
		}
	}
	epoch := room.Epoch(strings.TrimSpace(must("room", "create", "sale", "--rate", "50", "--max-active", "2", "--claim", "1m")))
	if _, err := lines.Join(ctx, "sale", room.Caller{Epoch: epoch}, room.Lane{Name: "test", Batch: 1},
		[]room.VisitorID{room.NewVisitorID(), room.NewVisitorID(), room.NewVisitorID()}); err != nil {
		t.Fatal(err)
	}
	until("not open", `(?m)^sale\n  stands still: not open yet, set by ann@.*, since 20..-.*Z \(.* ago\); .admitter room open sale. opens it$`)
	must("room", "open", "sale")
	out := until("nobody serves", `(?m)^  stands still: no admitter is alive, nor was one in the last 10 minutes; start .admitter run.$`)
	if !strings.Contains(out, "processes\n  none has signed") || !strings.Contains(out, "the cap allows at least 0.003 a second, at 11m inside, the longest stay; the rate is 50: the cap may rule") {
		t.Errorf("got %s, want no process, and what the cap allows at least", out)
	}

	cmd := command(t, "run", "--redis", url, "--kafka", broker, "--ops-listen", "127.0.0.1:0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out = until("full", `(?m)^  stands still: every slot is taken, 2 of 2, since .*`)
	for _, want := range []string{
		`(?m)^  admitter +[0-9a-f]{12} on \S+: last round \d+m?s ago stopped for cap, so since 20.*Z \(.* ago\)$`,
		`(?m)^processes\n  admitter +[0-9a-f]{12} on .*, pid \d+, .*: +alive for .*, last sign .* ago$`,
		`(?m)^  admitted +2 in the last \d+m?s, as far as`,
		`(?m)^  state +open `,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("full: got %s, want %q in it", out, want)
		}
	}
	must("pause", "sale", "--actor", "bob")
	until("paused", `(?m)^  stands still: paused by bob, since .* ago\); .admitter resume sale. lets visitors in again$`)

	var v statusView
	if err := json.Unmarshal([]byte(must("status", "sale", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	if !v.Why.Stands || v.Why.Cause != "paused" || v.Why.Since == "" || v.Why.Do == "" || v.Pace.Rate != 50 || v.Pace.Cap <= 0 || v.Pace.Measured ||
		len(v.Admitters) != 1 || v.Admitters[0].State != "alive" || !v.Admitters[0].Serves || v.Admitters[0].RoundMS == nil || v.Lately.Admitted != 2 ||
		v.Nodes == nil || v.Now == "" {
		t.Errorf("json: got %+v, want all of it", v)
	}

	// Watching: two looks into a pipe, without escape codes, until Ctrl-C.
	watch := command(t, "status", "--watch", "--redis", url)
	pipe, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	looks := 0
	for text := bufio.NewScanner(pipe); looks < 2 && text.Scan(); {
		if regexp.MustCompile(`^-- 20.*Z$`).MatchString(text.Text()) {
			looks++
		}
		if strings.Contains(text.Text(), "\x1b") {
			t.Errorf("got %q, want no escape codes", text.Text())
		}
	}
	if err := watch.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for text := bufio.NewScanner(pipe); text.Scan(); { // so that it can end
	}
	if err := watch.Wait(); err != nil || looks != 2 {
		t.Errorf("watch: got %d looks and %v, want 2 and exit code 0", looks, err)
	}

	must("resume", "sale")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: got %v, want exit code 0", err)
	}
	until("stopped", `(?m)^  stands still: no admitter is alive; the last one, [0-9a-f]{12} on .*, was stopped, since .* ago\); start .admitter run.$`)
	until("stopped", `(?m)^  admitter +.*: +stopped since 20.* ago\), was up for`)
	must("room", "delete", "sale", "--force")
}

// A room whose data Redis has lost is explained, with the others beside it and
// exit code 1.
func TestStatusOfALostLine(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	for _, name := range []string{"lost", "well"} {
		if code, _, errOut := run(t, "room", "create", name, "--redis", url); code != 0 {
			t.Fatal(errOut)
		}
	}
	rdb := clientOf(t, url)
	if err := rdb.Del(t.Context(), "wr1:{lost}:conf").Err(); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := run(t, "status", "--redis", url)
	if code != 1 || !strings.Contains(errOut, "recovering: room lost") ||
		!strings.Contains(out, "lost\n  stands still: the room is listed and Redis has lost its line; ") || !strings.Contains(out, "well\n  stands still: not open yet") {
		t.Errorf("got %d, %q, %q, want both rooms and the error", code, out, errOut)
	}
}
