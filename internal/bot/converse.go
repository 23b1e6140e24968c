package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// How long a node may say nothing to somebody who expects a word, as in the page:
// after that the network is gone. A node that has named its beat says something
// twice within it, and then there are 2 s for the way.
const (
	silence   = 45 * time.Second // no beat was named
	beatGrace = 2 * time.Second
)

// A refused claim is made again after a random part of this, doubling, as PROTOCOL.md
// has it: its time runs, and those who claim at once are few.
const (
	claimFirst = time.Second
	claimMost  = 5 * time.Second
	// claimLeast bounds what a time that runs out makes of it: a line that recovers puts
	// claims off, so who has no time left by the last word goes on asking.
	claimLeast = 250 * time.Millisecond
)

// phase is where the visitor is, as far as this connection knows.
type phase int

const (
	joining phase = iota
	waiting
	turn     // admitted, thinking
	missing  // admitted, and will not claim
	claiming // the claim is on its way
	leaving  // the leave is on its way
)

// conversation is one connection. It ends with a pass, with an end, or with
// neither: then the connection is gone and another one is due after wait.
type conversation struct {
	v    *visitor
	conn *websocket.Conn

	phase    phase
	position room.Position // last heard on this connection, 0: none
	closed   bool          // the room is: over for those who wait
	told     wire.Code     // the last error
	silence  time.Duration // allowed, by the beat that was named last
	refusals int           // of the last step, in a row
	lapses   time.Time     // when the claim's time is over, as last told

	// moments of the next steps; zero: none
	silentAt, claimAt, againAt, drainAt time.Time

	// results
	over bool
	pass wire.PassMessage
	end  End
	err  error
	wait time.Duration
}

type frame struct {
	data []byte
	err  error
}

// converse talks until the conversation is over, and closes the connection.
func (v *visitor) converse(ctx context.Context, conn *websocket.Conn) *conversation {
	// An unanswered join is a lost connection sooner than a silence later on.
	c := &conversation{v: v, conn: conn, silence: silence, silentAt: time.Now().Add(handshake)}
	// The reader ends when the connection is closed or reading is cancelled, both
	// of which happen below; it is waited for.
	reading, stop := context.WithCancel(ctx)
	frames, done := make(chan frame), make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, data, err := conn.Read(reading)
			select {
			case frames <- frame{data, err}:
			case <-reading.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		if c.end != "" || c.pass.Pass != "" {
			_ = conn.Close(websocket.StatusNormalClosure, "") // it may be gone already
		}
		stop()
		conn.CloseNow()
		<-done
	}()

	c.send(ctx, wire.Request{Type: wire.Join, Place: v.place})
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !c.over {
		timer.Reset(time.Until(c.next()))
		select {
		case <-ctx.Done():
			c.finish(Stopped, ctx.Err())
		case f := <-frames:
			if f.err != nil {
				c.lost(f.err)
				break
			}
			c.hear(ctx, f.data)
			c.silentAt = time.Now().Add(c.silence)
		case <-timer.C:
			c.act(ctx, time.Now())
		}
	}
	return c
}

