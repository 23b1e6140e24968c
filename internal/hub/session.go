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

// claimSlack is by how much a claim has to end later than was told to be told again: the
// answers of two look-ups differ by what the calls took, which is a second at most.
const claimSlack = readLimit

// Sink is one connection of a visitor. Its methods do not block, are safe for
// concurrent use, and do not call back into this package.
type Sink interface {
	// TrySend takes a message that the next one supersedes. False: the connection
	// is busy and the message is gone.
	TrySend(text []byte) bool
	// Send takes messages that must arrive in their turn, as one packet where it can.
	// A connection that can not keep them closes itself.
	Send(texts ...[]byte)
	// Close ends the connection after what was sent, with the close code of a code.
	Close(code wire.Code)
}

// Session is one place on this node, apart from the connections that show it; or,
// without a place, one connection that was refused and hears how the room stands.
type Session struct {
	room  *roomHub
	place room.Place
	epoch room.Epoch

	state atomic.Int32 // a standing; written with mu held, read by ticks without

	// Guarded by the roster's mu.
	inWaiting, inOthers bool
	unseen              bool          // the line does not know the place: it is being brought back
	slot                int32         // place in the heap of deadlines, from 1; 0: none
	at                  time.Duration // the moment it is there for

	mu       sync.Mutex
	sinks    []Sink        // in order of arrival
	deadline time.Duration // of the claim or the pass, on the node's clock; 0: none
	lastCall bool          // nobody had claimed within the last second of it
	lease    time.Duration // when it ends without a connection; 0: it has one
	last     room.Position // last told
	rev      uint32        // of the room, last told
	beat     int32         // the longest silence that was announced, in ms; of several connections the least
	spoke    uint32        // when it last took a word, in ms of the node's clock; 0: long ago
	leaving  bool          // a leave is under way: its own answer tells
	doubted  bool          // it was told of a turn in another life of the line: it is looked up now
	owes     bool          // a connection does not know where it stands: the next look-up tells everybody
}

func (s *Session) standing() standing { return s.state.Load() }

// Over reports whether the visitor may join again: the place is used up, or
// there was none.
func (s *Session) Over() bool { return s.standing() == over }

// HasPlace is false for a session of Watch.
func (s *Session) HasPlace() bool { return s.place.Number > 0 }

// Again answers a second join on a connection as a return: what the visitor was
// told already is told once more.
// It is another session when this one ended meanwhile.
func (s *Session) Again(ctx context.Context, sink Sink) (*Session, error) {
	return s.room.hub.Return(ctx, s.room.name, s.epoch, s.place, sink)
}

// Remind lets the next tick tell once more how the room stands.
func (s *Session) Remind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev--
}

// add attaches a connection; the oldest of too many is closed. The caller holds mu.
func (s *Session) add(sink Sink) {
	s.lease = 0
	if !slices.Contains(s.sinks, sink) { // a second join on one connection
		s.sinks = append(s.sinks, sink)
	}
	if len(s.sinks) > MaxSinks {
		oldest := s.sinks[0]
		s.sinks = append(s.sinks[:0:0], s.sinks[1:]...)
		oldest.Send(wire.EncodeError(wire.TooManyTabs))
		oldest.Close(wire.TooManyTabs)
	}
}

// Detach takes a connection away. The place stays in the line; the session ends
// with its last connection, or its lease after it.
func (s *Session) Detach(sink Sink) {
	s.mu.Lock()
	s.sinks = slices.DeleteFunc(s.sinks, func(x Sink) bool { return x == sink })
	alone := len(s.sinks) == 0 && s.standing() != detached
	leased := alone && s.room.hub.lease > 0 && s.standing() != over
	switch {
	case leased:
		s.lease = s.room.hub.now() + s.room.hub.lease
	case alone:
		s.state.Store(detached)
	}
	s.mu.Unlock()
	if alone {
		s.room.roster.moved(s)
	}
	if alone && !leased {
		s.room.exit()
	}
}

// lapse ends a session whose lease is over, unless a connection came meanwhile.
func (s *Session) lapse() {
	s.mu.Lock()
	ended := s.lease != 0 && len(s.sinks) == 0 && s.standing() != detached
	if ended {
		s.state.Store(detached)
	}
	s.mu.Unlock()
	s.room.roster.moved(s)
	if ended {
		s.room.exit()
	}
}

