package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"waitroom/internal/testenv"
)

func TestCallers(t *testing.T) {
	bad := errors.New("bad")
	var seen [100]atomic.Int64
	got := callers(t.Context(), 7, len(seen), time.Minute, func(_ context.Context, i int) error {
		seen[i].Add(1)
		if i%10 == 3 {
			return bad
		}
		return nil
	})
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("act %d: got %d times, want once", i, n)
		}
	}
	if len(got.times) != 90 || got.failed != 10 || !errors.Is(got.some(), bad) {
		t.Errorf("got %d done, %d failed, %v, want 90, 10 and the error", len(got.times), got.failed, got.some())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := callers(ctx, 7, 100, time.Minute, func(context.Context, int) error { return nil }); got.all(100) == nil {
		t.Error("nobody called after the end: got no error, want one")
	}
}

// The rows of the shop, small, on a real MariaDB: each is printed, and no act of it
// failed.
func TestShopRows(t *testing.T) {
	dsn := testenv.MySQL(t)
	for name, row := range map[string]struct {
		measure func(context.Context, *bench) error
		want    []string
	}{
		"holds":    {measureHolds, []string{shopColumns, "64 callers, 8 rooms of 6,000 seats", "no errors"}},
		"confirms": {measureConfirms, []string{shopColumns, "one room, 1,000 callers", "no errors"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			b := &bench{part: 50, brisk: 10, db: dsn, table: table{out: &out}}
			if err := row.measure(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			for _, want := range row.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %s\nwant %q in it", out.String(), want)
				}
			}
			if strings.Contains(out.String(), "errors**") {
				t.Errorf("got %s\nwant no errors in it", out.String())
			}
		})
	}
}

// A row's database is dropped, also when the row failed.
func TestOnShop(t *testing.T) {
	b := &bench{part: 50, brisk: 10, db: testenv.MySQL(t)}
	bad := errors.New("bad")
	var name string
	if err := onShop(t.Context(), b, func(g *shopGround) error { name = g.name; return bad }); !errors.Is(err, bad) {
		t.Errorf("got %v, want the row's error", err)
	}
	db, err := bare(b.db, "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var left int
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", name).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left > 0 {
		t.Errorf("the database %s is still there", name)
	}
}
