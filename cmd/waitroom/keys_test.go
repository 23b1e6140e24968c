package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/process"
	"waitroom/internal/token"
)

func run(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = process.Run(t.Context(), "waitroom", "", &cli{}, args, &o, &e)
	return code, o.String(), e.String()
}

func TestKeys(t *testing.T) {
	t.Setenv("WAITROOM_KEYS", "")
	file := filepath.Join(t.TempDir(), "keys.json")
	signing := func() string {
		r, err := token.LoadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return r.SigningID()
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		same bool // the signing key stays
	}{
		{"made", []string{"keys", "new"}, 0, false},
		{"nothing to promote", []string{"keys", "promote"}, 1, true},
		{"standby", []string{"keys", "new", "--standby"}, 0, true},
		{"promoted", []string{"keys", "promote"}, 0, false},
		{"too many dropped", []string{"keys", "new", "--drop=2"}, 1, true},
		{"drop below 0", []string{"keys", "new", "--drop=-1"}, 2, true},
		{"a file that exists", []string{"keys", "new"}, 1, true},
		{"a file that exists, the oldest dropped", []string{"keys", "new", "--drop=1"}, 1, true},
		{"both ways", []string{"keys", "new", "--standby", "--force"}, 2, true},
		{"in front, the oldest dropped", []string{"keys", "new", "--force", "--drop=1"}, 0, false},
	} {
		before := ""
		if c.name != "made" {
			before = signing()
		}
		code, out, errOut := run(t, append(c.args, "--file="+file)...)
		if code != c.code {
			t.Fatalf("%s: got exit code %d, want %d: %s", c.name, code, c.code, errOut)
		}
		if got := signing(); (got == before) != c.same || (c.code == 0 && !c.same && !strings.Contains(out, got)) {
			t.Errorf("%s: got %s signing after %s, printed %q", c.name, got, before, out)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), `"d"`) != 2 {
		t.Errorf("got %d keys at the end, %v, want 2", strings.Count(string(b), `"d"`), err)
	}
}

// Who makes a key for a file that holds keys is told both ways there are.
func TestNewKeyForAnExistingFile(t *testing.T) {
	t.Setenv("WAITROOM_KEYS", filepath.Join(t.TempDir(), "keys.json"))
	if code, _, errOut := run(t, "keys", "new"); code != 0 {
		t.Fatal(errOut)
	}
	_, _, errOut := run(t, "keys", "new")
	for _, want := range []string{"--standby", "--force", "keys.json"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("got %q, want %s named", errOut, want)
		}
	}
}

// A node without its keys does not start, and says how they are made.
func TestRunWithoutKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	code, _, errOut := run(t, "run", "--keys", file)
	if code != 1 || !strings.Contains(errOut, "--keys") || !strings.Contains(errOut, "waitroom keys new --file "+file) {
		t.Errorf("got %d and %q, want 1 and the command that makes the file", code, errOut)
	}
}

func TestWrongFlagsAreReportedTogether(t *testing.T) {
	code, _, errOut := run(t, "--redis=nope:secret", "--max-connections=0", "--drain=soon", "--origin=a/b", "--keys=k")
	if code != 2 {
		t.Errorf("got exit code %d, want 2", code)
	}
	for _, want := range []string{"--redis", "--max-connections 0", `--drain "soon"`, `--origin "a/b"`} {
		if strings.Count(errOut, want) != 1 {
			t.Errorf("got %q, want %s once", errOut, want)
		}
	}
	if strings.Contains(errOut, "secret") {
		t.Errorf("got a secret told: %q", errOut)
	}
}
