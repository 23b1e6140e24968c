package main

import (
	"testing"

	"waitroom/internal/testenv"
)

//go:generate env WAITROOM_UPDATE_FLAGS=1 go test -count=1 -run=^TestFlagsDoc$ .

func TestFlagsDoc(t *testing.T) { testenv.FlagsDoc(t, "booker", &cli{}) }
