package admission

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"waitroom/internal/room"
)

// worker is one room served. It is busy or it rests. Busy, it has a goroutine that
// makes rounds. Resting, it has none: the watch looks whether anything changed.
//
// Whoever holds the worker, its own goroutine or a look of the watch, owns its
// rounds. A wake of a worker that somebody holds is not lost: it is worked on once
// more before it rests.
type worker struct {
	// set once
	name    room.Name
	ctx     context.Context // of its rounds; ends with end
	cancel  context.CancelFunc
	rounds  *rounds
	relay   *relay
	board   *board
	serving *sync.WaitGroup // of Run, which waits for all goroutines here
	ended   func()          // called once by the last of them

	// known is the version of the line's conf at the last good pulse, while the room
	// rests; nil while nobody can say. Written by the holder.
	known atomic.Pointer[confRev]

	mu      sync.Mutex
	held    bool      // guarded by mu
	again   bool      // woken while held; guarded by mu
	checkAt time.Time // when a full round is due though nothing changed; guarded by mu
	opensAt time.Time // when the room may open by itself, zero for never; guarded by mu
	suspect bool      // the last call failed: the next good pulse is followed by a round; guarded by mu
}

// confRev names one state of a room's conf.
type confRev struct {
	epoch room.Epoch
	rev   int64
}

// wake has the room worked on at once.
func (w *worker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held {
		w.again = true
		return
	}
	w.held = true
	w.serving.Go(w.work)
}

// take takes a resting room for a look; release gives it back.
func (w *worker) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held {
		return false
	}
	w.held = true
	return true
}

// release ends a look. A room that was woken meanwhile, or in which the look found
// something, is worked on.
func (w *worker) release(found bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found || w.again || w.ctx.Err() != nil {
		w.again = false
		w.serving.Go(w.work)
		return
	}
	w.held = false
}

// work makes rounds until the room rests or is served no longer. Run waits for it.
func (w *worker) work() {
	w.known.Store(nil)
	for {
		w.rounds.run(w.ctx)
		if w.ctx.Err() != nil {
			w.finish()
			return
		}
		if w.rest() {
			return
		}
	}
}

// rest lets go of the room, unless it was woken or ended in the meantime.
func (w *worker) rest() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.again || w.ctx.Err() != nil {
		w.again = false
		return false
	}
	r := w.rounds
	// Rooms that began to rest together are not looked at together.
	w.checkAt = time.Now().Add(checkEvery - rand.N(checkEvery/2))
	if r.last.Outbox > 0 {
		w.checkAt = time.Now() // at each look: other replicas may hold the entries, and die
	}
	w.opensAt, w.suspect = r.opensAt, r.failing || !r.settled
	if !w.suspect {
		w.known.Store(&confRev{r.caller.Epoch, r.pulse.Rev})
	}
	w.held = false
	return true
}

// end has the room served no longer. It does not wait, and may be called again.
func (w *worker) end() {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.held {
		w.held = true
		w.serving.Go(w.work)
	}
}

// finish is the last thing done for a room: what was admitted is relayed. The
// worker stays held, so that nobody takes it any more.
func (w *worker) finish() {
	w.relay.finish()
	w.rounds.metrics.forget(w.name)
	w.ended()
	w.rounds.log.Info("no longer serving room")
}

// due says what a resting room gets at a look: a round, or else a pulse; opens says
// that it gets a round at once.
func (w *worker) due(now time.Time) (rests, opens, round bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	opens = !w.suspect && !w.opensAt.IsZero() && !now.Before(w.opensAt.Add(-opensSoon))
	return !w.held, opens && !w.held, !w.suspect && !now.Before(w.checkAt)
}

// seen takes what a look found. The caller holds the worker.
func (w *worker) seen(ctx context.Context, pulse room.Pulse, err error) (changed bool) {
	r := w.rounds
	w.mu.Lock()
	suspect := w.suspect
	w.suspect = err != nil
	w.mu.Unlock()
	switch {
	case room.Retryable(err):
		r.cause.failed(ctx, err)
		return false
	case err != nil, suspect:
		// A round says what is the matter.
		r.settled = false
		return true
	case pulse == r.pulse:
		r.cause.holds(ctx, r.last)
		return false
	}
	// Nothing that a visitor does moves a room that an operator stopped. After a loss
	// the line asks for the marks of all processes: a round tells ours.
	idle := pulse.Rev == r.pulse.Rev && pulse.Losses == r.pulse.Losses && stopped(r.last.Stop)
	if pulse.Rev != r.pulse.Rev {
		r.settled = false // opens_at may be another
	}
	r.pulse = pulse
	if idle {
		r.cause.holds(ctx, r.last)
	}
	return !idle
}
