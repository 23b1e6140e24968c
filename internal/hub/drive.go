package hub

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
)

const (
	// moves is how long turns are looked for after the last sign that a room moves. An
	// admitter marks a room that it admits from when nobody was admitted there for less
	// than this, so that the first turn after a rest is found at once.
	moves = 5 * time.Second
	// changes is for how long after a pulse that changed the next one brings no tick of its
	// own: to that one, and half a second for one that is late. The room's tick between the
	// two reads what changed since the first, and the next one what changed since then.
	changes = PositionTick * 3 / 2
	// rereadAfter is how old a read of a room gets in which nothing changes, by its pulse;
	// rereadSpread is added by room, so that many that were read together are not again.
	rereadAfter  = 25 * time.Second
	rereadSpread = 10 * time.Second
)

// drive starts the ticks that are due. A tick runs in a goroutine of its own, one of
// a kind per room at a time; a room that nobody watches has none, and one in which
// nothing changes has a position tick a second that asks the line nothing.
func (h *Hub) drive(now time.Duration) {
	for _, r := range h.all() {
		r.drivePresence(now)
		if !r.awake.Load() {
			continue
		}
		if r.positionsDue(now) && r.telling.CompareAndSwap(false, true) {
			r.nextPositions(now)
			h.spawn(func() {
				defer r.telling.Store(false)
				r.tellPositions(r.ctx, time.Now())
			})
		}
		if r.turnsDue(now) {
			r.lookForTurns()
		}
	}
}

// positionsDue reports that a second is over, within half of what two looks are apart;
// that a room at rest has changed, or that it is time to say that the line is away.
func (r *roomHub) positionsDue(now time.Duration) bool {
	return r.phaseDue(now) || r.soon.Load() || r.view.overdue(time.Now())
}

func (r *roomHub) phaseDue(now time.Duration) bool {
	return time.Duration(r.next.Load()) <= now+TurnTick/2
}

// nextPositions keeps the phase of the room's ticks: it spreads rooms over the second. A
// tick that comes for another reason moves none of those.
func (r *roomHub) nextPositions(now time.Duration) {
	r.soon.Store(false)
	if !r.phaseDue(now) {
		return
	}
	next := time.Duration(r.next.Load()) + PositionTick
	if next <= now {
		next = now + PositionTick
	}
	r.next.Store(int64(next))
}

// turnsDue reports that the room moves, or that a session's moment has come.
func (r *roomHub) turnsDue(now time.Duration) bool {
	due := time.Duration(r.roster.due.next.Load())
	return r.moving(now) || due != 0 && due <= now
}

func (r *roomHub) moving(now time.Duration) bool { return now < time.Duration(r.until.Load()) }

// stir has turns looked for from now on, for a while.
func (r *roomHub) stir() { r.until.Store(int64(r.hub.now() + moves)) }

// lookForTurns starts a turn tick, unless one is under way.
func (r *roomHub) lookForTurns() {
	if r.turning.CompareAndSwap(false, true) {
		r.hub.spawn(func() {
			defer r.turning.Store(false)
			r.tellTurns(r.ctx, time.Now())
		})
	}
}

// pulsed takes a room's pulse. A room that rested and changed is read at once, not at its
// next tick: a change is seen within a second, as in one that is read every second, and
// whoever is found gone has turns looked for.
func (h *Hub) pulsed(name room.Name, began time.Time, p room.Pulse, err error) {
	r, _ := h.find(name)
	if r == nil && err == nil && p.Stats.Joined > 0 {
		r, _ = h.open(name) // whoever waits there may be gone: a node has to say so
	}
	if r == nil {
		return
	}
	if err == nil {
		r.rev.Store(p.Rev)
		r.follow(p)
	}
	if !r.awake.Load() {
		return
	}
	if err != nil {
		h.failed(r.ctx, "pulse", err)
	}
	if now := h.now(); r.view.pulsed(began, p, err) && !r.moving(now) {
		if now >= time.Duration(r.changing.Load()) {
			r.soon.Store(true)
		}
		r.changing.Store(int64(now + changes))
	}
}

// follow compares a pulse with the one before. A line that noticed a loss waits for the marks
// of those who were alive, and nobody reads a room that nobody is in.
func (r *roomHub) follow(p room.Pulse) {
	lost := r.followed && p.Losses != r.losses
	r.losses, r.followed = p.Losses, true
	if epoch := r.view.caller().Epoch; lost && epoch != "" {
		r.eventDue.Store(true) // whoever brought the line back may not know it
		r.report()
	}
}

// busy are the rooms that were empty before a join of ours, which nobody may be
// looking at: they are marked for the admitters. At most as many as there are rooms.
type busy struct {
	mu    sync.Mutex // taken alone
	rooms map[room.Name]struct{}
	sends bool // a goroutine sends them, until none is left
}

// mark says that somebody came to an empty room. It waits for nobody; a mark that is
// lost costs the visitor a second.
func (h *Hub) mark(name room.Name) {
	h.busy.mu.Lock()
	if h.busy.rooms == nil {
		h.busy.rooms = map[room.Name]struct{}{}
	}
	h.busy.rooms[name] = struct{}{}
	start := !h.busy.sends
	h.busy.sends = true
	h.busy.mu.Unlock()
	if start {
		h.spawn(h.sendMarks)
	}
}

func (h *Hub) sendMarks() {
	for {
		h.busy.mu.Lock()
		names := slices.Collect(maps.Keys(h.busy.rooms))
		clear(h.busy.rooms)
		h.busy.sends = len(names) > 0
		h.busy.mu.Unlock()
		if len(names) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(h.ctx, readLimit)
		h.failed(ctx, "mark", h.line.MarkBusy(ctx, names...))
		cancel()
	}
}

// followMarks looks for turns in rooms that somebody marked, until ctx ends: one short
// read for all rooms, while anybody is here. What it misses is found by the pulse.
func (h *Hub) followMarks(ctx context.Context) {
	tick := time.NewTicker(TurnTick)
	defer tick.Stop()
	for since := ""; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !h.watched() {
			since = "" // what happened while nobody was here is nobody's business
			continue
		}
		call, cancel := context.WithTimeout(ctx, readLimit)
		names, next, err := h.line.Busy(call, since)
		h.failed(call, "busy", err)
		cancel()
		if err != nil {
			continue
		}
		since = next
		for _, name := range names {
			if r, _ := h.find(name); r != nil && r.awake.Load() {
				r.stir()
				r.lookForTurns()
			}
		}
	}
}

// watched reports that somebody is here.
func (h *Hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rooms {
		if r.awake.Load() {
			return true
		}
	}
	return false
}
