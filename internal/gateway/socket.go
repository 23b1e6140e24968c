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

	"waitroom/internal/hub"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

const (
	// firstWithin is how long a connection may stay silent at first.
	firstWithin = 5 * time.Second
	// againWithin is how long one may stay that was refused in a room which this
	// node knows nothing of, so that no beat keeps it: nothing else would ever end
	// it. It is then sent to reconnect.
	againWithin = time.Minute
	// A visitor's messages: so many at once, and so many a second. A person sends
	// three in an hour.
	messageBurst = 10
	messageRate  = 5
	// drainBytes is how much of a broken peer's stream is read away, so that the
	// last words reach it before the connection is reset.
	drainBytes = 64 << 10
)

// inbox lends a buffer while a message is read; a silent connection has none.
var inbox = sync.Pool{New: func() any { b := make([]byte, wire.MaxJoin+1); return &b }}

// socket is one visitor's connection: a hub.Sink, and the goroutine that reads.
type socket struct {
	gateway *Gateway
	ws      *websocket.Conn
	conn    *conn
	room    string
	index   int // in gateway.sockets, guarded by gateway.mu

	// Owned by the reader.
	session *hub.Session
	credit  int32 // messages that may come at once
	at      int64 // when credit was counted, ms
}

// TrySend implements hub.Sink.
func (s *socket) TrySend(text []byte) bool { return s.conn.send(opText, text, false) }

// Send implements hub.Sink.
func (s *socket) Send(text []byte) { s.conn.send(opText, text, true) }

// Close implements hub.Sink.
func (s *socket) Close(code int) { s.conn.shut(code) }

// sendAway says drain and closes.
func (s *socket) sendAway() {
	s.Send(wire.Encode(wire.DrainMessage{Type: wire.Drain, RetryMS: rand.Int64N(retrySpread * 1000)}))
	s.Close(wire.CloseDrain)
}

// run reads until the connection ends.
func (s *socket) run() {
	defer func() {
		if s.session != nil {
			s.session.Detach(s)
		}
		_ = s.ws.CloseNow() // whatever is left to close
	}()
	s.ws.SetReadLimit(-1) // read bounds messages itself, and says why it refuses
	name, err := room.ParseName(s.room)
	if err != nil {
		s.refuse(wire.BadRoom)
		return
	}
	s.within(firstWithin)
	for first := true; ; first = false {
		s.conn.await()
		req, err := s.read()
		if s.conn.isClosing() {
			return
		}
		var bad *wire.DecodeError
		switch {
		case errors.As(err, &bad):
			s.refuse(bad.Code)
			return
		case errors.Is(err, os.ErrDeadlineExceeded) && first:
			s.refuse(wire.NoHello)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.Close(wire.CloseStalled)
			s.discard()
			return
		case err != nil:
			return
		}
		if !s.spend() {
			s.refuse(wire.TooFast)
			return
		}
		code := s.serve(name, req)
		if code != "" {
			s.refuse(code)
			if wire.Codes[code].Close != 0 {
				return
			}
			// It hears how the room stands, after why it was refused.
			switch {
			case req.Type != wire.Join:
			case s.session == nil:
				s.session = s.gateway.hub.Watch(name, s)
			default:
				s.session.Remind()
			}
		}
		if s.session == nil {
			s.within(s.gateway.again)
		} else {
			s.within(0)
		}
	}
}

// within sets the time for the next message; 0: for ever. Once the connection is
// closing, the time left is shut's to say.
func (s *socket) within(d time.Duration) {
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

// read waits for one message. What is wrong with it is a *wire.DecodeError.
func (s *socket) read() (wire.Request, error) {
	typ, r, err := s.ws.Reader(context.Background())
	if err != nil {
		return wire.Request{}, err
	}
	if typ != websocket.MessageText {
		return wire.Request{}, &wire.DecodeError{Code: wire.BadMessage}
	}
	buf := inbox.Get().(*[]byte)
	defer inbox.Put(buf)
	n := 0
	for n <= wire.MaxJoin {
		m, err := r.Read((*buf)[n : wire.MaxJoin+1])
		n += m
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return wire.Request{}, err
		}
	}
	return wire.DecodeRequest((*buf)[:n])
}

// serve does what a message asks and returns what stood in the way, or "".
func (s *socket) serve(name room.Name, req wire.Request) wire.Code {
	g := s.gateway
	if req.Type != wire.Join && (s.session == nil || s.session.Placeless()) {
		return wire.NotJoined
	}
	var err error
	switch req.Type {
	case wire.Claim:
		err = s.session.Claim(g.ctx)
	case wire.Leave:
		err = s.session.Leave(g.ctx)
	case wire.Join:
		err = s.join(name, req.Place)
	}
	if err == nil {
		return ""
	}
	return codeOf(err)
}

// join comes with a place ("": none). A connection that has one already is
// answered as a return to it: a page that asks twice must not lose its turn. What
// was there before stays until the new answer is.
func (s *socket) join(name room.Name, place string) error {
	g, before := s.gateway, s.session
	var now *hub.Session
	var err error
	switch {
	case place != "":
		var p token.Place
		if p, err = g.places.ParsePlace(g.ctx, place, name); err == nil {
			now, err = g.hub.Return(g.ctx, name, p.Epoch, p.Place, s)
		}
	case before != nil && !before.Over():
		now, err = before.Again(g.ctx, s)
	default:
		now, err = g.hub.Join(g.ctx, name, s)
		if errors.Is(err, room.ErrEpoch) {
			err = room.ErrAway // the line was made anew meanwhile: no fault of the visitor
		}
	}
	if err != nil {
		return err
	}
	if before != nil && before != now {
		before.Detach(s)
	}
	s.session = now
	return nil
}

// codeOf adds to the table what wire does not know: errors of tokens and of the
// sweep.
func codeOf(err error) wire.Code {
	switch {
	case errors.Is(err, token.ErrMalformed):
		return wire.PlaceBad
	case errors.Is(err, token.ErrForeign), errors.Is(err, token.ErrExpired):
		return wire.PlaceForeign
	case errors.Is(err, token.ErrOtherRoom):
		return wire.PlaceRoom
	case errors.Is(err, token.ErrKeysAway):
		return wire.Stalled
	case errors.Is(err, hub.ErrOverloaded):
		return wire.Overloaded
	}
	return wire.CodeOf(err)
}

// refuse tells why, and closes where the table says so.
func (s *socket) refuse(code wire.Code) {
	s.gateway.metrics.errors.WithLabelValues(string(code)).Inc()
	s.Send(wire.EncodeError(code))
	if c := wire.Codes[code].Close; c != 0 {
		s.Close(c)
		s.discard()
	}
}

// discard reads away what a peer still sends, until it ends, the grace is over,
// or it has sent too much: closing on unread bytes would reset the connection and
// take our last words with it.
func (s *socket) discard() {
	_, _ = io.CopyN(io.Discard, s.conn, drainBytes)
}

// spend takes one message from the allowance.
func (s *socket) spend() bool {
	now := time.Now().UnixMilli()
	if gained := (now - s.at) * messageRate / 1000; gained > 0 || s.at == 0 {
		s.credit = int32(min(messageBurst, int64(s.credit)+gained))
		s.at = now
	}
	if s.credit == 0 {
		return false
	}
	s.credit--
	return true
}
