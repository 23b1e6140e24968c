package hub

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

// maxBringBack is how many places one call brings back: it is a write for each, and
// 500 of them take Redis less than 4 ms.
const maxBringBack = 500

// retryUnseen is when the deadline of somebody who is being brought back is looked at
// again: the answer comes with the next pass.
const retryUnseen = time.Second

// bringBack asks for those whom the line does not know, so that it brings them back
// to their number. The position tick calls it, so each is asked for once a second;
// one pass at a time, one call after another.
func (r *roomHub) bringBack() {
	if r.roster.anyUnseen() && r.bringing.CompareAndSwap(false, true) {
		r.hub.spawn(func() {
			defer r.bringing.Store(false)
			r.bringAll(r.ctx)
		})
	}
}

// report tells the line what this node heard from it: it asks for that after a loss, and
// a line that knows less than this node has not noticed its loss yet. The position tick
// calls it; one call at a time.
func (r *roomHub) report() {
	if r.reporting.CompareAndSwap(false, true) {
		r.hub.spawn(func() {
			defer r.reporting.Store(false)
			ctx, cancel := context.WithTimeout(r.ctx, readLimit)
			defer cancel()
			by := r.view.caller()
			last, _, err := r.hub.line.Report(ctx, r.name, by)
			if saved, ahead := r.remembers(); saved.Conf != nil && saved.Epoch() == by.Epoch &&
				(ahead || errors.Is(err, room.ErrRecovering) || errors.Is(err, room.ErrUnknown)) {
				err = r.recreate(ctx, by, saved, ahead)
			}
			r.hub.failed(ctx, "report", err)
			if err == nil {
				r.view.saw(by.Epoch, last)
			}
		})
	}
}

// remembers is what this node knows of the line and its event, and whether that is later
// than what the line itself says.
func (r *roomHub) remembers() (saved room.Saved, ahead bool) {
	saved, ahead = r.view.remembers()
	if saved.Conf != nil {
		saved.Event = r.hub.listed.EventOf(r.name, saved.Epoch())
	}
	return saved, ahead
}

// recreate brings the line back as this node remembers it: Redis lost it whole, or a
// later act of an operator. A room that was ended for good stays so; the registry says
// that.
func (r *roomHub) recreate(ctx context.Context, by room.Caller, saved room.Saved, ahead bool) error {
	err := r.hub.line.Recreate(ctx, r.name, by, saved)
	if errors.Is(err, room.ErrDeleted) {
		return nil
	}
	if err == nil {
		say := "the line was lost whole and is brought back as this node remembers it"
		if ahead {
			say = "the line lost an operator's act, which is brought back as this node remembers it"
		}
		r.hub.log.Warn(say, zap.String("room", string(r.name)), zap.String("epoch", string(by.Epoch)),
			zap.Int64("mark", int64(by.Mark)), zap.String("state", saved.Conf["state"]), zap.String("rev", saved.Conf["rev"]))
		r.view.forget() // the next tick reads it
	}
	return err
}

// bringAll is one pass. What the line does not answer ends it: the next second is the
// next try.
func (r *roomHub) bringAll(ctx context.Context) {
	by := r.view.caller()
	lost := r.roster.takeUnseen(by.Epoch)
	for len(lost) > 0 {
		batch := lost[:min(len(lost), maxBringBack)]
		lost = lost[len(batch):]
		places := make([]room.Place, len(batch))
		for i, s := range batch {
			places[i] = s.place
		}
		call, cancel := context.WithTimeout(ctx, readLimit)
		stands, err := r.hub.line.Rejoin(call, r.name, by, places)
		cancel()
		r.hub.failed(ctx, "rejoin", err)
		if err != nil {
			return
		}
		for i, s := range batch {
			if stands[i].Standing != room.Unseen {
				r.roster.seen(s)
				r.hub.metrics.returned.WithLabelValues(string(r.name)).Inc()
				s.apply(eventOf(stands[i].Standing), stands[i], s.owed(), nil)
			}
		}
	}
}

// lost notes that the line does not know a session: nobody looks it up until it is
// back.
func (r *roster) lost(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose(s)
}

// lose is lost for who holds mu. Who is inside is not brought back: the shop honours the
// pass whatever the line knows, and the number would be admitted a second time.
func (r *roster) lose(s *Session) {
	if st := s.standing(); !s.unseen && (st == waiting || st == admitted) {
		s.unseen = true
		r.unseen = append(r.unseen, s)
	}
}

// loseAbove notes all who have a number above the line's last one, of a line that
// knows less than this node. The caller holds mu.
func (r *roster) loseAbove(seq room.Number) {
	for i := len(r.waiting) - 1; i >= 0 && r.waiting[i].number > seq; i-- {
		r.lose(r.waiting[i].session)
	}
	for _, s := range r.others {
		if s.place.Number > seq {
			r.lose(s)
		}
	}
}

// seen takes the note back.
func (r *roster) seen(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.unseen = false
}

// anyUnseen reports that the line does not know somebody here.
func (r *roster) anyUnseen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.unseen) > 0
}

// lost is how many visitors here the line does not know.
func (h *Hub) lost(name room.Name) (n int) {
	r, _ := h.find(name)
	if r == nil {
		return 0
	}
	r.roster.mu.Lock()
	defer r.roster.mu.Unlock()
	for _, s := range r.roster.unseen {
		if s.unseen {
			n++
		}
	}
	return n
}

// takeUnseen returns whom the line still does not know, of one epoch; those of an
// older one are being dismissed.
func (r *roster) takeUnseen(epoch room.Epoch) []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.unseen[:0]
	for _, s := range r.unseen {
		if st := s.standing(); st != waiting && st != admitted || s.epoch != epoch {
			s.unseen = false
		}
		if s.unseen {
			kept = append(kept, s)
		}
	}
	clear(r.unseen[len(kept):])
	r.unseen = kept
	if len(kept) == 0 {
		r.unseen = nil
	}
	return append([]*Session(nil), kept...)
}