// next is the moment of the next step.
func (c *conversation) next() time.Time {
	at := c.silentAt
	for _, t := range []time.Time{c.claimAt, c.againAt, c.drainAt, c.v.leaveAt, c.v.dropAt} {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

// act does what is due. A step that fits no more, such as leaving when inside,
// is forgotten.
func (c *conversation) act(ctx context.Context, now time.Time) {
	v := c.v
	due := func(at *time.Time) bool {
		if at.IsZero() || now.Before(*at) {
			return false
		}
		*at = time.Time{}
		return true
	}
	switch {
	case due(&c.claimAt):
		if c.phase == turn {
			c.phase, c.refusals = claiming, 0
			c.send(ctx, wire.Request{Type: wire.Claim})
		}
	case due(&c.againAt):
		switch c.phase {
		case joining:
			c.send(ctx, wire.Request{Type: wire.Join, Place: v.place})
		case claiming:
			c.send(ctx, wire.Request{Type: wire.Claim})
		case leaving:
			c.send(ctx, wire.Request{Type: wire.Leave})
		}
	case due(&v.leaveAt):
		if c.phase == waiting || c.phase == turn {
			c.leave(ctx)
		} else if c.phase == joining {
			v.leaveAt = now.Add(time.Second) // not back in the line yet
		}
	case due(&v.dropAt):
		if c.phase == waiting || c.phase == turn {
			c.reconnect(v.within(v.config.Plan.Away), errors.New("dropped, as planned"))
		}
	case due(&c.drainAt):
		v.node++
		c.reconnect(0, errors.New("drained"))
	case due(&c.silentAt):
		if c.phase == turn || c.phase == missing { // nothing has to be said to them
			c.silentAt = now.Add(c.silence)
			return
		}
		v.node++
		c.reconnect(v.backoff(), errors.New("silent for too long"))
	}
}

func (c *conversation) leave(ctx context.Context) {
	c.phase, c.v.leaving = leaving, true
	c.v.log("leaves")
	c.send(ctx, wire.Request{Type: wire.Leave})
}

func (c *conversation) send(ctx context.Context, r wire.Request) {
	limit, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	if err := c.conn.Write(limit, websocket.MessageText, wire.Encode(r)); err != nil && !c.over {
		c.lost(err)
	}
}

// finish ends the visit.
func (c *conversation) finish(end End, err error) { c.over, c.end, c.err = true, end, err }

// reconnect ends the connection only.
func (c *conversation) reconnect(wait time.Duration, why error) {
	c.over, c.wait, c.err = true, wait, why
}

// again joins anew at the tail, on the same connection.
func (c *conversation) again(ctx context.Context) {
	if err := c.v.again(); err != nil {
		c.finish(Failed, err)
		return
	}
	c.phase, c.position, c.claimAt = joining, 0, time.Time{}
	c.send(ctx, wire.Request{Type: wire.Join})
}

// lost decides what a connection's end means.
func (c *conversation) lost(err error) {
	v := c.v
	code := int(websocket.CloseStatus(err)) // -1: not closed but broken
	switch {
	case code == wire.ClosePlace:
		c.dropPlace()
	case code == wire.CloseDone && c.phase == leaving:
		c.finish(Left, nil)
	case code >= 4500 && code <= 4999 && !wire.Codes[c.told].Retry:
		c.finish(Failed, fmt.Errorf("closed with %d: %w", code, codeError{c.told}))
	default:
		v.node++
		wait := v.backoff()
		if !c.drainAt.IsZero() {
			// The node said when to come back, spread over everybody.
			wait = max(0, time.Until(c.drainAt))
		}
		c.reconnect(wait, err)
	}
}

// dropPlace forgets a place that no node takes; a new connection joins anew.
func (c *conversation) dropPlace() {
	if err := c.v.again(); err != nil {
		c.finish(Failed, fmt.Errorf("%w: %w", err, codeError{c.told}))
		return
	}
	c.reconnect(c.v.backoff(), codeError{c.told})
}

// hear takes one message. Unknown types and fields are ignored.
func (c *conversation) hear(ctx context.Context, data []byte) {
	var m struct {
		Type      wire.Type     `json:"type"`
		Place     string        `json:"place"`
		Number    room.Number   `json:"number"`
		Epoch     room.Epoch    `json:"epoch"`
		Position  room.Position `json:"position"`
		ClaimMS   int64         `json:"claim_ms"`
		Pass      string        `json:"pass"`
		ExpiresMS int64         `json:"expires_ms"`
		URL       string        `json:"url"`
		State     room.Shown    `json:"state"`
		RetryMS   int64         `json:"retry_ms"`
		BeatMS    int64         `json:"beat_ms"`
		Code      wire.Code     `json:"code"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		c.finish(Failed, fmt.Errorf("a message that is no JSON: %w", err))
		return
	}
	v := c.v
	if m.BeatMS > 0 {
		c.silence = 2*time.Duration(m.BeatMS)*time.Millisecond + beatGrace
	}
	if v.config.Hear != nil {
		defer func() {
			h := Heard{Type: m.Type, Code: m.Code, State: m.State, Place: v.place}
			if len(v.out.Stays) > 0 {
				h.Stay = *v.stay()
			}
			v.config.Hear(h)
		}()
	}
	switch m.Type {
	case wire.Joined:
		c.refusals, c.againAt = 0, time.Time{}
		v.joined(wire.JoinedMessage{Place: m.Place, Number: m.Number, Epoch: m.Epoch})
		if c.phase == joining {
			c.phase = waiting
		}
		if v.leaving { // the connection broke before the answer
			c.leave(ctx)
		}
	case wire.Position:
		c.hearPosition(m.Position)
	case wire.Admitted:
		c.hearAdmitted(ctx, time.Duration(m.ClaimMS)*time.Millisecond)
	case wire.Pass:
		if len(v.out.Stays) > 0 {
			s := v.stay()
			s.Passed, s.Admission = time.Now(), admissionOf(m.Pass)
		}
		v.log("has a pass")
		c.over, c.pass = true, wire.PassMessage{Pass: m.Pass, ExpiresMS: m.ExpiresMS, URL: m.URL}
	case wire.Missed, wire.Spent:
		switch {
		case v.leaving: // it took effect, the answer was lost
			c.finish(Left, nil)
		case v.missClaim && len(v.out.Stays) > 0 && !v.stay().Admitted.IsZero():
			c.finish(Missed, nil)
		default:
			v.log("told %s", m.Type)
			c.again(ctx)
		}
	case wire.Left:
		c.finish(Left, nil)
	case wire.Room:
		c.hearRoom(m.State)
	case wire.Drain:
		v.out.Drains++
		after := min(mostRetryAfter, time.Duration(m.RetryMS)*time.Millisecond)
		c.drainAt = time.Now().Add(after + v.within(v.config.BackoffMin))
	case wire.Error:
		c.hearError(ctx, m.Code, time.Duration(m.RetryMS)*time.Millisecond)
	}
}

func (c *conversation) hearPosition(p room.Position) {
	if len(c.v.out.Stays) == 0 {
		c.finish(Failed, errors.New("a position before the place"))
		return
	}
	s := c.v.stay()
	if c.phase != leaving {
		c.phase, c.claimAt = waiting, time.Time{} // also after `admitted`: the line lost it
	}
	if s.Heard++; s.First == 0 {
		s.First = p
	}
	if c.position != 0 && p > c.position {
		s.Rises++
		c.v.log("position rose from %d to %d", c.position, p)
	}
	s.Last, c.position = p, p
	if c.closed {
		c.finish(Closed, nil)
	}
}

func (c *conversation) hearAdmitted(ctx context.Context, left time.Duration) {
	v := c.v
	if len(v.out.Stays) == 0 {
		c.finish(Failed, errors.New("admitted before the place"))
		return
	}
	if s := v.stay(); s.Admitted.IsZero() {
		s.Admitted = time.Now()
		v.log("admitted")
	}
	c.lapses = time.Now().Add(left)
	switch {
	case c.phase == leaving:
	case v.missClaim:
		c.phase = missing
		v.leaveAt, v.dropAt = time.Time{}, time.Time{}
	case c.phase == claiming:
		// The line may have lost the admission that was claimed, and let us in again.
		c.againAt = time.Time{}
		c.send(ctx, wire.Request{Type: wire.Claim})
	default:
		c.phase = turn
		c.claimAt = time.Now().Add(v.think(left))
		// From here on it means to buy.
		v.leaveAt = time.Time{}
	}
}

func (c *conversation) hearRoom(state room.Shown) {
	switch state {
	case room.ShownSoldOut:
		c.finish(SoldOut, nil)
	case room.ShownClosed:
		// Those who were admitted may still claim: whether this one was is known
		// once a position came.
		c.closed = true
		if c.position != 0 && c.phase == waiting {
			c.finish(Closed, nil)
		}
	default:
		c.closed = false
		// Who was refused is called back, each at a random moment.
		if takes := state == room.ShownOpen || state == room.ShownOpening || state == room.ShownPaused; takes &&
			c.phase == joining && !c.againAt.IsZero() && c.told != wire.AddressLimit {
			if at := time.Now().Add(c.v.within(c.v.config.BackoffMin * 5 / 4)); at.Before(c.againAt) {
				c.againAt = at
			}
		}
	}
}

func (c *conversation) hearError(ctx context.Context, code wire.Code, retry time.Duration) {
	v := c.v
	c.told = code
	v.log("told %s", code)
	switch code {
	case wire.SoldOut:
		c.finish(SoldOut, nil)
	case wire.RoomClosed:
		if c.phase == joining {
			c.finish(Closed, nil)
		}
	case wire.BadRoom, wire.UnknownRoom, wire.RoomDeleted:
		c.finish(Failed, codeError{code})
	case wire.PlaceBad, wire.PlaceForeign, wire.PlaceRoom, wire.PlaceEpoch:
		c.dropPlace()
	case wire.NotJoined:
		c.phase = joining
		c.send(ctx, wire.Request{Type: wire.Join, Place: v.place})
	default:
		// What closes the connection says the rest by its close code. What leaves
		// it open and may be tried again is, at a random moment.
		if m := wire.Codes[code]; m.Close == 0 && m.Retry {
			most := ceiling(2*v.config.BackoffMin, v.config.BackoffMax, c.refusals)
			if c.phase == claiming {
				// Its time runs. Few claim at once, so it is near and leaves room for more.
				most = min(most, ceiling(claimFirst, claimMost, c.refusals))
				if part := time.Until(c.lapses) / 4; part >= claimLeast {
					most = min(most, part)
				}
			}
			c.refusals++
			c.againAt = time.Now().Add(min(mostRetryAfter, retry) + v.within(most))
		}
	}
}
