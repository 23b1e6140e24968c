// Package wire holds the words on the wire: the visitor's messages of
// subprotocol waitroom.v1, the one table of error codes, and problem+json.
// PROTOCOL.md is the reference; testdata holds golden JSON that the server's and
// the page's tests both read.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"waitroom/internal/room"
)

// Subprotocol is offered and accepted in the WebSocket handshake.
const Subprotocol = "waitroom.v1"

// placeOffer begins the second subprotocol that a visitor may offer: its place
// follows. The server never selects it.
const placeOffer = "place."

// OfferPlace is the subprotocol by which a place is offered.
func OfferPlace(place string) string { return placeOffer + place }

// OfferedPlace returns the place that a handshake offers beside Subprotocol, or "".
// It is what somebody wrote: as long as the headers may be, and not verified.
func OfferedPlace(h http.Header) string {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for one := range strings.SplitSeq(line, ",") {
			if place, ok := strings.CutPrefix(strings.Trim(one, " \t"), placeOffer); ok {
				return place
			}
		}
	}
	return ""
}

// Bounds of a visitor's messages, in bytes.
const (
	MaxJoin  = 4096 // a join with its place
	MaxOther = 256
)

// Type of a message.
type Type string

// Messages of the visitor, then of the server.
const (
	Join  Type = "join"
	Claim Type = "claim"
	Leave Type = "leave"

	Joined   Type = "joined"
	Position Type = "position"
	Admitted Type = "admitted"
	Missed   Type = "missed"
	Spent    Type = "spent"
	Pass     Type = "pass"
	Room     Type = "room"
	Left     Type = "left"
	Drain    Type = "drain"
	Error    Type = "error"
)

// Request is a message of the visitor.
type Request struct {
	Type     Type   `json:"type"`
	Place    string `json:"place,omitempty"`
	Identity string `json:"identity,omitempty"`
}

// DecodeError is a request that cannot be served, with its code.
type DecodeError struct {
	Code  Code
	cause error
}

func (e *DecodeError) Error() string { return string(e.Code) + ": " + e.cause.Error() }
func (e *DecodeError) Unwrap() error { return e.cause }

// DecodeRequest reads one message. Unknown fields are ignored, unknown types
// refused; every error is a *DecodeError.
func DecodeRequest(b []byte) (Request, error) {
	size := len(b)
	if size > MaxJoin {
		return Request{}, &DecodeError{TooLong, fmt.Errorf("%d bytes, at most %d", size, MaxJoin)}
	}
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return Request{}, &DecodeError{BadMessage, errors.New("want a JSON object")}
	}
	var r Request
	if err := json.Unmarshal(b, &r); err != nil {
		return Request{}, &DecodeError{BadMessage, err}
	}
	switch r.Type {
	case Join:
		if r.Identity != "" {
			return Request{}, &DecodeError{Unsupported, errors.New("identity")}
		}
	case Claim, Leave:
		if size > MaxOther {
			return Request{}, &DecodeError{TooLong, fmt.Errorf("%d bytes, at most %d for %s", size, MaxOther, r.Type)}
		}
	default:
		return Request{}, &DecodeError{UnknownType, fmt.Errorf("type %q", string(r.Type))}
	}
	return r, nil
}

// ETA is an estimated wait as a range of whole seconds.
type ETA struct {
	LowS  int64 `json:"low_s"`
	HighS int64 `json:"high_s"`
}

// The server's messages. Durations are what is left, in ms, never wall times.
type (
	JoinedMessage struct {
		Type   Type        `json:"type"`
		Place  string      `json:"place"`
		Number room.Number `json:"number"` // for tools; a page never shows it
		Epoch  room.Epoch  `json:"epoch"`
		BeatMS int64       `json:"beat_ms"` // the longest silence of this server, until a later frame says otherwise
	}
	PositionMessage struct {
		Type     Type          `json:"type"`
		Position room.Position `json:"position"`
		Waiting  int64         `json:"waiting"`
		ETA      *ETA          `json:"eta"`
	}
	AdmittedMessage struct {
		Type    Type  `json:"type"`
		ClaimMS int64 `json:"claim_ms"`
	}
	SpentMessage struct {
		Type   Type        `json:"type"`
		Reason SpentReason `json:"reason,omitempty"`
	}
	PassMessage struct {
		Type      Type   `json:"type"`
		Pass      string `json:"pass"`
		ExpiresMS int64  `json:"expires_ms"`
		URL       string `json:"url"`
	}
	RoomMessage struct {
		Type    Type       `json:"type"`
		State   room.Shown `json:"state"`
		Notice  string     `json:"notice,omitempty"`
		OpensMS *int64     `json:"opens_ms,omitempty"`
		BeatMS  int64      `json:"beat_ms,omitempty"` // as in joined; who has no place hears no other
	}
	DrainMessage struct {
		Type    Type  `json:"type"`
		RetryMS int64 `json:"retry_ms"`
	}
	ErrorMessage struct {
		Type    Type   `json:"type"`
		Code    Code   `json:"code"`
		Message string `json:"message"`
		RetryMS int64  `json:"retry_ms,omitempty"` // not again before it
	}
	PlainMessage struct {
		Type Type `json:"type"`
	}
)

// SpentReason says why a place is spent; "" for what needs no telling: it was used, left
// or ended.
type SpentReason string

// ReasonAway is of a place that was given up: no node saw its visitor for the room's
// grace.
const ReasonAway SpentReason = "away"

// Encode marshals any message but position; AppendPosition is for that.
func Encode(m any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		panic(fmt.Sprintf("wire: %T cannot fail to encode: %v", m, err)) // only strings and integers in there
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// EncodeError is the `error` message of a code.
func EncodeError(c Code) []byte {
	return EncodeErrorRetry(c, 0)
}

// EncodeErrorRetry is EncodeError with the time before which the same thing will be
// refused again; 0: not known.
func EncodeErrorRetry(c Code, retry time.Duration) []byte {
	ms := (retry + time.Millisecond - 1).Milliseconds() // who comes a moment early is refused again
	return Encode(ErrorMessage{Error, c, Codes[c].Text, ms})
}

// AppendJoined appends a joined message to dst: the same bytes as Encode, for a place
// and an epoch of ours, which have no character that JSON would escape. A crowd that
// arrives at once is joins.
func AppendJoined(dst []byte, m JoinedMessage) []byte {
	dst = append(dst, `{"type":"joined","place":"`...)
	dst = append(dst, m.Place...)
	dst = append(dst, `","number":`...)
	dst = strconv.AppendInt(dst, int64(m.Number), 10)
	dst = append(dst, `,"epoch":"`...)
	dst = append(dst, m.Epoch...)
	dst = append(dst, `","beat_ms":`...)
	dst = strconv.AppendInt(dst, m.BeatMS, 10)
	return append(dst, '}')
}

// AppendPosition appends a position message to dst: the same bytes as Encode of
// a PositionMessage, without allocating. A nil-like eta is low < 0.
func AppendPosition(dst []byte, p room.Position, waiting, lowS, highS int64) []byte {
	dst = append(dst, `{"type":"position","position":`...)
	dst = strconv.AppendInt(dst, int64(p), 10)
	dst = append(dst, `,"waiting":`...)
	dst = strconv.AppendInt(dst, waiting, 10)
	if lowS < 0 {
		return append(dst, `,"eta":null}`...)
	}
	dst = append(dst, `,"eta":{"low_s":`...)
	dst = strconv.AppendInt(dst, lowS, 10)
	dst = append(dst, `,"high_s":`...)
	dst = strconv.AppendInt(dst, highS, 10)
	return append(dst, `}}`...)
}
