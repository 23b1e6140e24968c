// Package page proves what the waiting page promises with the real page in
// Chromium against the built binaries: that it comes back by itself, on the same
// place, from whatever happens between it and the line.
//
// It runs where WAITROOM_E2E=1 and the servers of internal/testenv are given;
// elsewhere each test skips with one line. WAITROOM_LONG=1 makes it long: more
// pages, longer nights, nginx with the time-outs that Debian ships.
//
// Tests mostly wait here, so they run side by side; each has servers and rooms of
// its own. Those that measure milliseconds run alone, before the others.
package page

import (
	"flag"
	"os"
	"testing"

	"waitroom/test/internal/child"
)

// stages has room for the tests that run side by side: they mostly wait, and at the
// same moments each wants a Redis, a node and a few pages of the two cores.
var stages = make(chan struct{}, 7)

// sideBySide makes a test parallel, among at most so many.
func sideBySide(t *testing.T) {
	t.Parallel()
	stages <- struct{}{}
	t.Cleanup(func() { <-stages })
}

// long is the long form.
var long = os.Getenv("WAITROOM_LONG") == "1"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		// The default, the number of cores, is for tests that compute: here sideBySide
		// is the bound.
		_ = flag.Set("test.parallel", "100")
	}
	code := child.Main(m)
	if err := chromium.stop(); err != nil && code == 0 {
		println("the browser's driver:", err.Error())
		code = 1
	}
	os.Exit(code)
}

// pick is the number of the short or the long form.
func pick[T any](short, longer T) T {
	if long {
		return longer
	}
	return short
}
