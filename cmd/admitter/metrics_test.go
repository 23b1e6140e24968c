package main

import (
	"testing"

	"go.uber.org/zap"

	"waitroom/internal/admission"
	"waitroom/internal/process"
	"waitroom/internal/testenv"
)

func TestMetricsAreDocumented(t *testing.T) {
	rec := process.NewRecorder()
	process.Common(rec)
	var kafka kafkaFlags
	if _, err := admission.New(admission.Config{}, "test", nil, nil, zap.NewNop(), rec); err != nil {
		t.Fatal(err)
	}
	kafka.facts("test", nil, rec, nil)
	testenv.Metrics(t, "admitter", rec)
}
