package seatmap

import (
	"errors"
	"testing"
	"time"

	"waitroom/internal/seat"
)

// A whole read that failed is due again at once: the map lacks what it was due for.
func TestFailedReadIsDueAgain(t *testing.T) {
	h := &hall{name: "gig"}
	h.begin()
	h.read([]seat.Seat{{ID: "A-1", State: seat.Free}}, 1)
	h.begin()
	h.failed(errors.New("the connection is gone"))
	if !h.due(time.Hour) {
		t.Error("after a read that failed: none is due for an hour")
	}
	h.begin()
	h.read([]seat.Seat{{ID: "A-1", State: seat.Free}}, 2)
	if h.due(time.Hour) {
		t.Error("after a good one: another is due")
	}
}
