package hub

import (
	"context"
	"errors"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// Join gives a new visitor a place at the tail and tells joined and room to its
// first connection. Positions follow with the ticks.
func (h *Hub) Join(ctx context.Context, name room.Name, s Sink) (*Session, error) {
	if h.Full() {
		return nil, room.ErrOverloaded
	}
	return h.come(ctx, name, &request{place: room.Place{Visitor: room.NewVisitorID()}}, s)
}

// Return brings a visitor back to a verified place, beside the connections that
// show it already.
func (h *Hub) Return(ctx context.Context, name room.Name, epoch room.Epoch, p room.Place, s Sink) (*Session, error) {
	return h.come(ctx, name, &request{place: p, epoch: epoch}, s)
}

func (h *Hub) come(ctx context.Context, name room.Name, r *request, sink Sink) (s *Session, err error) {
	var in *roomHub
	defer func() {
		if in != nil && in.gone() {
			h.metrics.came("", r, err) // its series went with the room
		} else {
			h.metrics.came(name, r, err)
		}
	}()
	in, err = h.room(ctx, name)
	if err != nil {
		if r.epoch != "" && (errors.Is(err, room.ErrUnknown) || errors.Is(err, room.ErrRecovering)) {
			// The place is good, so there was such a room: it may be lost, and the next
			// look finds its tombstone if it was deleted.
			h.listed.Shown(name)
			err = room.ErrRecovering
		}
		return nil, err
	}
	defer func() { err = in.known(err) }()
	if err := in.enter(); err != nil {
		return nil, err
	}
	defer func() {
		if s == nil {
			in.exit()
		}
	}()
	r.at, r.answer = time.Now(), make(chan answer, 1)
	if err := in.ask(r); err != nil {
		return nil, err
	}
	select {
	case a := <-r.answer:
		if a.err != nil {
			return nil, a.err
		}
		s, stale, err := in.attach(a, sink)
		if stale {
			in.askAgain(ctx, s, sink)
		}
		return s, err
	case <-ctx.Done():
		// The place may exist all the same: nobody comes for it, and it leaves the line
		// once nobody was seen there for the room's grace.
		return nil, room.ErrAway
	}
}

// askAgain is for a connection whose answer was under way while its session moved
// on: a second one is younger than that. If even this is older than what was told,
// the line has lost writes; then the session goes by it, and the ticks tell. If there
// is none, the turn tick asks once the line answers again.
func (r *roomHub) askAgain(ctx context.Context, s *Session, sink Sink) {
	stands, _, err := patiently(ctx, r, "rejoin", func(ctx context.Context) ([]room.Stand, error) {
		return r.hub.line.Rejoin(ctx, r.name, r.caller(s.epoch), []room.Place{s.place})
	})
	switch {
	case err != nil || stands[0].Standing == room.Unseen:
		s.owe()
	case s.apply(eventOf(stands[0].Standing), stands[0], one, sink):
		s.apply(eventOf(stands[0].Standing), stands[0], nobody, nil)
	}
}

// Watch shows a room to a connection without a place: who was refused hears with
// the next tick, at each change and with the heartbeat how the room stands, and so
// when to ask again.
// nil: this node does not know the room. Their number is bounded by that of
// connections.
func (h *Hub) Watch(name room.Name, sink Sink) *Session {
	r, err := h.find(name)
	if r == nil && err == nil && h.listed.Has(name) {
		r, err = h.open(name)
	}
	if r == nil || err != nil || r.enter() != nil {
		return nil
	}
	s := &Session{room: r, sinks: []Sink{sink}, inOthers: true, beat: int32(h.plan().Beat.Milliseconds()), spoke: h.clock()}
	s.state.Store(over)
	r.roster.mu.Lock()
	// The next tick tells, out of a read that is younger than the refusal: what was
	// shown last may be the state before it, and would look like a reopening.
	s.rev = r.view.told().rev - 1
	closed := r.roster.closed
	if !closed {
		r.roster.others = append(r.roster.others, s)
	}
	r.roster.mu.Unlock()
	if closed {
		r.exit()
		return nil
	}
	return s
}

// attach brings a connection to the session of its place, made with the first one,
// and tells it where it stands; stale: the answer is too old to tell it. On success
// the roster's people counts the session, once.
func (r *roomHub) attach(a answer, sink Sink) (s *Session, stale bool, err error) {
	token, err := r.hub.signer.Place(r.name, a.epoch, a.place)
	if err != nil {
		return nil, false, err
	}
	beat := r.hub.plan().Beat
	joined := wire.AppendJoined(make([]byte, 0, 512), wire.JoinedMessage{Place: token, Number: a.place.Number, Epoch: a.epoch, BeatMS: beat.Milliseconds()})

	r.roster.mu.Lock()
	if r.roster.closed {
		r.roster.mu.Unlock()
		return nil, false, room.ErrUnknown
	}
	shown, epoch := r.view.now()
	if a.epoch != epoch {
		r.roster.mu.Unlock()
		return nil, false, room.ErrEpoch
	}
	frame := r.view.frame(shown, time.Now(), beat)
	s = r.roster.sessions[a.place.Visitor]
	if s != nil {
		s.mu.Lock()
		if s.standing() == detached {
			s.mu.Unlock()
			s = nil
		}
	}
	fresh := s == nil
	if fresh {
		s = &Session{room: r, place: a.place, epoch: a.epoch, rev: shown.rev, beat: int32(beat.Milliseconds()), spoke: r.hub.clock()}
		s.mu.Lock()
		r.roster.sessions[a.place.Visitor] = s
		s.inWaiting = true
		r.roster.fresh = append(r.roster.fresh, item{a.place.Number, s})
	}
	r.roster.mu.Unlock()

	s.add(sink)
	s.beat = min(s.beat, int32(beat.Milliseconds()))
	if shown.state != "" {
		sink.Send(joined, frame)
	} else {
		sink.Send(joined)
	}
	s.mu.Unlock()
	if !fresh {
		r.exit() // people counts it already
	}
	if a.stand.Standing != room.Waiting || !fresh {
		stale = s.apply(eventOf(a.stand.Standing), a.stand, one, sink)
	}
	return s, stale, nil
}
