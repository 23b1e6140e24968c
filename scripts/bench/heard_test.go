package main

import (
	"fmt"
	"slices"
	"testing"

	"waitroom/internal/room"
)

// tellAt is a position frame of a visitor, at so many ms.
func tellAt(e *ear, l *listener, number room.Number, position, ms int64) {
	e.position(l, number, fmt.Appendf(nil, `%s%d,"waiting":9,"eta":null}`, positionHead, position), ms*1000)
}

func TestHeardGaps(t *testing.T) {
	e := &ear{}
	a, b, c, quiet := e.listener(), e.listener(), e.listener(), e.listener()
	tellAt(e, a, 11, 10, 900) // before the stretch: only the beginning of a gap
	tellAt(e, b, 12, 11, 900)
	tellAt(e, c, 13, 12, 900)
	e.open()
	tellAt(e, a, 11, 9, 1900)
	tellAt(e, a, 11, 8, 3150) // 250 ms late
	tellAt(e, b, 12, 10, 1900)
	e.lose(c) // a lost one is counted, and is not silent as well
	got := e.closeAt(3_400_000)
	slices.Sort(got.Gaps)
	if want := []int32{1_000_000, 1_000_000, 1_250_000, 1_500_000}; !slices.Equal(got.Gaps, want) {
		t.Errorf("gaps: got %v, want %v: two on time, one late, and one who still waits", got.Gaps, want)
	}
	if late := got.late(); quantile(late, 0.5) != 250 || quantile(late, 1) != 500 || quantile(late, 0) != 0 {
		t.Errorf("late by %v, want 0 to 500 ms with 250 in the middle", late)
	}
	if got.Lost != 1 || quiet.last != 0 {
		t.Errorf("lost: got %d, want 1", got.Lost)
	}
	tellAt(e, a, 11, 7, 9000)
	e.open()
	if got := e.closeAt(9_500_000); len(got.Gaps) != 1 || got.Gaps[0] != 7_600_000 {
		t.Errorf("gaps of a stretch without frames: got %v, want the one silence of 7.6 s", got.Gaps)
	}
}

// Two processes hear the same reads of the line; what counts is the first frame of
// either.
func TestHeardReads(t *testing.T) {
	hear := func(number room.Number, at ...int64) Heard {
		e := &ear{}
		l := e.listener()
		e.open()
		for gone, ms := range at {
			tellAt(e, l, number, int64(number)-int64(gone), ms)
		}
		return e.closeAt(2_000_000)
	}
	for _, parts := range [][]Heard{
		{hear(100, 1000, 2000), hear(200, 1400, 2300)},
		{hear(200, 1400, 2300), hear(100, 1000, 2000)}, // the later one first
	} {
		all := together(parts)
		first, second := all.Reads[0], all.Reads[1]
		if len(all.Reads) != 2 || first == nil || second == nil || first.FirstUS != 1_000_000 || second.FirstUS != 2_000_000 {
			t.Fatalf("got %v, want two reads, first heard at 1 s and 2 s", all.Reads)
		}
		ages := all.ages()
		slices.Sort(ages)
		if want := []float64{0, 0, 300, 400}; !slices.Equal(ages, want) {
			t.Errorf("ages: got %v ms, want %v", ages, want)
		}
	}
}
