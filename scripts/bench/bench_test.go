package main

import (
	"strings"
	"testing"
)

func TestWindows(t *testing.T) {
	// One admission each 5 ms: 200/s, so 200 in every window of a second.
	steady := make([]int64, 2000)
	for i := range steady {
		steady[i] = 1_000_000 + int64(i)*5000
	}
	end := steady[len(steady)-1]
	if got := windows(steady, steady[0], end, 1_000_000, 200); got > 1 {
		t.Errorf("a steady rate: got an error of %v, want at most 1", got)
	}
	// Ten of them come 40 ms early, at once: the window that ends there has more.
	early := append([]int64(nil), steady...)
	for i := 1000; i < 1010; i++ {
		early[i] = steady[1000]
	}
	if got := windows(early, early[0], end, 1_000_000, 200); got < 9 || got > 10 {
		t.Errorf("ten early ones: got an error of %v, want 9 to 10", got)
	}
	// And 300 that never came.
	hole := append(append([]int64(nil), steady[:900]...), steady[1200:]...)
	if got := windows(hole, hole[0], end, 1_000_000, 200); got != 200 {
		t.Errorf("a hole of a second and a half: got an error of %v, want 200", got)
	}
}

func TestRow(t *testing.T) {
	f := Figure{Name: "joins", Aim: "≥ 500", Unit: "/s", Met: atLeast(500), Runs: []float64{480, 1234.4, 470}, Floor: []float64{960}}
	for _, want := range []string{"| joins |", "≥ 500, **missed**", "| 480 /s |", "470 – 1,234 (3 runs)", "960 (× 0.50)"} {
		if got := f.row(); !strings.Contains(got, want) {
			t.Errorf("got %s, want %q in it", got, want)
		}
	}
	f.Runs = []float64{500}
	if got := f.row(); !strings.Contains(got, "≥ 500, met | 500 /s | – |") {
		t.Errorf("one run that meets its aim: got %s", got)
	}
}

func TestMiddle(t *testing.T) {
	for _, c := range []struct {
		runs []float64
		want int
	}{{[]float64{7}, 0}, {[]float64{9, 1, 5}, 2}, {[]float64{9, 4, 1, 5}, 1}} {
		if got := middle(c.runs); got != c.want {
			t.Errorf("%v: got run %d, want %d", c.runs, got, c.want)
		}
	}
}
