package main

import (
	"testing"

	"go.uber.org/zap"

	"waitroom/internal/gateway"
	"waitroom/internal/node"
	"waitroom/internal/process"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
)

func TestMetricsAreDocumented(t *testing.T) {
	rec := process.NewRecorder()
	process.Common(rec)
	process.NewSockets(1, idle, zap.NewNop(), rec)
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.New(node.Options{Keys: keys, Edge: gateway.Config{MaxConnections: 1, ShopURL: "/shop"}, Log: zap.NewNop(), Metrics: rec}); err != nil {
		t.Fatal(err)
	}
	testenv.Metrics(t, "waitroom", rec)
}
