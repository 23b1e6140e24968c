package socket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// masked is one frame of a client.
func masked(final bool, op byte, payload []byte) []byte {
	b := []byte{op}
	if final {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key[:]...)
	for i, p := range payload {
		b = append(b, p^key[i%4])
	}
	return b
}

// outcome is what a stream means: each text, ping and pong, and what ended it.
func outcome(stream []byte, limit int, cut func(left int) int) (out []string) {
	in := &inbox{buf: make([]byte, roomFor(limit))}
	for {
		f, ok, wrong := in.next(limit)
		switch {
		case wrong != 0:
			return append(out, "wrong: "+wrong.String())
		case ok && f.op == opClose:
			return append(out, fmt.Sprintf("close %x", f.payload))
		case ok && f.op == opText && f.final:
			out = append(out, "text "+string(f.payload))
		case ok && f.op != opText:
			out = append(out, fmt.Sprintf("control %d %x", f.op, f.payload))
		case ok:
		case len(stream) == 0:
			return append(out, fmt.Sprintf("unfinished %t", in.unfinished()))
		default:
			n := copy(in.free(), stream[:min(cut(len(stream)), len(stream))])
			if n == 0 {
				panic("no room")
			}
			in.end += n
			stream = stream[n:]
		}
	}
}

func whole(left int) int { return left }

