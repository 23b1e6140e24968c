package rank

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"waitroom/internal/room"
)

// line is a queue as a plain list, from which a read and its positions come.
type line struct {
	seq  room.Number
	gone map[room.Number]bool
}

func (l line) read(from int64) (head room.Number, bitmap []byte) {
	head = l.seq + 1
	for n := l.seq; n >= 1; n-- {
		if !l.gone[n] {
			head = n
		}
	}
	var last room.Number
	for n := range l.gone {
		last = max(last, n)
	}
	if last > 0 {
		bitmap = make([]byte, last>>3+1) // Redis stores nothing behind the last set bit
	}
	for n := range l.gone {
		bitmap[n>>3] |= 0x80 >> (n & 7)
	}
	return head, bitmap[min(from, int64(len(bitmap))):]
}

func check(t interface{ Fatalf(string, ...any) }, l line, from int64) {
	head, _ := l.read(0)
	from = min(from, int64(head)>>3) // a read begins at or before the head's byte
	head, bitmap := l.read(from)
	b := New(head, l.seq, from, bitmap)
	cursor := b.Cursor()
	var rank room.Position
	for n := room.Number(1); n <= l.seq+3; n++ {
		waiting := n <= l.seq && !l.gone[n]
		if waiting {
			rank++
		}
		if n <= l.seq && b.Gone(n) != l.gone[n] {
			t.Fatalf("number %d: got gone %v, want %v", n, b.Gone(n), l.gone[n])
		}
		for what, got := range map[string]func(room.Number) (room.Position, bool){"cursor": cursor.Position, "single": b.Position} {
			if p, ok := got(n); ok != waiting || (ok && p != rank) {
				t.Fatalf("%s, number %d of %d, head %d, from byte %d: got %d, %v, want %d, %v", what, n, l.seq, head, from, p, ok, rank, waiting)
			}
		}
	}
}

func TestPositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := line{room.Number(rapid.IntRange(0, 400).Draw(t, "seq")), map[room.Number]bool{}}
		for n := room.Number(1); n <= room.Number(rapid.IntRange(0, int(l.seq)).Draw(t, "popped")); n++ {
			l.gone[n] = true
		}
		if l.seq > 0 {
			for _, n := range rapid.SliceOfN(rapid.IntRange(1, int(l.seq)), 0, 200).Draw(t, "left") {
				l.gone[room.Number(n)] = true
			}
		}
		check(t, l, int64(rapid.IntRange(0, 60).Draw(t, "from")))
	})
}

func TestEdges(t *testing.T) {
	for seq := room.Number(0); seq < 200; seq++ {
		check(t, line{seq, nil}, 0)
		all := line{seq, map[room.Number]bool{}}
		for n := room.Number(1); n <= seq; n++ {
			all.gone[n] = true
		}
		check(t, all, int64(seq+1)>>3)
		if seq > 0 {
			delete(all.gone, seq)
			check(t, all, int64(seq)>>3)
		}
	}
	var empty Bits
	if _, ok := empty.Position(1); ok {
		t.Error("the zero value: got a position, want none")
	}
}

func TestCursorAllocatesNothing(t *testing.T) {
	b := New(1, 1000, 0, make([]byte, 126))
	if n := testing.AllocsPerRun(100, func() {
		b.Reset(1, 1000, 0, b.gone)
		c := b.Cursor()
		c.Position(10)
		c.Position(999)
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// BenchmarkSweep is the arithmetic of one tick over a line of a million with one
// in ten gone mid-line, per local visitor.
func BenchmarkSweep(bench *testing.B) {
	const seq = 1_000_000
	bitmap := make([]byte, seq/8+1)
	r := rand.New(rand.NewPCG(1, 2))
	for range seq / 10 {
		n := 2 + r.IntN(seq-2)
		bitmap[n>>3] |= 0x80 >> (n & 7)
	}
	for _, local := range []int{10_000, 1_000_000} {
		bench.Run(fmt.Sprint(local), func(bench *testing.B) {
			b := New(1, seq, 0, bitmap)
			var sum room.Position
			for bench.Loop() {
				c := b.Cursor()
				for i := 1; i <= local; i++ {
					p, _ := c.Position(room.Number(i * (seq / local)))
					sum += p
				}
			}
			bench.ReportMetric(float64(bench.Elapsed().Nanoseconds())/float64(bench.N)/float64(local), "ns/visitor")
			if sum == 0 {
				bench.Error("got no position")
			}
		})
	}
}
