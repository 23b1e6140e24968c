package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// A line that lost writes says so in the status: while places are brought back, for an
// hour after it, and in JSON.
func TestStatusOfALoss(t *testing.T) {
	url := redisURL(t)
	lines, rdb := linesOf(t, url), clientOf(t, url)
	status := func(args ...string) string {
		t.Helper()
		code, out, errOut := run(t, append([]string{"status", "sale", "--redis", url}, args...)...)
		if code != 0 {
			t.Fatalf("status: got exit code %d; %s", code, errOut)
		}
		return out
	}
	_, out, _ := run(t, "room", "create", "sale", "--state", "open", "--redis", url)
	epoch := room.Epoch(strings.TrimSpace(out))
	known := room.VisitorID("AAAAAAAAAAAAAAAA")
	joined, err := lines.Join(t.Context(), "sale", room.Caller{Epoch: epoch, Process: "p"}, room.Lane{Name: "p-1", Batch: 1}, []room.VisitorID{known})
	if err != nil {
		t.Fatal(err)
	}
	if out := status(); strings.Contains(out, "recovering") || strings.Contains(out, "last ch") || strings.Contains(status("--json"), `"loss"`) {
		t.Errorf("before: got %s, want no word of a loss", out)
	}

	// A process heard of number 100, and one of its visitors comes back with 50.
	mark := room.Caller{Epoch: epoch, Mark: 100, Process: "p"}
	stands, err := lines.Rejoin(t.Context(), "sale", mark, []room.Place{{Visitor: "BBBBBBBBBBBBBBBB", Number: 50}})
	if err != nil || stands[0].Standing != room.Waiting || joined.Mark() != 1 {
		t.Fatalf("rejoin: got %v and %v after number %d, want a place that is back", stands, err, joined.Mark())
	}
	heard(t, lines, mark)
	out = status()
	for _, want := range []string{
		`(?m)^  state +open \(visitors see: recovering\), `,
		`(?m)^  recovering +20\S+Z \(\d+m?s ago\): 99 places unknown, 1 back; admission goes on behind them at 20\S+Z \(in \d+s\)$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("held: got %s, want %q in it", out, want)
		}
	}
	var v statusView
	if err := json.Unmarshal([]byte(status("--json")), &v); err != nil {
		t.Fatal(err)
	}
	if l := v.Loss; l == nil || !l.Recovering || l.Asking || l.Since == "" || l.Unknown != 99 || l.Back != 1 || l.GoesOn == "" || l.Losses != 1 || v.Shown != "recovering" {
		t.Errorf("held: got %+v and %s, want all of it", v.Loss, v.Shown)
	}

	if code, _, errOut := run(t, "room", "close", "sale", "--redis", url); code != 0 {
		t.Fatal(errOut)
	}
	if out := status(); !strings.Contains(out, "(visitors see: closed)") || !strings.Contains(out, "  recovering ") {
		t.Errorf("held and closed: got %s, want both", out)
	}
	if code, _, errOut := run(t, "room", "open", "sale", "--redis", url); code != 0 {
		t.Fatal(errOut)
	}

	// The hold is over.
	if err := rdb.HSet(t.Context(), "wr1:{sale}:life", "hold", 1).Err(); err != nil {
		t.Fatal(err)
	}
	out = status()
	if !regexp.MustCompile(`(?m)^  last loss +20\S+Z \(\d+m?s ago\): 99 places unknown, 1 back$`).MatchString(out) || !strings.Contains(out, "(visitors see: open)") {
		t.Errorf("over: got %s, want the last loss", out)
	}
	v = statusView{}
	if err := json.Unmarshal([]byte(status("--json")), &v); err != nil || v.Loss == nil || v.Loss.Recovering || v.Loss.GoesOn != "" || v.Shown != "open" {
		t.Errorf("over: got %+v, %s and %v, want a loss that is over", v.Loss, v.Shown, err)
	}
}

// heard has processes tell their marks until nobody is asked any more.
func heard(t *testing.T, lines *line.Lines, all ...room.Caller) {
	t.Helper()
	for asking := true; asking; {
		for _, by := range all {
			var err error
			if _, asking, err = lines.Report(t.Context(), "sale", by); err != nil {
				t.Fatal(err)
			}
		}
		if !wait(t.Context(), 20*time.Millisecond) {
			t.Fatal("still asked")
		}
	}
}

// What docs/recovery.md tells of a kill and of a Redis that lost everything, on a Redis
// that does both.
func TestStatusAfterAKillAndAFlush(t *testing.T) {
	server := testenv.StartRedis(t)
	lines := linesOf(t, server.URL())
	status := func(want string, args ...string) {
		t.Helper()
		_, out, errOut := run(t, append([]string{"status", "sale", "--redis", server.URL()}, args...)...)
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("got %s%s, want %q in it", out, errOut, want)
		}
	}
	_, out, _ := run(t, "room", "create", "sale", "--state", "open", "--redis", server.URL())
	epoch := room.Epoch(strings.TrimSpace(out))
	a, b := room.Caller{Epoch: epoch, Process: "a"}, room.Caller{Epoch: epoch, Process: "b"}
	for _, by := range []*room.Caller{&a, &b} {
		joined, err := lines.Join(t.Context(), "sale", *by, room.Lane{Name: by.Process + "-1", Batch: 1}, []room.VisitorID{room.NewVisitorID()})
		if err != nil {
			t.Fatal(err)
		}
		by.Mark = joined.Mark()
	}

	server.Kill()
	server.Restart()
	if _, _, err := lines.Report(t.Context(), "sale", a); err != nil {
		t.Fatal(err)
	}
	status(`(?m)^  recovering +20\S+Z \(\d+m?s ago\): nobody gets a number until the processes have told what they know, 3 s at most; admission goes on behind them at `)
	heard(t, lines, a, b)
	status(`(?m)^  last check +20\S+Z \(\d+m?s ago\): Redis had begun anew, no place was unknown to it$`)

	found, err := lines.Snapshot(t.Context(), "sale", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := clientOf(t, server.URL()).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := lines.Recreate(t.Context(), "sale", b, found.Saved); err != nil {
		t.Fatal(err)
	}
	status(`(?m)^  recovering +20\S+Z \(\d+m?s ago\): .*2 places unknown, 0 back`)
	status(`(?m)^  20\S+Z +process b: recreate\b`, "--acts")
}

// An act right after a loss waits for those that were lost, says so, and is made then.
func TestActAfterALoss(t *testing.T) {
	url := redisURL(t)
	rdb := clientOf(t, url)
	if code, _, errOut := run(t, "room", "create", "sale", "--state", "open", "--redis", url); code != 0 {
		t.Fatal(errOut)
	}
	lose := func() {
		t.Helper()
		if err := rdb.HSet(t.Context(), "wr1:{sale}:life", "replid", "before").Err(); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	began := time.Now()
	code, out, errOut := run(t, "pause", "sale", "--redis", url)
	if code != 0 || !strings.Contains(out, "state: open -> paused") || strings.Count(errOut, "waiting until its processes") != 1 || time.Since(began) < 2*time.Second {
		t.Errorf("got exit code %d after %v, %q, %q; want a pause after three seconds, and a word of why", code, time.Since(began), out, errOut)
	}
	if code, _, errOut := run(t, "set", "sale", "--rate", "7", "--redis", url); code != 0 || strings.Contains(errOut, "waiting") {
		t.Errorf("the next act: got exit code %d, %s; want no wait", code, errOut)
	}
	lose()
	if code, _, errOut := run(t, "room", "delete", "sale", "--redis", url); code == 0 || !strings.Contains(errOut, "recovering") || !strings.Contains(errOut, "--force") {
		t.Errorf("delete: got exit code %d, %s; want a refusal that names --force", code, errOut)
	}
	if code, _, errOut := run(t, "room", "delete", "sale", "--force", "--redis", url); code != 0 {
		t.Errorf("delete --force: %s", errOut)
	}
}

// Who left because nobody saw them is in the sums, by a number of its own: else joined
// is more than what became of everybody.
func TestStatusCountsWhoIsAway(t *testing.T) {
	url := redisURL(t)
	if code, _, errOut := run(t, "room", "create", "sale", "--redis", url); code != 0 {
		t.Fatal(errOut)
	}
	if err := clientOf(t, url).HSet(t.Context(), "wr1:{sale}:stats", "reaped", 3).Err(); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := run(t, "status", "sale", "--redis", url); !strings.Contains(out, " 0 left, 3 away, 0 finished") {
		t.Errorf("got %s, want 3 away", out)
	}
	var v statusView
	if _, out, _ := run(t, "status", "sale", "--json", "--redis", url); json.Unmarshal([]byte(out), &v) != nil || v.Stats.Away != 3 {
		t.Errorf("JSON: got %+v, want 3 away", v.Stats)
	}
}
