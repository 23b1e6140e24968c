package rank

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"waitroom/internal/room"
)

// set is the bitmap as Redis keeps it: no byte behind the last bit that was set.
func set(gone []byte, n room.Number) []byte {
	for int64(len(gone)) <= int64(n)>>3 {
		gone = append(gone, 0)
	}
	gone[n>>3] |= 0x80 >> (n & 7)
	return gone
}

// Every position is the rank in a plain list, through Position, through a cursor
// in order, and through a cursor that jumps.
func TestPositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seq := room.Number(rapid.IntRange(0, 400).Draw(t, "seq"))
		share := rapid.SampledFrom([]int{0, 1, 5, 9, 10}).Draw(t, "tenths gone")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var full []byte
		waiting := []room.Number{}
		for n := room.Number(1); n <= seq; n++ {
			if random.IntN(10) < share {
				full = set(full, n)
			} else {
				waiting = append(waiting, n)
			}
		}
		head := seq + 1
		if len(waiting) > 0 {
			head = waiting[0]
		}
		from := min(int64(rapid.IntRange(0, 60).Draw(t, "from")), int64(head)>>3)
		window := full[min(from, int64(len(full))):]

		want := map[room.Number]room.Position{}
		for i, n := range waiting {
			want[n] = room.Position(i + 1)
		}
		b := New(head, seq, from, window)
		inOrder, jumping := b.Cursor(), b.Cursor()
		check := func(how string, n room.Number, got room.Position, ok bool) {
			if got != want[n] || ok != (want[n] > 0) {
				t.Fatalf("%s: position of %d: got %d, %v, want %d (head %d, seq %d, from %d, gone %x)",
					how, n, got, ok, want[n], head, seq, from, window)
			}
		}
		for n := room.Number(1); n <= seq+9; n++ {
			got, ok := b.Position(n)
			check("Position", n, got, ok)
			got, ok = inOrder.Position(n)
			check("cursor", n, got, ok)
			m := 1 + room.Number(random.Int64N(int64(seq)+9))
			got, ok = jumping.Position(m)
			check("jumping cursor", m, got, ok)
			if gone := n <= seq && want[n] == 0; b.Gone(n) != gone {
				t.Fatalf("Gone(%d): got %v, want %v", n, b.Gone(n), gone)
			}
		}
	})
}

func TestNothingAllocated(t *testing.T) {
	gone := set(nil, 4_000)
	b := New(10, 10_000, 0, gone)
	got := testing.AllocsPerRun(100, func() {
		b.Reset(10, 10_000, 0, gone)
		c := b.Cursor()
		for n := room.Number(10); n < 9_000; n += 7 {
			c.Position(n)
		}
	})
	if got != 0 {
		t.Errorf("got %v allocations for a sweep, want 0", got)
	}
}

// A million in line, one in five gone: the sweep of a node that has all of them,
// and of one that has a hundredth.
func BenchmarkSweep(b *testing.B) {
	const seq = 1_000_000
	random := rand.New(rand.NewPCG(1, 2))
	gone := set(nil, seq)
	for n := room.Number(2); n <= seq; n++ {
		if random.IntN(5) == 0 {
			gone = set(gone, n)
		}
	}
	for _, every := range []room.Number{1, 100} {
		b.Run(fmt.Sprintf("every=%d", every), func(b *testing.B) {
			read := New(1, seq, 0, gone)
			visitors := 0
			b.ReportAllocs()
			for b.Loop() {
				c := read.Cursor()
				for n := room.Number(1); n <= seq; n += every {
					if p, ok := c.Position(n); ok && p > seq {
						b.Fatalf("position of %d: got %d", n, p)
					}
					visitors++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(visitors), "ns/visitor")
		})
	}
}
