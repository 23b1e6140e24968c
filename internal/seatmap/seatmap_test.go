package seatmap

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// A read slower than a map's age must not be repeated by each who waited for it.
func TestOneReadOfTheMapServesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		maps := New(func(context.Context, room.Name) ([]seat.Seat, error) {
			loads++ // by whoever has the map's turn
			time.Sleep(4 * maxAge)
			return []seat.Seat{{ID: "A-1", State: seat.Free}}, nil
		})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if body, _, err := maps.Of(t.Context(), "show"); err != nil || len(body) == 0 {
					t.Errorf("got %q, %v, want the map", body, err)
				}
			})
		}
		wg.Wait()
		if loads != 1 {
			t.Errorf("got %d reads for 20 visitors at once, want 1", loads)
		}
	})
}
