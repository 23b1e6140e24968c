package gateway

import (
	"errors"
	"math/rand/v2"
	"time"

	"waitroom/internal/conversation"
	"waitroom/internal/limit"
	"waitroom/internal/socket"
	"waitroom/internal/wire"
)

// errRefused is what the log says of a connection that the system refuses to wait for.
var errRefused = errors.New("the system refuses to wait for a connection")

// visitor is one connection: what it says goes to its conversation, what it is told
// to the socket.
type visitor struct {
	gateway *Gateway
	conn    *socket.Conn

	// Owned by the handler's calls, which come one after another.
	talk  conversation.Conversation
	lease limit.Lease
}

// TrySend, Send and Close implement hub.Sink, and with Within conversation.Link.
func (v *visitor) TrySend(text []byte) bool { return v.conn.TrySend(text) }

// Send implements hub.Sink.
func (v *visitor) Send(texts ...[]byte) { v.conn.Send(texts...) }

// Close implements hub.Sink.
func (v *visitor) Close(code wire.Code) { v.conn.Close(wire.Codes[code].Close) }

// Within implements conversation.Link.
func (v *visitor) Within(d time.Duration) { v.conn.Within(d) }

// Message implements socket.Handler.
func (v *visitor) Message(text []byte) { v.talk.Message(v.gateway.ctx, text) }

// Ended implements socket.Handler: what the transport found is told in the words of
// the protocol.
func (v *visitor) Ended(why socket.Why) {
	switch why {
	case socket.Silent, socket.Unfinished:
		v.talk.Expired()
	case socket.Broken, socket.Binary, socket.NotText:
		v.talk.Refuse(wire.BadMessage)
	case socket.TooLong:
		v.talk.Refuse(wire.TooLong)
	case socket.Refused:
		v.gateway.trouble.Note(v.gateway.ctx, errRefused)
	case socket.TooFast:
		v.talk.Refuse(wire.TooFast)
	}
	v.gateway.metrics.ended.WithLabelValues(why.String()).Inc()
	v.talk.End()
}

// Released implements socket.Handler: the address has the connection until its
// descriptor is gone.
func (v *visitor) Released() { v.lease.Release() }

// sendAway says drain and closes.
func (v *visitor) sendAway() {
	v.Send(wire.Encode(wire.DrainMessage{Type: wire.Drain, RetryMS: rand.Int64N(retrySpread * 1000)}))
	v.Close(wire.Draining)
}
