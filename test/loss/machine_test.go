package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTooSlow(t *testing.T) {
	size := Size{Joins: 300, For: 10 * time.Second}
	for name, c := range map[string]struct {
		pace Pace
		why  string // is in the answer; empty: the run counts
	}{
		"an idle machine":        {Pace{}, ""},
		"as slow as it may be":   {Pace{Late: 2 * time.Second, Still: mostStill}, ""},
		"the crowd came late":    {Pace{Late: 2*time.Second + 1}, "250 joins a second came and not 300"},
		"it stood still":         {Pace{Still: mostStill + 1}, "stood still for 1.5 s"},
		"the slower one decides": {Pace{Late: time.Second}.worse(Pace{Late: 5 * time.Second, Still: time.Second}), "200 joins a second"},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.pace.tooSlow(size)
			if (got == "") != (c.why == "") || !strings.Contains(got, c.why) {
				t.Errorf("got %q, want %q", got, c.why)
			}
		})
	}
}

// The clock is looked at in time on a machine that keeps up, and the longest look counts.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var w watch
		w.run(ctx)
		if got := w.longest(); got != 0 {
			t.Errorf("on time: got %v, want 0", got)
		}
		w.looked(watched + time.Second)
		w.looked(watched + time.Millisecond)
		if got := w.longest(); got != time.Second {
			t.Errorf("a second late, then a millisecond: got %v, want 1s", got)
		}
	})
}

// A run on a machine that did not keep up is neither kept nor broken, and its row says
// why.
func TestRowOfASlowMachine(t *testing.T) {
	for name, lost := range map[string]int{"nobody lost": 0, "somebody lost": 1} {
		t.Run(name, func(t *testing.T) {
			row := Row{Kind: "kill", What: "kill -9", Verdict: Verdict{Lost: lost}}
			if row.Kept() != (lost == 0) || row.Broken() != (lost > 0) {
				t.Errorf("of a run that counts: got kept %v, broken %v", row.Kept(), row.Broken())
			}
			row.Slow = "it stood still"
			if row.Kept() || row.Broken() {
				t.Errorf("got kept %v, broken %v, want neither", row.Kept(), row.Broken())
			}
			var text strings.Builder
			row.print(&text)
			explain(&text, []Row{row})
			for _, want := range []string{"| kill (does not count) |", "- kill (kill -9): does not count: it stood still."} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("got\n%s\nwant %q in it", text.String(), want)
				}
			}
		})
	}
}

// A table is Markdown: each row has as many cells as the head.
func TestTableIsMarkdown(t *testing.T) {
	var text strings.Builder
	printHead(&text)
	Row{Kind: "kill"}.print(&text)
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	want := strings.Count(lines[0], "|")
	if len(lines) != 3 {
		t.Fatalf("got %d lines, want head, rule and row", len(lines))
	}
	for _, line := range lines {
		if got := strings.Count(line, "|"); got != want {
			t.Errorf("got %d cells in %q, want %d", got-1, line, want-1)
		}
	}
}

// A kind ends by itself, within what its parts may take.
func TestMost(t *testing.T) {
	for name, size := range map[string]Size{"long": long, "short": short} {
		usual := size.For + size.Quiet + size.Claim + size.Pass
		if got := size.most(); got < usual || got > 15*time.Minute {
			t.Errorf("%s: got %v, want more than the usual %v, and at most a quarter of an hour", name, got, usual)
		}
	}
}
