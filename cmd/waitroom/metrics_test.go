package main

import (
	"testing"

	"go.uber.org/zap"

	"waitroom/internal/gateway"
	"waitroom/internal/hub"
	"waitroom/internal/process"
	"waitroom/internal/testenv"
)

func TestMetricsAreDocumented(t *testing.T) {
	rec := process.NewRecorder()
	process.Common(rec)
	visitors := hub.New(nil, nil, "", zap.NewNop(), rec)
	if _, err := gateway.New(gateway.Config{MaxConnections: 1, ShopURL: "/shop"}, visitors, nil, zap.NewNop(), rec); err != nil {
		t.Fatal(err)
	}
	testenv.Metrics(t, "waitroom", rec)
}
