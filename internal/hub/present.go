package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
)

const (
	// spans is how many spans a grace has, as the line's scripts cut it, and perSpan how
	// often a node says in each whom it sees: one call of two may fail.
	spans, perSpan = 8, 2
	// sayAtLeast is the longest time between two calls, however long the grace is: a call is
	// this process's sign of life in the room, and a line that lost writes asks those who
	// gave one in the last 30 s. Two may fail.
	sayAtLeast = 10 * time.Second
	// maxPresent is how many rooms say it at once. One could do for the 133 calls a second
	// of a thousand rooms; the others are for calls that hang, of a master that is dead,
	// which must not hold up the rooms of the others.
	maxPresent = 64
	// maxWindow bounds what one call says, in bytes: a million numbers in a row. More,
	// or numbers that lie further apart, are said in several calls.
	maxWindow = 128 << 10
)

// presents are the rooms whose turn it is to say whom this node sees.
type presents struct {
	mu      sync.Mutex // taken alone
	due     []*roomHub // each once at most
	workers int        // goroutines that say it; they end when none is due
}

// drivePresence has a room say whom this node sees, twice a span or more, whether or not anybody
// is here: a span in which no node said anything tells nobody's absence. And if the line
// was not reached for half of the grace, this node's visitors are sent away.
func (r *roomHub) drivePresence(now time.Duration) {
	awake, grace := r.awake.Load(), r.view.grace()
	if now >= time.Duration(r.said.Load())+sayEvery(grace) && (awake || !r.view.isLost()) && r.saying.CompareAndSwap(false, true) {
		r.said.Store(int64(now))
		r.hub.say(r)
	}
	since := time.Duration(r.failing.Load())
	if awake && since != 0 && now >= since+grace/failsFor && r.sentAway.CompareAndSwap(false, true) {
		r.hub.spawn(func() { r.sendAway(r.ctx, grace/awayWithin) })
	}
}

// sayEvery is the time between two calls of a room.
func sayEvery(grace time.Duration) time.Duration { return min(grace/(spans*perSpan), sayAtLeast) }

// say queues a room, and starts a worker unless there are enough.
func (h *Hub) say(r *roomHub) {
	h.presents.mu.Lock()
	h.presents.due = append(h.presents.due, r)
	start := h.presents.workers < maxPresent
	if start {
		h.presents.workers++
	}
	h.presents.mu.Unlock()
	if start {
		h.spawn(h.sayPresent)
	}
}

// sayPresent is one worker.
func (h *Hub) sayPresent() {
	var w windows
	for {
		h.presents.mu.Lock()
		if len(h.presents.due) == 0 || h.ctx.Err() != nil {
			h.presents.workers--
			h.presents.mu.Unlock()
			return
		}
		r := h.presents.due[0]
		h.presents.due = slices.Delete(h.presents.due, 0, 1)
		h.presents.mu.Unlock()
		r.present(r.ctx, &w)
		r.saying.Store(false)
	}
}

// present says whom this node sees in one room, and its mark with it. What fails is said
// at the next half of a span.
func (r *roomHub) present(ctx context.Context, w *windows) {
	by, rev := r.view.heardOf()
	began := r.hub.now()
	if by.Epoch == "" { // nobody has come here yet
		if _, err := r.read(ctx); err != nil {
			return // it is counted and logged; nobody is here to be sent away
		}
		by = r.view.caller()
	}
	// Nobody reads an empty room, whose grace may have changed.
	if !r.awake.Load() && rev < r.rev.Load() {
		_, _ = r.read(ctx) // it is counted and logged; the grace of before is as good as can be
		by = r.view.caller()
	}
	w.fill(&r.roster)
	for more := true; more; more = len(w.rest) > 0 {
		from, bits := w.next()
		call, cancel := context.WithTimeout(ctx, readLimit)
		last, _, err := r.hub.line.Present(call, r.name, by, from, bits)
		r.hub.failed(call, "present", err)
		cancel()
		switch {
		case err == nil:
			r.view.saw(by.Epoch, last)
		case room.Retryable(err), room.Fault(err), errors.Is(err, context.Canceled):
			r.failing.CompareAndSwap(0, int64(began))
			return
		case errors.Is(err, room.ErrEpoch):
			_, _ = r.read(ctx) // another line of this name: nobody reads it while nobody is here
		}
		if err != nil {
			break // an answer: of a line that is gone, or full, which has nobody reaped
		}
	}
	r.failing.Store(0)
	r.sentAway.Store(false)
}

// windows cut the numbers that this node sees into windows of the bitmap. What is in it
// is reused from room to room.
type windows struct {
	numbers []room.Number
	rest    []room.Number // not yet said, in order
	bits    []byte
}

// fill takes the numbers of those who wait here, with a connection or a lease.
func (w *windows) fill(r *roster) {
	w.numbers = r.present(w.numbers[:0])
	if !slices.IsSorted(w.numbers) { // newcomers stand apart
		slices.Sort(w.numbers)
	}
	w.rest = w.numbers
}

// next is the next window, none of it when nobody is left; it is good until the one
// after.
func (w *windows) next() (from int64, bits []byte) {
	if len(w.rest) == 0 {
		return 0, nil
	}
	from = int64(w.rest[0] >> 3)
	n, _ := slices.BinarySearch(w.rest, room.Number(from+maxWindow)<<3)
	now := w.rest[:n]
	w.rest = w.rest[n:]
	w.bits = slices.Grow(w.bits[:0], int(int64(now[n-1]>>3)-from+1))[:int64(now[n-1]>>3)-from+1]
	clear(w.bits)
	for _, number := range now {
		w.bits[int64(number>>3)-from] |= 0x80 >> (number & 7)
	}
	return from, w.bits
}

// present appends the numbers of who waits here.
func (r *roster) present(to []room.Number) []room.Number {
	r.mu.Lock()
	defer r.mu.Unlock()
	to = slices.Grow(to, len(r.waiting)+len(r.fresh))
	for _, list := range [][]item{r.waiting, r.fresh} {
		for _, i := range list {
			if i.session.standing() == waiting {
				to = append(to, i.number)
			}
		}
	}
	return to
}

// grace is the room's, as far as this node knows it.
func (v *view) grace() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conf.Grace <= 0 {
		return room.DefaultGrace
	}
	return v.conf.Grace
}

// heardOf is the caller of the room's calls, and the rev of the conf that was read last.
func (v *view) heardOf() (room.Caller, int64) {
	by := v.caller()
	v.mu.Lock()
	defer v.mu.Unlock()
	return by, v.conf.Rev
}
