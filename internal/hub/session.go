package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// Sink is one connection of a visitor. Its methods do not block, are safe for
// concurrent use, and do not call back into this package.
type Sink interface {
	// TrySend takes a message that the next one supersedes. False: the connection
	// is busy and the message is gone.
	TrySend(text []byte) bool
	// Send takes a message that must arrive in its turn. A connection that can
	// not keep it closes itself.
	Send(text []byte)
	// Close ends the connection with a close code after what was told.
	Close(code int)
}

type standing = int32

const (
	waits    standing = iota
	admitted          // told `admitted`: until deadline the pass can be claimed
	inside            // told `pass`: until deadline it opens the shop
	over              // told missed, spent or left, or dismissed; or never had a place
	detached          // no sink is left; the crowd forgets the session
)

// Session is one place with the connections that show it; or, without a place, one
// connection that was refused and hears how the room stands.
type Session struct {
	crowd *roomHub
	place room.Place
	epoch room.Epoch

	state atomic.Int32 // a standing; written with mu held, read by ticks without

	inWaiting, inRest bool // guarded by crowd.mu

	mu       sync.Mutex
	sinks    []Sink // in order of arrival
	deadline time.Time
	last     room.Position // last told
	rev      uint32        // of the room, last told
	spoke    uint32        // when it last took a word, on the node's clock; 0: long ago
	leaving  bool          // a leave is under way: its own answer tells
}

func (v *Session) standing() standing { return v.state.Load() }

// Over reports whether the visitor may join again: the place is used up, or
// there was none.
func (v *Session) Over() bool { return v.standing() == over }

// Placeless reports a session of Watch.
func (v *Session) Placeless() bool { return v.place.Number == 0 }

// Again answers a second join on a connection as a return: what the visitor was
// told already is told once more.
// It is another session when this one ended meanwhile.
func (v *Session) Again(ctx context.Context, s Sink) (*Session, error) {
	return v.crowd.all.Return(ctx, v.crowd.name, v.epoch, v.place, s)
}

// Remind lets the next tick tell once more how the room stands.
func (v *Session) Remind() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rev--
}

// Detach takes a connection away. The place stays in the line.
func (v *Session) Detach(s Sink) {
	v.mu.Lock()
	v.sinks = slices.DeleteFunc(v.sinks, func(x Sink) bool { return x == s })
	ended := len(v.sinks) == 0 && v.standing() != detached
	if ended {
		v.state.Store(detached)
	}
	v.mu.Unlock()
	if ended {
		v.crowd.move(v)
		v.crowd.exit()
	}
}

// tell gives a message to every connection. The caller holds mu.
func (v *Session) tell(text []byte) {
	for _, s := range v.sinks {
		s.Send(text)
	}
	v.spoke = v.crowd.all.clock()
}

// offer gives a message to every connection; false if one did not take it. The
// caller holds mu.
func (v *Session) offer(text []byte) bool {
	ok := true
	for _, s := range v.sinks {
		ok = s.TrySend(text) && ok
	}
	return ok
}

// refuse tells why it is over and closes where the table says so.
func (v *Session) refuse(code wire.Code) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.standing() == detached {
		return
	}
	v.state.Store(over)
	v.tell(wire.EncodeError(code))
	if c := wire.Codes[code].Close; c != 0 {
		for _, s := range v.sinks {
			s.Close(c)
		}
	}
}

// stand brings the session to where the line says it stands, and tells: everybody
// what is new, newcomer (may be nil) what the others know.
func (v *Session) stand(st room.Stand, newcomer Sink) {
	shop := ""
	if st.Standing == room.Active {
		shop = v.crowd.shop() // before mu, see Locks
	}
	v.mu.Lock()
	before := v.standing()
	now := time.Now()
	to := []Sink{newcomer}
	if newcomer == nil {
		to = nil
	}
	var text []byte
	after := before
	switch {
	case before == detached, before == over && newcomer == nil:
	case before == over:
		text = wire.Encode(wire.PlainMessage{Type: wire.Spent})
	case st.Standing == room.Gone && v.leaving:
	case st.Standing == room.Gone:
		after, to = over, v.sinks
		text = wire.Encode(wire.PlainMessage{Type: wire.Spent})
		if before == admitted {
			text = wire.Encode(wire.PlainMessage{Type: wire.Missed})
		}
	case st.Standing == room.Active:
		after = inside
		if before != inside {
			to = v.sinks
		}
		v.deadline = now.Add(st.Left)
		var err error
		if len(to) > 0 {
			text, err = v.pass(st, shop)
		}
		if err != nil {
			after, text = before, wire.EncodeError(wire.Internal)
			v.crowd.all.log.Error("a pass could not be signed", zap.Error(err))
		}
	case st.Standing == room.Unclaimed && before != inside:
		after = admitted
		if before != admitted {
			to = v.sinks
		}
		v.deadline = now.Add(st.Left)
		text = wire.Encode(wire.AdmittedMessage{Type: wire.Admitted, ClaimMS: st.Left.Milliseconds()})
	case st.Standing == room.Waiting && before != inside:
		// From admitted: the line lost the admission; it will come again.
		after = waits
		v.last, v.spoke = 0, 0
	}
	// Before it is told: who hears `missed` may join again at once, and Over is
	// asked without mu.
	v.state.Store(after)
	if text != nil {
		for _, s := range to {
			s.Send(text)
		}
	}
	v.mu.Unlock()
	if after != before {
		v.crowd.move(v)
		v.crowd.all.metrics.told(v.crowd.name, after)
	}
}