// wakes is the next moment at which the turn tick has to look after this session,
// 0 for none.
func (s *Session) wakes() (at time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.standing() {
	case admitted:
		at = s.deadline
		if !s.lastCall {
			at -= lastSecond
		}
	case inside:
		at = s.deadline
	case detached:
		return 0
	}
	if s.owes || s.doubted {
		return 1 // now
	}
	if s.lease != 0 && (at == 0 || s.lease < at) {
		at = s.lease
	}
	return at
}

// owe has the next look-up tell everybody where the session stands.
func (s *Session) owe() {
	s.mu.Lock()
	s.owes = s.standing() == admitted || s.standing() == inside
	s.mu.Unlock()
	s.room.roster.moved(s)
}

// owed is who hears a look-up, once.
func (s *Session) owed() audience {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.owes {
		return nobody
	}
	s.owes = false
	return everyone
}

// doubt has who was told of a turn looked up, and reports whether it was.
func (s *Session) doubt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubted = s.standing() == admitted || s.standing() == inside
	return s.doubted
}

// believe ends a doubt, and reports whether there was one.
func (s *Session) believe() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.doubted
	s.doubted = false
	return was
}

// lapses reports that the lease is over.
func (s *Session) lapses(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease != 0 && s.lease <= now
}

// send gives a message to every connection. The caller holds mu.
func (s *Session) send(text []byte) {
	for _, sink := range s.sinks {
		sink.Send(text)
	}
	s.spoke = s.room.hub.clock()
}

// trySend gives a message to every connection; false if one did not take it. The
// caller holds mu.
func (s *Session) trySend(text []byte) bool {
	ok := true
	for _, sink := range s.sinks {
		ok = sink.TrySend(text) && ok
	}
	return ok
}

// dismiss tells why it is over and closes where the table says so.
func (s *Session) dismiss(code wire.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing() == detached {
		return
	}
	s.state.Store(over)
	s.send(wire.EncodeError(code))
	if wire.Codes[code].Close != 0 {
		for _, sink := range s.sinks {
			sink.Close(code)
		}
	}
}

// apply does to the session what an event does, and tells. to is the connection that
// came with the answer, for an asker that is one. stale: the answer is older than
// what was told, and to has heard nothing of where it stands.
func (s *Session) apply(ev event, st room.Stand, asker audience, to Sink) (stale bool) {
	shop := ""
	if ev == isActive {
		shop = s.room.view.shop(s.room.hub.shopURL) // before mu, see Locks
	}
	s.mu.Lock()
	from := s.standing()
	now := s.room.hub.now()
	step := transition(from, ev, circumstances{asker: asker, leaving: s.leaving, lastCall: s.lastCall,
		ended: from == inside && s.deadline <= now, later: from == admitted && now+st.Left > s.deadline+claimSlack})
	text, err := s.text(step, st, shop)
	if err != nil {
		s.room.hub.log.Error("a pass could not be signed", zap.Error(err))
		step.to, text = from, wire.EncodeError(wire.Internal)
	}
	if step.timed {
		s.deadline = now + st.Left
		s.lastCall = step.to == admitted && st.Left <= lastSecond
	}
	if step.anew {
		s.last, s.spoke = 0, 0
	}
	// Before it is told: who hears `missed` may join again at once, and Over is
	// asked without mu.
	s.state.Store(step.to)
	switch {
	case text == nil:
	case step.whom == everyone:
		s.send(text)
	case step.whom == one:
		to.Send(text)
	}
	s.mu.Unlock()
	if step.timed || step.to != from {
		s.room.roster.moved(s)
	}
	if step.to != from {
		s.room.hub.metrics.told(s.room.name, step.to)
	}
	return step.stale
}

