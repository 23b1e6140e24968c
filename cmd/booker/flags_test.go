package main

import (
	"context"
	"io"
	"testing"

	"waitroom/internal/process"
	"waitroom/internal/testenv"
)

//go:generate env WAITROOM_UPDATE_FLAGS=1 go test -count=1 -run=^TestFlagsDoc$ .

func TestFlagsDoc(t *testing.T) { testenv.FlagsDoc(t, "booker", &cli{}) }

func TestAddresses(t *testing.T) {
	// A run whose context has ended reads its flags and opens nothing.
	ended, end := context.WithCancel(t.Context())
	end()
	testenv.Addresses(t, "booker", &cli{}, []string{"run"}, map[string]testenv.AddressFlag{
		"--listen": testenv.Listens, "--ops-listen": testenv.Listens, "--kafka": testenv.Dials,
	}, func(args []string, errOut io.Writer) int {
		return process.Run(ended, "booker", "", &cli{}, args, io.Discard, errOut)
	})
}
