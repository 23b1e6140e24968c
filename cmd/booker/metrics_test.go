package main

import (
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"waitroom/internal/boxoffice"
	"waitroom/internal/process"
	"waitroom/internal/sqldb"
	"waitroom/internal/testenv"
)

func TestMetricsAreDocumented(t *testing.T) {
	rec := process.NewRecorder()
	process.Common(rec)
	process.NewSockets(1, idle, zap.NewNop(), rec)
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := boxoffice.New(t.Context(), boxoffice.Options{DB: db, Log: zap.NewNop(), Metrics: rec}); err != nil {
		t.Fatal(err)
	}
	var behind servers
	behind.admissions("test", rec, nil)
	newBroker(behind, nil, rec)
	testenv.Metrics(t, "booker", rec)
}
