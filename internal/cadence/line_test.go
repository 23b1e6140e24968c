package cadence

import (
	"testing"

	"waitroom/internal/room"
)

// heard is what a line of visitors heard from one node.
type heard struct {
	told, exact int     // words, and those of a node that tells everybody
	peak        float64 // the fullest tick, against the mean
	off         float64 // how far a position last heard was from the true one, at most, as a part of it
}

// walk moves a line of n visitors on by outflow per second, and by uneven rounds.
// Everybody was told in the same tick before; arrivals keep it as long as it is.
func walk(p Plan, n int, outflow int64, ticks uint32) (h heard) {
	last, spoke := make([]room.Position, n), make([]uint32, n) // by number, in a ring
	beat := int32(p.Beat.Milliseconds())
	gone := int64(0)
	for i := range last {
		last[i] = room.Position(i + 1)
	}
	for tick := uint32(1); tick <= ticks; tick++ {
		moved := outflow
		if tick%2 == 0 {
			moved += outflow / 4
		} else {
			moved -= outflow / 4
		}
		for range moved { // who leaves makes room for an arrival, which is told at once
			i := gone % int64(n)
			last[i], spoke[i] = 0, tick
			gone++
		}
		r := p.Rule(outflow*1000, tick)
		now := 0
		for at := range int64(n) {
			number := gone + at
			i := number % int64(n)
			v := Visitor{Number: room.Number(number + 1), Position: room.Position(at + 1), Last: last[i], Silent: int32(tick-spoke[i]) * 1000, Beat: beat}
			if v.Last != v.Position {
				h.exact++
			}
			if r.Due(v) {
				now++
				last[i], spoke[i] = v.Position, tick
			} else if v.Last > 0 {
				h.off = max(h.off, float64(v.Last-v.Position)/float64(v.Last))
			}
		}
		h.told += now
		h.peak = max(h.peak, float64(now))
	}
	h.peak /= float64(h.told) / float64(ticks)
	return h
}

// What sparing far visitors saves, on lines of the sizes and speeds that a sale
// has, over 24 ticks: whole rounds of every gap. A crowd that was told in one tick
// is spread from the next one on.
func TestFramesOfALine(t *testing.T) {
	for _, c := range []struct {
		visitors int
		outflow  int64
		step     int
		least    float64 // of the exact frames
		most     float64
	}{
		{50_000, 200, 1, 0.58, 0.66}, // 24,000 of them are near
		{50_000, 200, 3, 0.50, 0.58},
		{50_000, 50, 1, 0.30, 0.37},
		{50_000, 10, 1, 0.25, 0.29},
		{50_000, 10, 2, 0.16, 0.20},
		{50_000, 10, 3, 0.12, 0.16},
		{250_000, 200, 1, 0.30, 0.36},
	} {
		h := walk(planAt(Auto, c.step), c.visitors, c.outflow, 24)
		share := float64(h.told) / float64(h.exact)
		t.Logf("%d waiting, %d/s, step %d: %d words of %d, %.3f; fullest tick %.2f × the mean; off by %.1f %% at most",
			c.visitors, c.outflow, c.step, h.told, h.exact, share, h.peak, 100*h.off)
		if share < c.least || share > c.most {
			t.Errorf("%d waiting, %d/s, step %d: got %.3f of the exact frames, want %.2f to %.2f", c.visitors, c.outflow, c.step, share, c.least, c.most)
		}
		if h.peak > 1.1 {
			t.Errorf("%d waiting, %d/s, step %d: got %.2f of the mean in the fullest tick, want at most 1.1", c.visitors, c.outflow, c.step, h.peak)
		}
		if least := 1 / float64(ladders[Auto][c.step].least); h.off >= least {
			t.Errorf("%d waiting, %d/s, step %d: got a position off by %.3f, want less than %.3f", c.visitors, c.outflow, c.step, h.off, least)
		}
	}
	if h := walk(planAt(Exact, 0), 5_000, 20, 24); h.told != h.exact {
		t.Errorf("exact: got %d words of %d", h.told, h.exact)
	}
}
