// Package child builds the binaries and runs them as processes: again and again
// with the same flags, on addresses that stay theirs, with a log that a failed
// test prints. What still runs when its test ends is killed by its pid.
package child

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

// Main is a TestMain: it builds the binaries where WAITROOM_E2E=1, and returns the
// exit code.
func Main(m *testing.M) int {
	if os.Getenv("WAITROOM_E2E") != "1" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "waitroom-binaries-")
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

// Need skips the test unless the binaries were asked for.
func Need(t *testing.T) {
	t.Helper()
	if built == "" {
		t.Skip("runs the built binaries as processes: WAITROOM_E2E=1 is not set")
	}
}
