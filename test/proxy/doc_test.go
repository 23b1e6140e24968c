// Package proxy runs the built binaries behind nginx and Caddy as the README says
// they may stand: its two snippets are the files of this folder, and here is what
// they were seen to do.
//
// It runs where WAITROOM_E2E=1; elsewhere each test that starts a proxy skips with
// one line. Redis and Kafka are stand-ins in the test's own process: a proxy's
// work does not depend on them.
package proxy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// built is the folder of the three binaries; "" without WAITROOM_E2E.
var built string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("WAITROOM_E2E") != "1" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "waitroom-proxy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator),
		"waitroom/cmd/waitroom", "waitroom/cmd/admitter", "waitroom/cmd/booker").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	built = dir
	return m.Run()
}
