package main

import (
	"testing"

	"waitroom/internal/testenv"
)

func TestReadmeNamesEveryFlag(t *testing.T) { testenv.ReadmeFlags(t, "waitroom", &cli{}) }