// pass encodes the pass of this place. Signing takes 35 µs.
func (v *Session) pass(st room.Stand, shop string) ([]byte, error) {
	token, err := v.crowd.all.signer.Pass(room.Admission{Room: v.crowd.name, Epoch: v.epoch, Number: v.place.Number, Visitor: v.place.Visitor}, st.Deadline)
	if err != nil {
		return nil, err
	}
	return wire.Encode(wire.PassMessage{Type: wire.Pass, Pass: token, ExpiresMS: st.Left.Milliseconds(), URL: shop}), nil
}

// Claim takes the pass. A repeat gives the same one; a claim before its time
// only brings the position again.
func (v *Session) Claim(ctx context.Context) error {
	if v.Over() {
		v.mu.Lock()
		v.tell(wire.Encode(wire.PlainMessage{Type: wire.Spent}))
		v.mu.Unlock()
		return nil
	}
	st, _, err := patiently(ctx, v.crowd, "claim", func(ctx context.Context) (room.Stand, error) {
		return v.crowd.all.line.Claim(ctx, v.crowd.name, v.caller(), v.place)
	})
	err = known(err)
	if errors.Is(err, room.ErrSpent) {
		st, err = room.Stand{Standing: room.Gone}, nil
	}
	if err != nil {
		return err
	}
	if st.Standing == room.Active && v.standing() == inside {
		return v.again(st)
	}
	v.stand(st, nil)
	return nil
}

// again repeats the pass to every connection.
func (v *Session) again(st room.Stand) error {
	text, err := v.pass(st, v.crowd.shop())
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tell(text)
	return nil
}

// Leave gives the place up for good.
func (v *Session) Leave(ctx context.Context) error {
	v.mu.Lock()
	ended := v.standing() == over
	if !ended {
		v.leaving = true
	} else {
		v.tell(wire.Encode(wire.PlainMessage{Type: wire.Spent}))
	}
	v.mu.Unlock()
	if ended {
		return nil
	}
	_, repeated, err := patiently(ctx, v.crowd, "leave", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, v.crowd.all.line.Leave(ctx, v.crowd.name, v.caller(), v.place)
	})
	err = known(err)
	v.mu.Lock()
	// Spent at a second try: the first one's answer was lost. The client library
	// may have tried again unseen, and who waited and wanted to go is gone.
	done := err == nil || errors.Is(err, room.ErrSpent) && (repeated || v.standing() == waits)
	v.leaving = false
	if done && v.standing() != detached {
		v.state.Store(over)
		v.tell(wire.Encode(wire.PlainMessage{Type: wire.Left}))
	}
	v.mu.Unlock()
	switch {
	case done:
		v.crowd.move(v)
		return nil
	case errors.Is(err, room.ErrSpent):
		v.stand(room.Stand{Standing: room.Gone}, nil)
		return nil
	}
	return err
}

func (v *Session) caller() room.Caller {
	c := v.crowd.caller()
	if c.Epoch != v.epoch {
		return room.Caller{Epoch: v.epoch}
	}
	return c
}

// known is for what the line says of a room that this node has served: it can't
// be one that there never was.
func known(err error) error {
	if errors.Is(err, room.ErrUnknown) {
		return room.ErrDeleted
	}
	return err
}

// definite reports that the line answered: asking again would not help.
func definite(err error) bool {
	for _, known := range []error{room.ErrUnknown, room.ErrDeleted, room.ErrEpoch, room.ErrRecovering, room.ErrClosed, room.ErrSoldOut,
		room.ErrFull, room.ErrSpent, room.ErrActive, room.ErrMemory, room.ErrStaleBatch} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// patiently tries an act that may be repeated until the line answers or the
// visitor's patience is over; repeated tells that an earlier try may have taken
// effect. What the line did not answer is ErrAway.
func patiently[T any](ctx context.Context, c *roomHub, act string, try func(context.Context) (T, error)) (answer T, repeated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 400*time.Millisecond) {
		one, done := context.WithTimeout(ctx, readLimit)
		answer, err = try(one)
		done()
		if err == nil || definite(err) {
			return answer, repeated, err
		}
		c.all.metrics.failed(act, err)
		repeated = true
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return answer, repeated, room.ErrAway
		}
	}
}
