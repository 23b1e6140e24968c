package main

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"waitroom/internal/process"
	"waitroom/internal/testenv"
)

func TestComposeFits(t *testing.T) {
	// A run whose context has ended reads its flags and opens nothing.
	ended, end := context.WithCancel(t.Context())
	end()
	testenv.Compose(t, "booker", &cli{}, func(args []string, errOut io.Writer) int {
		return process.Run(ended, "booker", "", &cli{}, args, io.Discard, errOut)
	})
}

// A supervisor that follows compose.yaml or the README cuts no stop short.
func TestStopFits(t *testing.T) {
	testenv.Stops(t, "booker", "booker", func(args []string) time.Duration {
		var c cli
		if _, err := kong.Must(&c).Parse(args); err != nil {
			t.Fatal(err)
		}
		return c.Run.stop()
	})
}
