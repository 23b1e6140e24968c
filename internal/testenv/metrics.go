package testenv

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"waitroom/internal/process"
)

// Metrics holds docs/metrics.md against what a binary registers: its part has a
// row for each metric, and what it says to alert on is there. Metrics are linted
// by promtool where there is one. It is called from the directory of a command.
func Metrics(t *testing.T, name string, rec *process.Recorder) {
	t.Helper()
	const path = "../../docs/metrics.md"
	all, err := rec.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table := process.MetricTable(all)
	begin, end := "<!-- metrics of "+name+" -->\n", "<!-- end of "+name+" -->"
	head, rest, ok := strings.Cut(string(b), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/metrics.md has no %s … %s", begin, end)
	}
	if os.Getenv("WAITROOM_UPDATE_README") == "1" {
		if err := os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != table {
		t.Errorf("docs/metrics.md's metrics of %s differ from the binary's: run WAITROOM_UPDATE_README=1 go test ./cmd/%s", name, name)
	}
	known := map[string]bool{}
	for _, m := range all {
		known[m.Name] = true
		if m.Type == "histogram" {
			known[m.Name+"_bucket"], known[m.Name+"_sum"], known[m.Name+"_count"] = true, true, true
		}
	}
	// The alerts of this binary are the rules under its table.
	for _, word := range regexp.MustCompile(`waitroom_[a-z_]+`).FindAllString(alertsOf(tail), -1) {
		if !known[word] {
			t.Errorf("docs/metrics.md alerts on %s, which %s does not have", word, name)
		}
	}
	t.Run("promtool", func(t *testing.T) { lint(t, all) })
}

// Scraped holds what a running binary tells against docs/metrics.md, so that a
// metric which the binary's wiring adds is not forgotten there.
func Scraped(t *testing.T, body string) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^# TYPE (waitroom_\S+) `).FindAllStringSubmatch(body, -1)
	if len(found) < 3 {
		t.Errorf("got %d metrics of ours scraped, want some: %.200s", len(found), body)
	}
	for _, m := range found {
		if !bytes.Contains(doc, []byte("| `"+m[1]+"` |")) {
			t.Errorf("docs/metrics.md has no row for %s", m[1])
		}
	}
}

// alertsOf is what stands between a binary's table and the next heading.
func alertsOf(text string) string {
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// lint runs promtool check metrics, which is part of Debian's package prometheus.
func lint(t *testing.T, all []process.Metric) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("needs promtool of the package prometheus")
	}
	count(t, "promtool")
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(process.Exposition(all))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || out.Len() > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out.String())
	}
}
