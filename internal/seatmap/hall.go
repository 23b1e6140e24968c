package seatmap

import (
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// Bounds of what a room keeps for who comes back with an older version.
const (
	keptViews = 240 // a minute of four a second: longer than a phone's dead spot in a hall
	// keptShare of the seats, as changes: with more the whole map is the shorter answer.
	keptShare = 4
)

// hall is one room's map in memory.
type hall struct {
	name  room.Name
	ready chan struct{} // closed when the first read has ended

	// Guarded by Maps.mu.
	looked  time.Time // when somebody last asked
	streams int
	seats   int // counted against maxSeats

	mu      sync.Mutex
	err     error     // of the first read; guarded by mu, as are all below
	loaded  time.Time // when the last whole read began
	again   bool      // a seat came up that the plan lacks: another read is due at once
	plan    *plan     // nil: not read yet
	states  []state   // as the log has it; the views follow at the next tick
	changed map[int32]bool
	pending map[seat.ID]state // of the log since a whole read began; nil: none is under way
	kept    []step            // the newest last
	keptN   int               // changes in kept
	now     *view             // as everybody sees it; nil: not read yet
}

// step is what changed from the view before to the one with number n.
type step struct {
	n       int64
	changed []int32
}

// apply takes what one row of the log says of the room.
func (h *hall) apply(changes string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	each(changes, func(id seat.ID, to state) {
		if h.pending != nil {
			h.pending[id] = to // bounded by the seats of the room, and those new to it
		}
		if h.plan != nil {
			h.set(id, to)
		}
	})
}

// set changes one seat. A seat that the plan lacks makes a whole read due. mu is held.
func (h *hall) set(id seat.ID, to state) {
	i, ok := h.plan.index[id]
	switch {
	case !ok:
		h.again = true
	case h.states[i] != to:
		h.states[i] = to
		h.changed[i] = true
	}
}

// begin notes that a whole read begins: what the log says from now on may be newer
// than what is read.
func (h *hall) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = map[seat.ID]state{}
	h.loaded, h.again = time.Now(), false
}

// failed ends a whole read that brought nothing.
func (h *hall) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = nil
	if h.now == nil {
		h.err = err
		return
	}
	h.again = true // what made it due is still unread
}

// read takes a whole read. The log was read to its end after it: what it said since
// the read began is in pending and wins.
func (h *hall) read(seats []seat.Seat, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	anew := h.plan == nil || !h.plan.same(seats)
	if anew {
		h.plan, h.states = newPlan(seats), make([]state, len(seats))
		h.changed, h.kept, h.keptN = map[int32]bool{}, nil, 0
	}
	pending := h.pending
	h.pending = nil
	for i, s := range seats {
		to := stateOf(s.State)
		if later, ok := pending[s.ID]; ok {
			to = later
			delete(pending, s.ID)
		}
		if anew {
			h.states[i] = to
		} else {
			h.set(s.ID, to)
		}
	}
	h.again = len(pending) > 0 // seats that came meanwhile
	if anew {
		h.publish(version{life: newLife(), n: 1, at: at}, nil)
	}
}

// tick makes what has changed the map that everybody sees.
func (h *hall) tick(at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil || len(h.changed) == 0 {
		return
	}
	changed := make([]int32, 0, len(h.changed))
	for i := range h.changed {
		changed = append(changed, i)
	}
	slices.Sort(changed)
	clear(h.changed)
	v := h.now.version
	h.publish(version{life: v.life, n: v.n + 1, at: at}, changed)
}

// publish is the end of one view and the beginning of the next; mu is held.
func (h *hall) publish(v version, changed []int32) {
	next := &view{version: v, plan: h.plan, states: slices.Clone(h.states), over: make(chan struct{})}
	if changed != nil {
		next.event = next.changeEvent(changed)
		h.kept, h.keptN = append(h.kept, step{v.n, changed}), h.keptN+len(changed)
		for len(h.kept) > keptViews || (h.keptN > len(h.states)/keptShare && len(h.kept) > 1) {
			h.keptN -= len(h.kept[0].changed)
			h.kept = slices.Delete(h.kept, 0, 1)
		}
	}
	before := h.now
	h.now = next
	if before != nil {
		close(before.over)
	}
}

// view is the map now; nil and an error where the room could not be read.
func (h *hall) view() (*view, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		return nil, h.err
	}
	return h.now, nil
}

// since is the event that brings who has seen a version to the view of now; nil:
// there is nothing to tell.
func (h *hall) since(seen version) ([]byte, *view) {
	h.mu.Lock()
	v := h.now
	ours := seen.life == v.version.life && seen.n > 0 && seen.n <= v.version.n
	if ours && seen.n == v.version.n {
		h.mu.Unlock()
		return nil, v
	}
	if ours && seen.n == v.version.n-1 {
		h.mu.Unlock()
		return v.event, v
	}
	var missed []int32
	known := ours && len(h.kept) > 0 && h.kept[0].n <= seen.n+1
	if known {
		for _, s := range h.kept {
			if s.n > seen.n {
				missed = append(missed, s.changed...)
			}
		}
	}
	h.mu.Unlock()
	if !known {
		return v.wholeEvent(), v
	}
	slices.Sort(missed)
	return v.changeEvent(slices.Compact(missed)), v
}

// due reports whether the room is to be read whole again.
func (h *hall) due(every time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now != nil && h.pending == nil && (h.again || time.Since(h.loaded) >= every)
}
