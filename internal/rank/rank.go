// Package rank turns one read of a line's `gone` bitmap into exact positions:
// position(n) = n − gone bits up to n. It exists so that the work in Redis does
// not grow with the visitors who watch. Pure; nothing here allocates but New.
//
// The bit of number n is 0x80>>(n&7) of byte n>>3, as SETBIT writes it. Bits
// before the head count as gone, whatever the window holds of them, and bits
// behind the window's end as not gone: the line keeps no trailing zero bytes.
package rank

import (
	"encoding/binary"
	"math/bits"

	"waitroom/internal/room"
)

// Bits is one read: the window of the bitmap from byte `from` on, the head and
// the last number given. The bytes stay the caller's, who must not change them
// while the Bits are in use. Safe for concurrent readers.
type Bits struct {
	head, seq room.Number
	from      int64
	gone      []byte
}

// New returns the positions of one read. from must not be behind the head's byte.
func New(head, seq room.Number, from int64, gone []byte) *Bits {
	b := &Bits{}
	b.Reset(head, seq, from, gone)
	return b
}

// Reset makes b the positions of another read. Cursors of the old one are void.
func (b *Bits) Reset(head, seq room.Number, from int64, gone []byte) {
	*b = Bits{head: head, seq: seq, from: from, gone: gone}
}

// Gone says whether n left the line: it is before the head, or its bit is 1. A
// number above seq is not known to this read, and not gone.
func (b *Bits) Gone(n room.Number) bool {
	if n < b.head {
		return true
	}
	i := int64(n)>>3 - b.from
	return i >= 0 && i < int64(len(b.gone)) && b.gone[i]&(0x80>>(n&7)) != 0
}

// Position is n's rank in the line. It is false for a number that is gone, and
// for one above the read's seq, which waits for the next read. It counts from the
// head: for many numbers take a Cursor.
func (b *Bits) Position(n room.Number) (room.Position, bool) {
	c := b.Cursor()
	return c.Position(n)
}

// Cursor counts through the bits once, for numbers in ascending order.
type Cursor struct {
	bits *Bits
	next int64       // the first byte of the window not yet counted
	left room.Number // gone numbers among those before that byte, from the head on
	last room.Number
}

// Cursor returns one that stands at the head.
func (b *Bits) Cursor() Cursor {
	c := Cursor{bits: b, next: max(0, int64(b.head)>>3-b.from)}
	if c.next < int64(len(b.gone)) {
		// The head's own byte holds numbers before the head: counted here, and taken
		// off where the byte is counted whole.
		c.left = -room.Number(bits.OnesCount8(b.gone[c.next] & ^(0xFF >> (b.head & 7))))
	}
	return c
}

// Position is Bits.Position, amortised over the words between two calls. For a
// number below the one before it starts again at the head.
func (c *Cursor) Position(n room.Number) (room.Position, bool) {
	b := c.bits
	if n > b.seq || b.Gone(n) {
		return 0, false
	}
	if n < c.last {
		*c = b.Cursor()
	}
	c.last = n
	end := min(int64(n)>>3-b.from, int64(len(b.gone)))
	i, left := c.next, c.left
	for ; i+8 <= end; i += 8 {
		left += room.Number(bits.OnesCount64(binary.NativeEndian.Uint64(b.gone[i:])))
	}
	for ; i < end; i++ {
		left += room.Number(bits.OnesCount8(b.gone[i]))
	}
	c.next, c.left = i, left
	if at := int64(n)>>3 - b.from; at < int64(len(b.gone)) {
		left += room.Number(bits.OnesCount8(b.gone[at] & ^(0xFF >> (n & 7))))
	}
	return room.Position(n - b.head - left + 1), true
}