// text encodes what a step has to say; nil: nothing, or nobody to say it to.
func (s *Session) text(step step, st room.Stand, shop string) ([]byte, error) {
	if step.whom == nobody {
		return nil, nil
	}
	switch step.say {
	case sayAdmitted:
		return wire.Encode(wire.AdmittedMessage{Type: wire.Admitted, ClaimMS: st.Left.Milliseconds()}), nil
	case sayPass:
		return s.pass(st, shop)
	case sayMissed:
		return wire.Encode(wire.PlainMessage{Type: wire.Missed}), nil
	case saySpent:
		return wire.Encode(wire.SpentMessage{Type: wire.Spent}), nil
	case sayAway:
		return wire.Encode(wire.SpentMessage{Type: wire.Spent, Reason: wire.ReasonAway}), nil
	case sayLeft:
		return wire.Encode(wire.PlainMessage{Type: wire.Left}), nil
	}
	return nil, nil
}

// pass encodes the pass of this place. Signing takes 35 µs.
func (s *Session) pass(st room.Stand, shop string) ([]byte, error) {
	token, err := s.room.hub.signer.Pass(room.Admission{Room: s.room.name, Epoch: s.epoch, Number: s.place.Number, Visitor: s.place.Visitor}, st.Deadline)
	if err != nil {
		return nil, err
	}
	return wire.Encode(wire.PassMessage{Type: wire.Pass, Pass: token, ExpiresMS: st.Left.Milliseconds(), URL: shop}), nil
}

// Claim takes the pass. A repeat gives the same one; a claim before its time
// only brings the position again, and costs the line nothing: by a turn tick of just
// now this place waits, and who is let in meanwhile is told so.
func (s *Session) Claim(ctx context.Context) error {
	switch s.standing() {
	case over:
		s.apply(isGone, room.Stand{}, everyone, nil)
		return nil
	case waiting:
		if s.early() {
			return nil
		}
		s.room.stir() // so that the next one is answered here
	}
	stale, err := s.claim(ctx, everyone)
	if stale { // its answer was under way while the turn was told: a second one is younger
		stale, err = s.claim(ctx, everyone)
	}
	if stale { // the line has lost the admission; the ticks tell when it comes again
		s.apply(isWaiting, room.Stand{}, nobody, nil)
	}
	return err
}

// early answers a claim before its time, if the turn ticks are good.
func (s *Session) early() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing() != waiting || s.room.hub.now()-time.Duration(s.room.turns.good.Load()) > turnGood {
		return false
	}
	s.last, s.spoke = 0, 0
	return true
}

func (s *Session) claim(ctx context.Context, asker audience) (stale bool, err error) {
	st, _, err := patiently(ctx, s.room, "claim", func(ctx context.Context) (room.Stand, error) {
		return s.room.hub.line.Claim(ctx, s.room.name, s.room.caller(s.epoch), s.place)
	})
	if errors.Is(err, room.ErrRecovering) {
		// The line does not know the place, or has lost more than that: Rejoin says.
		s.room.roster.lost(s)
	}
	err = s.room.known(err)
	if errors.Is(err, room.ErrSpent) {
		if err = nil; st.Standing != room.Away {
			st = room.Stand{Standing: room.Gone}
		}
	}
	if err != nil {
		return false, err
	}
	return s.apply(eventOf(st.Standing), st, asker, nil), nil
}

// Leave gives the place up for good.
func (s *Session) Leave(ctx context.Context) error {
	s.mu.Lock()
	ended := s.standing() == over
	s.leaving = !ended
	s.mu.Unlock()
	if ended {
		s.apply(isGone, room.Stand{}, everyone, nil)
		return nil
	}
	_, repeated, err := patiently(ctx, s.room, "leave", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.room.hub.line.Leave(ctx, s.room.name, s.room.caller(s.epoch), s.place)
	})
	err = s.room.known(err)
	s.mu.Lock()
	// Spent at a second try: the first one's answer was lost. The client library
	// may have tried again unseen, and who waited and wanted to go is gone.
	done := err == nil || errors.Is(err, room.ErrSpent) && (repeated || s.standing() == waiting)
	s.leaving = false
	s.mu.Unlock()
	switch {
	case done:
		s.apply(hasLeft, room.Stand{}, everyone, nil)
		return nil
	case errors.Is(err, room.ErrSpent):
		s.apply(isGone, room.Stand{}, nobody, nil)
		return nil
	}
	return err
}
