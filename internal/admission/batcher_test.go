package admission

import (
	"context"
	"slices"
	"testing"

	"waitroom/internal/events"
)

// refusing is a publisher that says of some records that they are not written.
type refusing []int

func (r refusing) Publish(context.Context, []events.Record) error {
	return &events.Unpublished{Failed: r, Err: errSick}
}

// Of a call for several relays each hears of its own records.
func TestBatcherTellsEachItsOwn(t *testing.T) {
	answers := make(chan *delivery, 3)
	var batch []*delivery
	for _, n := range []int{3, 2, 4} {
		batch = append(batch, &delivery{records: make([]events.Record, n), answer: answers})
	}
	newBatcher(refusing{2, 5, 8}).call(t.Context(), batch)
	for i, want := range [][]int{{2}, nil, {0, 3}} {
		d := <-answers
		if d != batch[i] || !slices.Equal(d.failed, want) || (d.err == nil) != (want == nil) {
			t.Errorf("delivery %d: got %v, %v, want %v to have failed", i, d.failed, d.err, want)
		}
	}
}
