package socket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// stream is a connection out of memory: what is read was there from the start,
// and what is written goes nowhere.
type stream struct {
	net.Conn // nil: the library asks for nothing else
	*bytes.Reader
}

// errOver is the end of a stream. It is not io.EOF, which the library takes for
// the end of a message when it comes between two fragments.
var errOver = errors.New("over")

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF {
		err = errOver
	}
	return n, err
}

func (*stream) Write(p []byte) (int, error) { return len(p), nil }
func (*stream) Close() error                { return nil }

type upgraded struct {
	http.ResponseWriter
	stream *stream
}

func (u upgraded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.stream, bufio.NewReadWriter(bufio.NewReader(u.stream), bufio.NewWriterSize(u.stream, 256)), nil
}

// byLibrary is what the library makes of a stream: its texts, and whether it
// found something wrong or was told to close, rather than come to the end.
func byLibrary(t *testing.T, b []byte, limit int) (texts []string, stopped bool) {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(k, v)
	}
	ws, err := websocket.Accept(upgraded{httptest.NewRecorder(), &stream{Reader: bytes.NewReader(b)}}, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(int64(limit))
	for {
		typ, text, err := ws.Read(context.Background())
		switch {
		case errors.Is(err, errOver):
			return texts, false
		case err != nil, typ != websocket.MessageText, !utf8.Valid(text): // the last is not the library's to check
			return texts, true
		}
		texts = append(texts, string(text))
	}
}

// FuzzFrames holds our reading against the library's: the same texts, the same
// verdict, whichever way the stream is cut, within one buffer.
func FuzzFrames(f *testing.F) {
	text := masked(true, opText, []byte("hello"))
	f.Add(text, []byte{1})
	f.Add(join(masked(false, opText, []byte("a")), masked(true, opPing, []byte("p")), masked(true, opMore, []byte("b")), masked(true, opClose, []byte{3, 232})), []byte{3, 200, 7})
	f.Add(join(text, masked(true, opText, make([]byte, 300))), []byte{5})
	f.Add(masked(true, opBinary, []byte("x")), []byte{})
	f.Add([]byte{0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1}, []byte{2})
	f.Fuzz(func(t *testing.T, b, cuts []byte) {
		const limit = 256
		next := 0
		got := outcome(b, limit, func(left int) int {
			if len(cuts) == 0 {
				return left
			}
			next++
			return 1 + int(cuts[next%len(cuts)])
		})
		if uncut := outcome(b, limit, whole); strings.Join(got, "\n") != strings.Join(uncut, "\n") {
			t.Fatalf("cut by %v: got %q, want %q as in one piece", cuts, got, uncut)
		}
		verdict := got[len(got)-1]
		var texts []string
		for _, o := range got {
			if text, is := strings.CutPrefix(o, "text "); is {
				texts = append(texts, text)
			}
		}
		want, stopped := byLibrary(t, b, limit)
		// We are stricter in two things: a length has its shortest form only, and what a
		// head shows to be wrong is wrong before the rest of the frame has come. So the
		// library may go on, or wait, where we stop.
		if strings.HasPrefix(verdict, "wrong: ") {
			if len(texts) > len(want) || strings.Join(texts, "\n") != strings.Join(want[:len(texts)], "\n") {
				t.Fatalf("got texts %q and %s, the library %q", texts, verdict, want)
			}
			if len(want) > len(texts) && !longForm(b) {
				t.Fatalf("got %s after %q, the library goes on with %q", verdict, texts, want[len(texts):])
			}
			return
		}
		if strings.Join(texts, "\n") != strings.Join(want, "\n") || stopped != strings.HasPrefix(verdict, "close") {
			t.Fatalf("got %q and %s, the library %q and stopped %t", texts, verdict, want, stopped)
		}
	})
}

// longForm reports whether a stream has a length that is not in its shortest
// form, walking its heads and nothing else.
func longForm(b []byte) bool {
	for len(b) >= 2 {
		n, head := int(b[1]&0x7F), 2
		switch {
		case n == 126 && len(b) >= 4:
			if n, head = int(b[2])<<8|int(b[3]), 4; n < 126 {
				return true
			}
		case n == 127 && len(b) >= 10:
			return b[2]|b[3]|b[4]|b[5]|b[6]|b[7] == 0
		}
		if head += 4 + n; head > len(b) {
			return false
		}
		b = b[head:]
	}
	return false
}
