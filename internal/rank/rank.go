// Package rank turns one read of the gone bitmap into exact positions.
//
// A line's invariant: for 1 ≤ n ≤ seq, bit n is 0 exactly when one visitor in
// the queue has number n. So a visitor's position is its number less the set
// bits up to it; nothing else of the line is needed, and one read serves every
// visitor of a node. Redis numbers bits from the most significant bit of a byte
// on: bit n is 0x80>>(n&7) of byte n>>3.
package rank

import (
	"encoding/binary"
	"math/bits"

	"waitroom/internal/room"
)

// Bits is one read: head and seq of the line, and the bitmap from a byte on.
// Bits before the head count as gone, bits after the last byte as not gone,
// since Redis does not store trailing zeros. The zero value is an empty line.
type Bits struct {
	head, seq room.Number
	from      int64 // number of the first bit in gone
	gone      []byte
}

// New returns the Bits of a read; gone begins at byte from of the bitmap, at or
// before the head's byte. It keeps gone, so the caller must not change it.
func New(head, seq room.Number, from int64, gone []byte) *Bits {
	b := &Bits{}
	b.Reset(head, seq, from, gone)
	return b
}

// Reset makes b the Bits of another read, without allocating.
func (b *Bits) Reset(head, seq room.Number, from int64, gone []byte) {
	*b = Bits{head: head, seq: seq, from: from * 8, gone: gone}
}

// Gone reports whether number n has left the line at this read.
func (b *Bits) Gone(n room.Number) bool {
	if n < b.head {
		return true
	}
	i := int64(n) - b.from
	if n > b.seq || i>>3 >= int64(len(b.gone)) {
		return false
	}
	return b.gone[i>>3]&(0x80>>(i&7)) != 0
}

// Position is the rank of number n, from 1; false when n is gone or was given
// after this read.
func (b *Bits) Position(n room.Number) (room.Position, bool) {
	c := b.Cursor()
	return c.Position(n)
}

// Cursor returns a cursor at the head.
func (b *Bits) Cursor() Cursor {
	head := max(int64(b.head)-b.from, 0)
	return Cursor{bits: b, at: head &^ 63, before: -b.zeros(head&^63, head)}
}

// zeros counts the clear bits of [lo, hi) within one word.
func (b *Bits) zeros(lo, hi int64) int64 {
	return hi - lo - int64(bits.OnesCount64(b.word(lo)&^(^uint64(0)>>uint(hi-lo))))
}

// word is the 64 bits from bit i on (a multiple of 64), the first one highest.
func (b *Bits) word(i int64) uint64 {
	i >>= 3
	if i+8 <= int64(len(b.gone)) {
		return binary.BigEndian.Uint64(b.gone[i:])
	}
	var last [8]byte
	if i < int64(len(b.gone)) {
		copy(last[:], b.gone[i:])
	}
	return binary.BigEndian.Uint64(last[:])
}

// Cursor answers positions of ascending numbers: together they cost one walk
// over the bitmap's words. It is a value; it stays valid until its Bits are Reset.
type Cursor struct {
	bits   *Bits
	at     int64 // first bit of the current word, a multiple of 64
	before int64 // visitors waiting before that word
}

// Position is Bits.Position for n not below the n of the call before.
func (c *Cursor) Position(n room.Number) (room.Position, bool) {
	b := c.bits
	if n < b.head || n > b.seq {
		return 0, false
	}
	i := int64(n) - b.from
	for c.at+64 <= i {
		c.before += 64 - int64(bits.OnesCount64(b.word(c.at)))
		c.at += 64
	}
	w := b.word(c.at)
	shift := uint(i - c.at)
	if w<<shift>>63 != 0 {
		return 0, false
	}
	// The bits before n in this word, and n itself, which is clear.
	ones := bits.OnesCount64(w >> (63 - shift))
	return room.Position(c.before + int64(shift) + 1 - int64(ones)), true
}
