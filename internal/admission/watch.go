package admission

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// watchEvery is how often the watch asks which rooms were marked, and looks for
	// rooms whose time has come: half of the 100 ms within which the first visitor of
	// a quiet room is let in.
	watchEvery = 50 * time.Millisecond
	// pulseEvery is how often a resting room's pulse is read: how late a change is
	// noticed that nobody marked.
	pulseEvery = time.Second
	// checkEvery is how often a resting room has a full round in place of a pulse, or
	// up to half of that: deadlines are found by rounds only, and that the room was
	// made anew with nothing in it. 150 rounds a second for 1,000 rooms.
	checkEvery = 10 * time.Second
	// lookTimeout bounds one look, and one question for marks: what hangs for longer
	// is called away before a sign of life says that nobody makes rounds (6 s).
	lookTimeout = 2 * time.Second
)

// pulses is what resting rooms are looked at by. Pulses answers room by room, in
// the order of names, with one plain read each in one pipeline.
type pulses interface {
	Pulses(ctx context.Context, names []room.Name) ([]room.Pulse, []error)
}

// marks is the stream by which processes tell each other that a quiet room has
// begun to move. A mark that is lost costs a second.
type marks interface {
	MarkBusy(ctx context.Context, names ...room.Name) error
	Busy(ctx context.Context, since string) (names []room.Name, next string, err error)
}

// watched is what the watch needs of the line.
type watched interface {
	pulses
	marks
	// Shards groups rooms by the server that holds them.
	Shards(ctx context.Context, names []room.Name) [][]room.Name
}

// watch looks at the rooms that rest, so that a quiet one costs a read a second
// and no goroutine. It wakes those in which anything changed, those that somebody
// marked, and those whose time has come.
type watch struct {
	// set once
	line    watched
	workers func() []*worker // those served
	resting func(int)        // told how many rest
	serving *sync.WaitGroup  // of Run, which waits for all goroutines here
	outage  *outage.Log      // marks can't be read or written

	mu     sync.Mutex
	unsaid map[room.Name]bool // to be marked; room.MaxRooms at most, guarded by mu
	saying bool               // a goroutine marks them; guarded by mu
}

func newWatch(line watched, serving *sync.WaitGroup, workers func() []*worker, resting func(int), log *zap.Logger) *watch {
	return &watch{line: line, workers: workers, resting: resting, serving: serving, unsaid: map[room.Name]bool{},
		outage: outage.New(outage.Config{Log: log, Hold: hold, Down: "rooms that begin to move can't be marked, the first visitors of quiet rooms wait for up to a second",
			Up: "rooms that begin to move are marked again"})}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			look := now.Sub(looked) >= pulseEvery
			if look {
				looked = now
			}
			w.round(ctx, now, look)
		}
	}
}

// round wakes the rooms whose time has come. Once in pulseEvery it looks: those that
// have waited for a round for long get one, the others' pulses are read.
func (w *watch) round(ctx context.Context, now time.Time, look bool) {
	workers := w.workers()
	rooms := make(map[room.Name]*worker)
	var names []room.Name
	resting := 0
	for _, worker := range workers {
		rests, opens, round := worker.due(now)
		if rests {
			resting++
		}
		switch {
		case opens, rests && look && round:
			worker.wake()
		case rests && look && worker.take():
			rooms[worker.name] = worker
			names = append(names, worker.name)
		}
	}
	w.resting(resting)
	if len(names) == 0 {
		return
	}
	// Each server's rooms apart: one that is dead holds up its own, for lookTimeout,
	// and no room is looked at twice at once.
	slices.Sort(names)
	for _, names := range w.line.Shards(ctx, names) {
		w.serving.Go(func() { w.look(ctx, names, rooms) })
	}
}

// look reads the pulses of rooms that it holds, and lets go of them.
func (w *watch) look(ctx context.Context, names []room.Name, rooms map[room.Name]*worker) {
	call, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	pulses, errs := w.line.Pulses(call, names)
	for i, name := range names {
		rooms[name].release(rooms[name].seen(ctx, pulses[i], errs[i]))
	}
}

// hear wakes rooms that somebody marked, until ctx ends.
func (w *watch) hear(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	since := ""
	for {
		call, cancel := context.WithTimeout(ctx, lookTimeout)
		names, next, err := w.line.Busy(call, since)
		cancel()
		w.outage.Note(ctx, err)
		if err == nil {
			since = next
		}
		if len(names) > 0 {
			marked := make(map[room.Name]bool, len(names))
			for _, name := range names {
				marked[name] = true
			}
			for _, worker := range w.workers() {
				if marked[worker.name] {
					worker.wake()
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// say marks a room that begins to move, so that the nodes look at its head. It does
// not wait: one goroutine says what came together.
func (w *watch) say(ctx context.Context, name room.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unsaid[name] = true
	if !w.saying {
		w.saying = true
		w.serving.Go(func() { w.speak(ctx) })
	}
}

// speak marks until there is nothing left to say. A mark that does not come through
// is not said again: a second later it would be of no use.
func (w *watch) speak(ctx context.Context) {
	for {
		w.mu.Lock()
		names := make([]room.Name, 0, len(w.unsaid))
		for name := range w.unsaid {
			names = append(names, name)
		}
		clear(w.unsaid)
		w.saying = len(names) > 0
		w.mu.Unlock()
		if len(names) == 0 {
			return
		}
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		w.outage.Note(ctx, w.line.MarkBusy(call, names...))
		cancel()
	}
}
