package bot

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// handshake bounds a dial and one write: beyond it the node is taken for lost.
const handshake = 10 * time.Second

// mostRetryAfter bounds what a node may ask for; more is taken for a mistake.
const mostRetryAfter = time.Minute

// queue is the time in the line, over as many connections as it takes, until the
// pass is in hand (end is "") or the visit ends. Somebody who waits tries to come
// back for as long as ctx lasts.
func (v *visitor) queue(ctx context.Context) (wire.PassMessage, End, error) {
	for {
		conn, wait, err := v.dial(ctx)
		if err != nil {
			return wire.PassMessage{}, Failed, err
		}
		if conn != nil {
			c := v.converse(ctx, conn)
			if c.end != "" || c.pass.Pass != "" {
				return c.pass, c.end, c.err
			}
			if ctx.Err() == nil {
				v.out.Reconnects++
				v.log("connection gone: %v", c.err)
			}
			wait = c.wait
		}
		if !sleep(ctx, wait) {
			return wire.PassMessage{}, Stopped, ctx.Err()
		}
	}
}

// dial tries the node whose turn it is. Without a connection it returns how long
// to wait before the next one is tried, or an error when trying is of no use.
func (v *visitor) dial(ctx context.Context) (*websocket.Conn, time.Duration, error) {
	limit, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	v.out.Dials++
	base := v.config.Nodes[v.node%len(v.config.Nodes)]
	protocols := []string{wire.Subprotocol}
	if v.place != "" { // then no limit of its address refuses it
		protocols = append(protocols, wire.OfferPlace(v.place))
	}
	conn, answer, err := websocket.Dial(limit, strings.TrimSuffix(base, "/")+"/rooms/"+string(v.config.Room)+"/ws",
		&websocket.DialOptions{HTTPClient: v.http, Subprotocols: protocols})
	if err == nil {
		if got := conn.Subprotocol(); got != wire.Subprotocol {
			conn.CloseNow()
			return nil, 0, fmt.Errorf("%s: subprotocol %q, want %q", base, got, wire.Subprotocol)
		}
		return conn, 0, nil
	}
	v.node++
	wait := v.backoff()
	if answer != nil {
		// A failed handshake. 4xx says that another try has the same answer;
		// anything else is a proxy's or a node's trouble.
		if answer.StatusCode >= 400 && answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests {
			return nil, 0, fmt.Errorf("%s: handshake answered %d", base, answer.StatusCode)
		}
		wait += retryAfter(answer.Header)
	}
	if ctx.Err() == nil {
		v.log("%s: %v", base, err)
	}
	return nil, wait, nil
}

func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return min(mostRetryAfter, time.Duration(s)*time.Second)
}

// joined notes a place: a new one, or the one that was presented.
func (v *visitor) joined(m wire.JoinedMessage) {
	visitor := visitorOf(m.Place)
	v.attempt = 0
	if v.place != "" && len(v.out.Stays) > 0 {
		if s := v.stay(); s.Number != m.Number || s.Epoch != m.Epoch || s.Visitor != visitor {
			s.Moves++
		}
		v.place = m.Place
		return
	}
	now := time.Now()
	v.place = m.Place
	v.out.Stays = append(v.out.Stays, Stay{Visitor: visitor, Number: m.Number, Epoch: m.Epoch, Joined: now})
	v.leaveAt, v.dropAt, v.leaving = time.Time{}, time.Time{}, false
	if v.chance(v.config.Plan.Leave) {
		v.leaveAt = now.Add(v.within(v.config.Plan.LeaveIn))
	}
	if v.chance(v.config.Plan.Drop) {
		v.dropAt = now.Add(v.within(v.config.Plan.DropIn))
	}
	v.missClaim = v.chance(v.config.Plan.MissClaim)
	v.log("joined")
}

// visitorOf reads the visitor out of a place without proving it: a tool may
// look, only a node has to verify.
func visitorOf(place string) room.VisitorID {
	var claims struct {
		Visitor string `json:"visitor"`
	}
	if payload(place, &claims) != nil {
		return ""
	}
	id, err := room.ParseVisitorID(claims.Visitor)
	if err != nil {
		return ""
	}
	return id
}

// admissionOf reads the admission id out of a pass, likewise.
func admissionOf(pass string) string {
	var claims struct {
		ID string `json:"jti"`
	}
	if payload(pass, &claims) != nil {
		return ""
	}
	return claims.ID
}

// payload decodes the middle part of a JWT (RFC 7519, section 3).
func payload(token string, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("not three parts")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}
