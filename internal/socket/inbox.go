package socket

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcodes (RFC 6455, 5.2).
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

const (
	// maxControl is the longest payload of a control frame (RFC 6455, 5.5).
	maxControl = 125
	// maxHead is the longest head of a frame: 2 bytes, 8 of length, 4 of mask.
	maxHead = 14
)

// inbox is what a peer has sent and what is not dealt with yet: the text of the
// message under way, and behind it raw bytes, of which the last may be part of a
// frame. A connection has one only while there is something in it or its worker
// runs. It makes no call and knows no time.
//
//	buf: | text so far | … | raw: at … end | free |
type inbox struct {
	buf  []byte
	text int  // bytes of text so far
	more bool // a message of several frames is under way
	at   int  // the raw bytes begin here
	end  int  // and end here
}

// roomFor is the size of a buffer in which a message of limit bytes fits, at any
// moment with a whole control frame or a head behind it, and whatever the HTTP
// server had read ahead (4,096 bytes, the size of its reader).
func roomFor(limit int) int { return max(limit, 4096) + maxHead + maxControl + maxHead }

// free makes room behind the raw bytes and returns it. It is never empty, because
// next leaves less than one frame that fits.
func (in *inbox) free() []byte {
	if in.at > in.text {
		in.end = in.text + copy(in.buf[in.text:], in.buf[in.at:in.end])
		in.at = in.text
	}
	return in.buf[in.end:]
}

// clear forgets everything.
func (in *inbox) clear() { in.text, in.more, in.at, in.end = 0, false, 0, 0 }

// unfinished reports that something is begun and not whole.
func (in *inbox) unfinished() bool { return in.more || in.at < in.end }

// frame is one frame that came, unmasked. Its payload lies in the inbox and is
// valid until the next call of free or next. For a text it is the whole message.
type frame struct {
	op      byte
	final   bool // of a text: the message is whole
	payload []byte
	size    int // bytes on the wire
}

// next takes one whole frame. ok is false if there is none yet. A reason other
// than zero says what is wrong; nothing may be taken after it. A message may have
// limit bytes.
//
// What is wrong is found in the first bytes that show it, whichever way the
// stream was cut.
func (in *inbox) next(limit int) (f frame, ok bool, wrong Why) {
	raw := in.buf[in.at:in.end]
	if len(raw) < 2 {
		return f, false, 0
	}
	op, final := raw[0]&0x0F, raw[0]&0x80 != 0
	n := int(raw[1] & 0x7F)
	switch {
	case raw[0]&0x70 != 0, raw[1]&0x80 == 0: // no extension was agreed on (5.2); a client masks (5.1)
		return f, false, Broken
	case op == opClose || op == opPing || op == opPong:
		if !final || n > maxControl {
			return f, false, Broken
		}
	case op == opMore && in.more, op == opText && !in.more:
	case op == opBinary && !in.more:
		return f, false, Binary
	default:
		return f, false, Broken
	}
	head := 2
	switch n {
	case 126:
		if head = 4; len(raw) < head {
			return f, false, 0
		}
		if n = int(binary.BigEndian.Uint16(raw[2:])); n < 126 {
			return f, false, Broken // a length has one form only (5.2)
		}
	case 127:
		if head = 10; len(raw) < head {
			return f, false, 0
		}
		long := binary.BigEndian.Uint64(raw[2:])
		if long>>63 != 0 || long < 1<<16 {
			return f, false, Broken
		}
		if n = limit + 1; long <= uint64(limit) {
			n = int(long)
		}
	}
	control := op >= opClose
	if !control && in.text+n > limit {
		return f, false, TooLong
	}
	if len(raw) < head+4+n {
		return f, false, 0
	}
	payload := raw[head+4 : head+4+n]
	unmask(payload, [4]byte(raw[head:head+4]))
	in.at += head + 4 + n
	f = frame{op: op, final: final, payload: payload, size: head + 4 + n}
	if control {
		if op == opClose {
			wrong = wrongClose(payload)
		}
		return f, wrong == 0, wrong
	}
	f.op = opText
	in.text += copy(in.buf[in.text:], payload)
	in.more = !final
	f.payload = in.buf[:in.text]
	if final {
		in.text = 0
		if !utf8.Valid(f.payload) {
			return f, false, NotText
		}
	}
	return f, true, 0
}

// unmask takes the mask away, eight bytes at a time (RFC 6455, 5.3).
func unmask(p []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	for k |= k << 32; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
	}
	for i := range p {
		p[i] ^= key[i&3]
	}
}

// closeCode is the code in the payload of a close frame; 0: none.
func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(payload))
}

// wrongClose says what is wrong with the payload of a close frame (RFC 6455,
// 5.5.1 and 7.4).
func wrongClose(payload []byte) Why {
	if len(payload) == 0 {
		return 0
	}
	code := closeCode(payload)
	switch {
	case len(payload) == 1, code < 1000, code > 4999,
		code == 1004, code == 1005, code == 1006, // kept for a local use
		code > 1014 && code < 3000: // not given out
		return Broken
	case !utf8.Valid(payload[2:]):
		return NotText
	}
	return 0
}

// appendHead writes the head of an unmasked final frame (RFC 6455, 5.2) of at
// most 64 KiB, which is far above what is kept for one connection.
func appendHead(b []byte, op byte, n int) []byte {
	if n < 126 {
		return append(b, 0x80|op, byte(n))
	}
	b = append(b, 0x80|op, 126)
	return binary.BigEndian.AppendUint16(b, uint16(n))
}