func TestFrames(t *testing.T) {
	const limit = 300
	text := func(s string) []byte { return masked(true, opText, []byte(s)) }
	long := strings.Repeat("x", limit)
	unmasked := []byte{0x81, 0x02, 'h', 'i'}
	with := func(b []byte, i int, bits byte) []byte { b[i] |= bits; return b }
	closing := func(code int, reason string) []byte {
		return masked(true, opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
	}
	headOf := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x81, 0x80 | 127}, n) }
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"nothing", nil, "unfinished false"},
		{"a text", text("hi"), "text hi, unfinished false"},
		{"an empty text", text(""), "text , unfinished false"},
		{"two texts", append(text("one"), text("two")...), "text one, text two, unfinished false"},
		{"126 bytes", text(long[:126]), "text " + long[:126] + ", unfinished false"},
		{"the longest", text(long), "text " + long + ", unfinished false"},
		{"half a text", text("hi")[:7], "unfinished true"},
		{"half a head", text("hi")[:1], "unfinished true"},
		{"three fragments and a ping", join(masked(false, opText, []byte("a")), masked(false, opMore, nil), masked(true, opPing, []byte("p")), masked(true, opMore, []byte("b")), text("c")),
			"control 9 70, text ab, text c, unfinished false"},
		{"a character torn between fragments", join(masked(false, opText, []byte("\xc3")), masked(true, opMore, []byte("\xa9"))), "text é, unfinished false"},
		{"a fragment that nothing follows", masked(false, opText, []byte("a")), "unfinished true"},
		{"fragments of the greatest length", join(masked(false, opText, []byte(long[:200])), masked(true, opMore, []byte(long[200:]))), "text " + long + ", unfinished false"},
		{"the longest pong", masked(true, opPong, []byte(long[:125])), fmt.Sprintf("control 10 %x, unfinished false", long[:125])},
		{"close", masked(true, opClose, nil), "close "},
		{"close with a code", append(closing(1000, "bye"), text("late")...), "close 03e8627965"},
		{"close of the application", closing(4000, ""), "close 0fa0"},

		{"too long", text(long + "x"), "wrong: too_long"},
		{"too long by its head", headOf(1 << 30), "wrong: too_long"},
		{"longer than a number", headOf(1<<63 - 1), "wrong: too_long"},
		{"a negative length", headOf(1 << 63), "wrong: broken"},
		{"too long in fragments", join(masked(false, opText, []byte(long)), masked(true, opMore, []byte("x"))), "wrong: too_long"},
		{"a length of two bytes for a short one", []byte{0x81, 0x80 | 126, 0, 125}, "wrong: broken"},
		{"a length of eight bytes for a short one", headOf(65535), "wrong: broken"},
		{"no mask", unmasked, "wrong: broken"},
		{"no mask on a ping", []byte{0x89, 0}, "wrong: broken"},
		{"RSV1", with(text("hi"), 0, 0x40), "wrong: broken"},
		{"RSV2", with(text("hi"), 0, 0x20), "wrong: broken"},
		{"RSV3 on a ping", with(masked(true, opPing, nil), 0, 0x10), "wrong: broken"},
		{"opcode 3", masked(true, 3, nil), "wrong: broken"},
		{"opcode 7", masked(true, 7, nil), "wrong: broken"},
		{"opcode 11", masked(true, 11, nil), "wrong: broken"},
		{"opcode 15", masked(true, 15, nil), "wrong: broken"},
		{"binary", masked(true, opBinary, []byte("hi")), "wrong: binary"},
		{"binary in a text", join(masked(false, opText, nil), masked(true, opBinary, nil)), "wrong: broken"},
		{"a text in a text", join(masked(false, opText, []byte("a")), text("b")), "wrong: broken"},
		{"nothing to go on with", masked(true, opMore, []byte("a")), "wrong: broken"},
		{"nothing to go on with, after a text", append(text("a"), masked(true, opMore, []byte("a"))...), "text a, wrong: broken"},
		{"a ping in fragments", masked(false, opPing, nil), "wrong: broken"},
		{"a ping of 126 bytes", masked(true, opPing, []byte(long[:126])), "wrong: broken"},
		{"not UTF-8", text("\xff"), "wrong: not_text"},
		{"half a character", text("\xc3"), "wrong: not_text"},
		{"a surrogate", text("\xed\xa0\x80"), "wrong: not_text"},
		{"not UTF-8 in fragments", join(masked(false, opText, []byte("a")), masked(true, opMore, []byte("\xff"))), "wrong: not_text"},
		{"close of one byte", masked(true, opClose, []byte{3}), "wrong: broken"},
		{"close 999", closing(999, ""), "wrong: broken"},
		{"close 1004", closing(1004, ""), "wrong: broken"},
		{"close 1005", closing(1005, ""), "wrong: broken"},
		{"close 1006", closing(1006, ""), "wrong: broken"},
		{"close 1015", closing(1015, ""), "wrong: broken"},
		{"close 2999", closing(2999, ""), "wrong: broken"},
		{"close 5000", closing(5000, ""), "wrong: broken"},
		{"close with a reason that is no text", closing(1000, "\xff"), "wrong: not_text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(outcome(c.stream, limit, whole), ", "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			// Torn in two anywhere, and into single bytes, it means the same.
			for at := 1; at < len(c.stream); at++ {
				first := at
				cut := func(left int) int { n := first; first = left; return n }
				if got := strings.Join(outcome(c.stream, limit, cut), ", "); got != c.want {
					t.Errorf("torn at %d: got %s, want %s", at, got, c.want)
				}
			}
			if got := strings.Join(outcome(c.stream, limit, func(int) int { return 1 }), ", "); got != c.want {
				t.Errorf("byte by byte: got %s, want %s", got, c.want)
			}
		})
	}
}

// join puts frames behind each other.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestUnmask(t *testing.T) {
	for n := range 40 {
		want := bytes.Repeat([]byte("abcdefghij"), 4)[:n]
		frame := masked(true, opText, want)
		p := frame[6:]
		unmask(p, [4]byte(frame[2:6]))
		if !bytes.Equal(p, want) {
			t.Errorf("%d bytes: got %q, want %q", n, p, want)
		}
	}
}

func TestAppendHead(t *testing.T) {
	for n, want := range map[int][]byte{0: {0x81, 0}, 125: {0x81, 125}, 126: {0x81, 126, 0, 126}, 65535: {0x81, 126, 255, 255}} {
		if got := appendHead(nil, opText, n); !bytes.Equal(got, want) {
			t.Errorf("%d: got %x, want %x", n, got, want)
		}
	}
}
