// Package e2e runs the built binaries as processes against the real servers,
// kills and restarts each of them in the middle of a sale, and then balances
// the books: seats, visitors, numbers, admissions.
//
// It runs where WAITROOM_E2E=1 and the servers of internal/testenv are given;
// elsewhere each test skips with one line. Bookers and admitters of any other
// sale on the same Kafka are in the same consumer groups and would take the
// events of this one: no other fleet may run there meanwhile.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// built is the folder of the three binaries; "" without WAITROOM_E2E.
var built string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("WAITROOM_E2E") != "1" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "waitroom-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	built = dir
	return m.Run()
}

// build makes the binaries as a user would, and with the race detector where the
// test itself has it: a process that found a race ends with another code than 0.
func build(dir string) error {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "waitroom/cmd/waitroom", "waitroom/cmd/admitter", "waitroom/cmd/booker")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// enabled skips the test unless the binaries were asked for.
func enabled(t *testing.T) {
	t.Helper()
	if built == "" {
		t.Skip("runs the built binaries as processes: WAITROOM_E2E=1 is not set")
	}
}
