package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/cadence"
	"waitroom/internal/embedded"
)

// TestMain plays a role of the bench where the test started itself as another
// process, as the bench does.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "--role" {
		if err := play(context.Background(), os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[2]+":", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The rows that need several processes, small, over the Redis of the demo: a node,
// visitors and attackers are started, measured, and gone at the end.
func TestRows(t *testing.T) {
	_, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	t.Run("rows", func(t *testing.T) {
		for name, row := range map[string]struct {
			measure func(context.Context, *bench) error
			want    []string
		}{
			"hostile": {measureHostile, []string{hostileColumns, "| 20 ping floods |", "closed with 4503"}},
			"memory":  {measureMemory, []string{figureColumns, "at 200, no forced", "at 320, no forced"}},
			"sockets": {measureSockets, []string{"node processor time per join", "end-to-end joins"}},
			"held": {func(ctx context.Context, b *bench) error { return heldBy(ctx, b, 100, cadence.Auto, 2_000) },
				[]string{heldColumns, "| 100 | 2,000 | auto |"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var out strings.Builder
				b := &bench{part: 50, brisk: 10, redis: "redis://" + addr, kinds: []string{"pings"}, table: table{out: &out}}
				if err := row.measure(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				for _, want := range row.want {
					if !strings.Contains(out.String(), want) {
						t.Errorf("got %s\nwant %q in it", out.String(), want)
					}
				}
			})
		}
	})
	// Whoever was started has ended, and was waited for.
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// Behind the name, which may hold anything: state and parent.
		after := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if after[1] == fmt.Sprint(os.Getpid()) {
			t.Errorf("a process was left: %s", stat)
		}
	}
}
