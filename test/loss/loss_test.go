package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ours are the kinds that are run each time, half a minute each; the others are run by
// the command.
var ours = []string{"kill", "aof-1s", "flush", "cluster", "cluster-takeover"}

// TestLosses runs the command as an operator would, in the sizes of CI.
func TestLosses(t *testing.T) {
	if os.Getenv("WAITROOM_E2E") != "1" {
		t.Skip("runs the built binaries as processes: WAITROOM_E2E=1 is not set")
	}
	program := filepath.Join(t.TempDir(), "loss")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	logs := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "--short", "--json", "--logs", logs, "--kinds", strings.Join(ours, ","))
	// When the test's time is up the program still ends what it started.
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, time.Minute
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("loss: %v", err)
	}
	var kept []string
	for line := range bytes.Lines(out) {
		if line[0] != '{' {
			continue
		}
		var row struct {
			Kind    string
			Verdict struct{ Joined, Before, Admitted, Frightened int }
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		v := row.Verdict
		if n := short.visitors(); v.Joined != n || v.Admitted != n || v.Before == 0 || v.Before == n || v.Frightened != 0 {
			t.Errorf("%s: got %+v, want %d joined and admitted, some before the loss and some after it, nobody frightened", row.Kind, v, n)
		}
		kept = append(kept, row.Kind)
	}
	if !slices.Equal(kept, ours) {
		t.Errorf("got rows %v, want %v", kept, ours)
	}
	if t.Failed() {
		tails(t, logs)
	}
}

func tails(t *testing.T, logs string) {
	files, err := filepath.Glob(filepath.Join(logs, "*", "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, file := range files {
		t.Logf("the end of %s:\n%s", file, tail(file))
	}
}
