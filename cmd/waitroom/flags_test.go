package main

import (
	"context"
	"io"
	"testing"

	"waitroom/internal/process"
	"waitroom/internal/testenv"
)

//go:generate env WAITROOM_UPDATE_FLAGS=1 go test -count=1 -run=^TestFlagsDoc$ .

func TestFlagsDoc(t *testing.T) { testenv.FlagsDoc(t, "waitroom", &cli{}) }

func TestAddresses(t *testing.T) {
	// A run whose context has ended reads its flags and opens nothing.
	ended, end := context.WithCancel(t.Context())
	end()
	testenv.Addresses(t, "waitroom", &cli{}, []string{"run", "--keys", "k"}, map[string]testenv.AddressFlag{
		"--listen": testenv.Listens, "--ops-listen": testenv.Listens, "--redis": testenv.DialsURL,
	}, func(args []string, errOut io.Writer) int {
		return process.Run(ended, "waitroom", "", &cli{}, args, io.Discard, errOut)
	})
}
