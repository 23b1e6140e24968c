// Package browser_test runs Chromium through the pages: each state against
// scripted servers, and one visitor's whole way against the demo. It needs node,
// chromium and `npm ci` in this folder, so it runs only when WAITROOM_E2E is set.
package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func needBrowser(t *testing.T) {
	t.Helper()
	if os.Getenv("WAITROOM_E2E") == "" {
		t.Skip("WAITROOM_E2E is not set: no browser run")
	}
	if _, err := os.Stat(filepath.Join("node_modules", "playwright-core")); err != nil {
		t.Fatal("playwright-core is missing: run `npm ci` in test/browser")
	}
}

// node runs a script with a deadline; what it prints goes to the test's log.
func node(t *testing.T, timeout time.Duration, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.WaitDelay = 5 * time.Second // chromium's pipes may outlive a killed node
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("node %v: got %v, want success", args, err)
	}
}

func TestEveryStateOfThePages(t *testing.T) {
	needBrowser(t)
	node(t, 8*time.Minute, "states.mjs", fake(t, "").URL, "phone", "phone-dark", "desk")
}

func TestEveryStateUnderAPrefix(t *testing.T) {
	needBrowser(t)
	const prefix = "/tickets/2026"
	node(t, 5*time.Minute, "states.mjs", fake(t, prefix).URL+prefix, "phone", "quick")
}

// Every state × look × language on one sheet each, for a person to look at, in
// the folder of WAITROOM_SHEET. Without one two states show that it works.
func TestContactSheet(t *testing.T) {
	needBrowser(t)
	dir := os.Getenv("WAITROOM_SHEET")
	rooms := []string{"waiting", "turn"}
	if dir != "" {
		rooms = slices.DeleteFunc(slices.Sorted(maps.Keys(fakeLine)), func(name string) bool {
			return name == "soon" || name == "drained" || name == "ending" // as others, once they stand
		})
	} else {
		dir = t.TempDir()
	}
	node(t, 20*time.Minute, append([]string{"sheet.mjs", fake(t, "").URL, dir}, rooms...)...)
	for _, lang := range []string{"en", "ko"} {
		if info, err := os.Stat(filepath.Join(dir, "sheet-"+lang+".png")); err != nil || info.Size() < 10_000 {
			t.Errorf("sheet of %s: got %v, %v, want a picture", lang, info, err)
		}
	}
}

// The QR encoder of the page against a reader that is not ours.
func TestQR(t *testing.T) {
	needBrowser(t)
	node(t, 2*time.Minute, "qr.mjs")
}

// One visitor's whole way through the built demo: join, the line moves, reload, a
// second tab, the turn, claim, choose, hold, reload, confirm, done.
func TestTheWholeWay(t *testing.T) {
	needBrowser(t)
	program := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("go", "build", "-o", program, "../../scripts/demo").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // past the test: Ctrl-C ends it in the cleanup
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, "--bots", "40", "--rate", "2",
		"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`^ *the line +(http://\S+)$`)
	found := make(chan string, 1)
	done := make(chan struct{})
	go func() { // ends with the demo's output, and is waited for below
		defer close(done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if m := address.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-done
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo after Ctrl-C: got %v, want a clean end", err)
		}
		if t.Failed() {
			t.Logf("the demo's log:\n%s", log.String())
		}
	})
	select {
	case line := <-found:
		node(t, 4*time.Minute, "whole.mjs", line)
	case <-done:
		t.Fatal("the demo ended before it printed the line's address")
	}
}

// The pages are plain JavaScript with JSDoc: what they say of their types holds, and so
// does what they say of a live map, of which the booker's own tests keep each event.
func TestTypes(t *testing.T) {
	needBrowser(t)
	tsc := filepath.Join("node_modules", "typescript", "bin", "tsc")
	node(t, 2*time.Minute, tsc, "-p", filepath.Join("..", "..", "web", "jsconfig.json"))

	files, err := filepath.Glob("../../internal/shop/testdata/live/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("got the events %v, %v, want some", files, err)
	}
	booker, err := filepath.Abs("../../web/assets/booker.js")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	fmt.Fprintf(&source, "import type { LiveEvent } from %q;\nexport const told: LiveEvent[] = [\n", booker)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kind, data := "", "null"
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch name {
			case "event":
				kind = value
			case "data":
				data = value
			}
		}
		fmt.Fprintf(&source, "  { kind: %q, data: %s }, // %s\n", kind, data, filepath.Base(file))
	}
	source.WriteString("];\n")
	told := filepath.Join(t.TempDir(), "told.ts")
	if err := os.WriteFile(told, []byte(source.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	node(t, 2*time.Minute, tsc, "--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "ES2022", "--module", "ESNext", "--moduleResolution", "Bundler",
		"--lib", "ES2023,DOM,DOM.Iterable", told)
}
