package admission

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

// Visitors whom nobody sees leave the line within a span; never while nobody can say, nor
// within a grace of a node's silence, nor while no node lives; and a room in which nobody
// waits is not asked.
func TestAbsentVisitorsLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale, "empty")
		w.mu.Lock()
		w.lines[sale].state = room.Paused
		w.lines[sale].absent = map[room.Number]bool{3: true, 7: true}
		w.unsure = room.ErrUnsure
		w.signs = []room.Sign{{ID: "alive", Role: room.RoleNode, At: time.Now()}, {ID: "silent", Role: room.RoleNode, At: time.Now()},
			{ID: "ended", Role: room.RoleNode, At: time.Now(), Stopped: true}}
		w.mu.Unlock()
		w.join(sale, 10)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		go w.sign(ctx, "alive", "silent")
		_, logs, _ := serve(t, Config{}, w, w)
		waiting := func(want int, when string) {
			t.Helper()
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := len(w.lines[sale].queue); got != want {
				t.Errorf("%s: got %d in line, want %d", when, got, want)
			}
		}
		time.Sleep(time.Minute)
		waiting(10, "while nobody can say who is away")

		end() // every node falls silent
		w.mu.Lock()
		w.unsure = nil
		w.mu.Unlock()
		time.Sleep(time.Minute)
		waiting(10, "while no node lives")

		again, stop := context.WithCancel(t.Context())
		defer stop()
		go w.sign(again, "alive")
		time.Sleep(50 * time.Second)
		waiting(10, "within a grace of a node's silence")
		time.Sleep(room.DefaultGrace)
		waiting(8, "a grace after it")
		if n := logs.FilterMessageSnippet("have left the line").Len(); n != 1 {
			t.Errorf("got %d lines about it, want 1", n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if most := 5 * 60 / 15; w.counts["away"] > most {
			t.Errorf("asked %d times who is away, want %d at most: once a span, of one room", w.counts["away"], most)
		}
	})
}
