package hub

import (
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
)

// item is a waiting session with its number beside it, so that a pass over the
// numbers stays in one piece of memory.
type item struct {
	number  room.Number
	session *Session
}

// roster is which sessions of one room are here, by visitor, by standing and by
// what is due next.
type roster struct {
	mu       sync.Mutex
	people   int  // sessions, and joins under way
	closed   bool // the room is gone
	sessions map[room.VisitorID]*Session
	waiting  []item     // in order of number
	fresh    []item     // waiting, arrived since the last merge, in any order
	others   []*Session // admitted, in the shop, over, or without a place
	dirty    bool       // somebody in waiting or others is there no more
	suspects []*Session // the position tick found the bit of a waiting one set
	unseen   []*Session // the line does not know them, or did not
	due      deadlines
	life     string // the line's, as last read
	lives    uint32 // how many of them were read
}

func newRoster() roster {
	return roster{sessions: map[room.VisitorID]*Session{}}
}

// moved puts a session on the list of its standing, and its deadline in the heap;
// the next compact takes it off the other list.
func (r *roster) moved(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty = true
	switch s.standing() {
	case waiting:
		if !s.inWaiting {
			s.inWaiting = true
			r.fresh = append(r.fresh, item{s.place.Number, s})
		}
	case detached:
		if r.sessions[s.place.Visitor] == s {
			delete(r.sessions, s.place.Visitor)
		}
	default:
		if !s.inOthers {
			s.inOthers = true
			r.others = append(r.others, s)
		}
	}
	r.schedule(s)
}

// schedule brings the heap up to date with what the session waits for. The caller
// holds mu.
func (r *roster) schedule(s *Session) { r.due.set(s, s.wakes()) }

// compact brings the lists up to date: sorts newcomers in, drops who left. The
// caller holds mu.
func (r *roster) compact() {
	r.merge()
	if !r.dirty {
		return
	}
	r.dirty = false
	r.waiting = slices.DeleteFunc(r.waiting, func(i item) bool {
		i.session.inWaiting = i.session.standing() == waiting
		return !i.session.inWaiting
	})
	r.others = slices.DeleteFunc(r.others, func(s *Session) bool {
		st := s.standing()
		s.inOthers = st != waiting && st != detached
		return !s.inOthers
	})
}

// merge sorts the newcomers into waiting. It comes before the filter, since one
// of them may have been admitted or have gone already. The caller holds mu.
func (r *roster) merge() {
	if len(r.fresh) == 0 {
		return
	}
	slices.SortFunc(r.fresh, func(a, b item) int { return int(a.number - b.number) })
	// Newcomers have the greatest numbers, so the merge runs from the back and
	// moves almost nothing.
	i, j := len(r.waiting)-1, len(r.fresh)-1
	r.waiting = append(r.waiting, r.fresh...)
	for k := len(r.waiting) - 1; i >= 0 && j >= 0; k-- {
		if r.waiting[i].number > r.fresh[j].number {
			r.waiting[k] = r.waiting[i]
			i--
		} else {
			r.waiting[k] = r.fresh[j]
			j--
		}
	}
	copy(r.waiting, r.fresh[:j+1])
	clear(r.fresh)
	r.fresh = r.fresh[:0]
}

// suspicious reports that the position tick found somebody gone.
func (r *roster) suspicious() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.suspects) > 0
}

// dismiss takes out every session that ends with an older line of the room: those
// of another epoch than keep; or with the room, when keep is empty. Who has no
// place stays with a line made anew, and goes with the room.
func (r *roster) dismiss(keep room.Epoch) (ended []*Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.sessions {
		if s.epoch != keep {
			ended = append(ended, s)
			delete(r.sessions, id)
		}
	}
	r.suspects = nil
	if keep != "" {
		return ended
	}
	r.closed = true
	for _, s := range r.others {
		if !s.HasPlace() {
			ended = append(ended, s)
		}
	}
	return ended
}

// candidates appends to look whom the turn tick has to look up: who is below the
// head or gone in its window, who the position tick found gone, and whose deadline
// is over. At most MaxBatch; the others are still candidates at the next tick. Whose
// lease is over is appended to lapsed. From index told on it is those who were told
// that it is their turn, before.
func (r *roster) candidates(look, lapsed []*Session, t room.Turn, now time.Duration) (asked []*Session, told int, over []*Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := func() bool { return len(look) >= room.MaxBatch }
	end := room.Number(t.GoneFrom+int64(len(t.Gone))) << 3
	// Who was admitted since the last compact still stands in front.
	asks := func(i item) bool {
		return i.number <= t.Seq && (i.number < t.Head || left(t, i.number)) && i.session.standing() == waiting && !i.session.unseen
	}
	for _, i := range r.waiting {
		if full() || i.number > t.Seq || (i.number >= t.Head && i.number >= end) {
			break
		}
		if asks(i) {
			look = append(look, i.session)
		}
	}
	for _, i := range r.fresh {
		if full() {
			break
		}
		if asks(i) {
			look = append(look, i.session)
		}
	}
	// The position tick saw the whole bitmap: these left from far behind.
	for _, s := range r.suspects {
		if !full() && s.standing() == waiting && s.place.Number >= end && !s.unseen {
			look = append(look, s)
		}
	}
	r.suspects = slices.Delete(r.suspects, 0, len(r.suspects))
	told = len(look)
	for !full() && len(lapsed) < room.MaxBatch {
		s := r.due.first(now)
		if s == nil {
			break
		}
		switch st := s.standing(); {
		case s.lapses(now):
			r.due.set(s, now+TurnTick)
			lapsed = append(lapsed, s)
		case s.unseen:
			r.due.set(s, now+retryUnseen)
		case st == admitted || st == inside:
			// Due again at the next tick, unless the answer brings another deadline.
			r.due.set(s, now+TurnTick)
			look = append(look, s)
		default: // a lease that a connection has taken up
			r.due.set(s, 0)
		}
	}
	return look, told, lapsed
}

// left reports whether the bit of a number in the window is set.
func left(t room.Turn, n room.Number) bool {
	i := int64(n>>3) - t.GoneFrom
	return i >= 0 && i < int64(len(t.Gone)) && t.Gone[i]&(0x80>>(n&7)) != 0
}
