package gateway

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"waitroom/internal/conversation"
	"waitroom/internal/wire"
)

// drainBytes is how much of a broken peer's stream is read away, so that the last
// words reach it before the connection is reset.
const drainBytes = 64 << 10

// inbox lends a buffer while a message is read; a silent connection has none.
var inbox = sync.Pool{New: func() any { b := make([]byte, wire.MaxJoin+1); return &b }}

// socket is one visitor's connection: the link of a conversation, and the goroutine
// that reads.
type socket struct {
	gateway *Gateway
	ws      *websocket.Conn
	conn    *conn
	room    string
	index   int // in gateway.sockets, guarded by gateway.mu

	talk conversation.Conversation // owned by the reader
}

// TrySend implements hub.Sink.
func (s *socket) TrySend(text []byte) bool { return s.conn.send(opText, text, false) }

// Send implements hub.Sink.
func (s *socket) Send(text []byte) { s.conn.send(opText, text, true) }

// Close implements hub.Sink.
func (s *socket) Close(code wire.Code) { s.conn.shut(wire.Codes[code].Close) }

// Within implements conversation.Link. Once the connection is closing, the time left
// is shut's to say.
func (s *socket) Within(d time.Duration) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.conn.closing {
		return
	}
	at := time.Time{}
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = s.conn.SetReadDeadline(at) // fails on a closed connection only, which the next read tells
}

// sendAway says drain and closes.
func (s *socket) sendAway() {
	s.Send(wire.Encode(wire.DrainMessage{Type: wire.Drain, RetryMS: rand.Int64N(retrySpread * 1000)}))
	s.Close(wire.Draining)
}

// run reads until the connection ends.
func (s *socket) run() {
	s.ws.SetReadLimit(-1) // read bounds messages itself, and says why it refuses
	s.talk = s.gateway.desk.Begin(s.room, s)
	defer func() {
		s.talk.End()
		_ = s.ws.CloseNow() // whatever is left to close
	}()
	for !s.talk.Done() {
		s.conn.await()
		typ, text, done, err := s.read()
		if s.conn.isClosing() {
			return
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.talk.Expired()
		case err != nil:
			return
		case typ != websocket.MessageText:
			s.talk.Refuse(wire.BadMessage)
		default:
			s.talk.Message(s.gateway.ctx, text)
		}
		done()
	}
	s.discard()
}

// read waits for one message. Its text is valid until done is called; of one that is
// too long it is one byte more than may be.
func (s *socket) read() (typ websocket.MessageType, text []byte, done func(), err error) {
	done = func() {}
	typ, r, err := s.ws.Reader(context.Background())
	if err != nil || typ != websocket.MessageText {
		return typ, nil, done, err
	}
	buf := inbox.Get().(*[]byte)
	done = func() { inbox.Put(buf) }
	n := 0
	for n <= wire.MaxJoin {
		m, err := r.Read((*buf)[n : wire.MaxJoin+1])
		n += m
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return typ, nil, done, err
		}
	}
	return typ, (*buf)[:n], done, nil
}

// discard reads away what a peer still sends, until it ends, the grace is over,
// or it has sent too much: closing on unread bytes would reset the connection and
// take our last words with it.
func (s *socket) discard() {
	_, _ = io.CopyN(io.Discard, s.conn, drainBytes)
}
