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

// Cursor counts through the words of the window once, for numbers in ascending
// order. The zero Cursor is not usable.
type Cursor struct {
	bits *Bits
	at   int64       // which word is held, from the window's start
	word uint64      // its bits, the least number highest; those before the head are 0
	left room.Number // gone numbers before the word, from the head on
}

// Cursor returns one that stands at the head.
func (b *Bits) Cursor() Cursor {
	c := Cursor{bits: b}
	if r := int64(b.head) - b.from*8; r > 0 {
		c.at = r >> 6
		c.word = b.load(c.at) & (^uint64(0) >> (r & 63))
	} else {
		c.word = b.load(0)
	}
	return c
}

// Position is Bits.Position, amortised over the words between two calls. For a
// number below the held word it starts again at the head.
func (c *Cursor) Position(n room.Number) (room.Position, bool) {
	b := c.bits
	if n > b.seq || n < b.head {
		return 0, false
	}
	r := int64(n) - b.from*8
	if r>>6 != c.at {
		c.move(r >> 6)
	}
	in := uint64(r) & 63
	if c.word<<in>>63 != 0 {
		return 0, false
	}
	left := c.left + room.Number(bits.OnesCount64(c.word&^(^uint64(0)>>in)))
	return room.Position(n - b.head - left + 1), true
}

// move makes word `to` the held one.
func (c *Cursor) move(to int64) {
	if to < c.at {
		*c = c.bits.Cursor()
	}
	for c.at < to {
		c.left += room.Number(bits.OnesCount64(c.word))
		c.at++
		if c.at*8 >= int64(len(c.bits.gone)) { // nobody left behind the window
			c.at, c.word = to, 0
			return
		}
		c.word = c.bits.load(c.at)
	}
}

// load is word i of the window; what is behind its end is 0.
func (b *Bits) load(i int64) uint64 {
	if rest := int64(len(b.gone)) - i*8; rest >= 8 {
		return binary.BigEndian.Uint64(b.gone[i*8:])
	} else if rest <= 0 {
		return 0
	}
	var word [8]byte
	copy(word[:], b.gone[i*8:])
	return binary.BigEndian.Uint64(word[:])
}
