package main

import (
	"context"
	"io"
	"testing"

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
