package booking

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

// Bounds of the queue of acts.
const (
	// waitingMost is how many acts wait at once; the next one is seat.ErrBusy. At the rate
	// that the database bears they would be done in some seconds.
	waitingMost = 10_000
	// batchMost is how many acts one transaction decides: further ones save next to
	// nothing, and each waits for all.
	batchMost = 64
	// workers is how many transactions of acts run at once, each of another room or lane,
	// so that a room whose counter a stranger has locked keeps one of them at most.
	workers = 8
	// lonersMost is how many acts run by themselves at once, waiting for a stranger's lock,
	// and lonerMost how many of one lane: those of a seat that many want wait for one another,
	// and keep neither their lane nor another room's waiting.
	lonersMost = 8
	lonerMost  = 2
	// raceTries bounds how often an act looks again after others were faster at its rows.
	// Each time somebody has made progress.
	raceTries = 20
	// batchLimit bounds one transaction of a batch, aloneLimit that of an act by itself,
	// which may wait for a lock.
	batchLimit = 10 * time.Second
	aloneLimit = 8 * time.Second // from when it is set apart
)

// lane is where acts that may be decided together wait: those of one room, and the
// confirms, which need the room's counter, apart from the others.
type lane struct {
	room   room.Name
	counts bool
}

// waiting is an act in the queue.
type waiting struct {
	act   *act
	lane  lane
	done  chan struct{}
	until time.Time // when an act that is to run by itself is given up

	// Guarded by the gatherer's mu.
	gone  bool // its visitor waits no longer, and it was not begun: it is passed over
	begun bool
}

// gatherer gathers acts: what waits while a transaction of the same lane runs is decided in
// the next one, all in one. So under load a transaction serves many, and without load
// nobody waits. It has goroutines only while there are acts.
type gatherer struct {
	run  func(ctx context.Context, acts []*act, alone bool) error
	most int // batches at once

	mu      sync.Mutex
	lanes   map[lane][]*waiting // in order of arrival; a lane is there while it has acts or one is running
	running map[lane]bool
	ready   []lane              // have acts and are not running, in order of their oldest act
	lonely  map[lane][]*waiting // are to be run by themselves, in order
	single  map[lane]int        // run by themselves, lonerMost of a lane
	count   int                 // acts that wait, lonely ones too
	workers int
	loners  int
}

func newGatherer(most int, run func(ctx context.Context, acts []*act, alone bool) error) *gatherer {
	return &gatherer{run: run, most: most, lanes: map[lane][]*waiting{}, running: map[lane]bool{}, lonely: map[lane][]*waiting{}, single: map[lane]int{}}
}

// do waits until the act is decided, and returns what it came to. When ctx ends before
// it was begun, it is not done; after that its end is unknown: sqldb.ErrUnsure.
func (q *gatherer) do(ctx context.Context, a *act) error {
	w := &waiting{act: a, lane: lane{a.pass.Room, a.kind == toConfirm}, done: make(chan struct{})}
	if err := q.add(w, w.lane); err != nil {
		return err
	}
	select {
	case <-w.done:
		return w.act.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	begun := w.begun
	if !begun {
		w.gone = true
		q.count-- // the worker drops it
	}
	q.mu.Unlock()
	if begun {
		return fmt.Errorf("%w: %w", sqldb.ErrUnsure, ctx.Err())
	}
	return ctx.Err()
}

func (q *gatherer) add(w *waiting, l lane) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count >= waitingMost {
		return seat.ErrBusy
	}
	q.count++
	if len(q.lanes[l]) == 0 && !q.running[l] {
		q.ready = append(q.ready, l)
	}
	q.lanes[l] = append(q.lanes[l], w)
	if q.workers < q.most && len(q.ready) > 0 {
		q.workers++
		go q.work() // ends when no lane is ready
	}
	return nil
}

// work runs batches until no lane is ready.
func (q *gatherer) work() {
	for {
		l, batch, ok := q.take()
		if !ok {
			return
		}
		if len(batch) > 0 {
			q.decide(batch)
		}
		q.mu.Lock()
		delete(q.running, l)
		if len(q.lanes[l]) > 0 {
			q.ready = append(q.ready, l)
		} else {
			delete(q.lanes, l)
		}
		q.mu.Unlock()
	}
}

// take is the next batch of the lane that has waited longest.
func (q *gatherer) take() (l lane, batch []*waiting, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 {
		q.workers--
		return lane{}, nil, false
	}
	l, q.ready = q.ready[0], q.ready[1:]
	all := q.lanes[l]
	i := 0
	for ; i < len(all) && len(batch) < batchMost; i++ {
		if all[i].gone {
			continue
		}
		all[i].begun = true
		batch = append(batch, all[i])
	}
	q.count -= len(batch)
	q.lanes[l] = append([]*waiting(nil), all[i:]...) // the begun ones are not kept
	q.running[l] = true
	return l, batch, true
}

// decide runs a batch, and what can't be decided among others by itself.
func (q *gatherer) decide(batch []*waiting) {
	acts := make([]*act, len(batch))
	for i, w := range batch {
		acts[i] = w.act
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchLimit)
	err := q.run(ctx, acts, false)
	cancel()
	for _, w := range batch {
		switch {
		case err == nil && !errors.Is(w.act.err, errAlone):
			close(w.done)
		// What may have been done must not be done again, and a database that is away is
		// away for each of them.
		case err != nil && !errors.Is(err, errContended) && (errors.Is(err, sqldb.ErrUnsure) || errors.Is(err, sqldb.ErrAway) || errors.Is(err, context.DeadlineExceeded)):
			w.act.err = err
			close(w.done)
		default:
			q.alone(w)
		}
	}
}

// alone has an act run by itself, where it may wait for somebody's lock and its fault is
// nobody else's. Its lane goes on.
func (q *gatherer) alone(w *waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.until = time.Now().Add(aloneLimit)
	q.lonely[w.lane] = append(q.lonely[w.lane], w)
	q.count++
	if q.loners < lonersMost && q.single[w.lane] < lonerMost {
		q.loners++
		q.single[w.lane]++
		go q.lone(w.lane) // ends when there is none
	}
}

// lone runs acts of a lane by themselves, one after the other, and then those of another
// lane for which there was no room.
func (q *gatherer) lone(l lane) {
	for {
		q.mu.Lock()
		if len(q.lonely[l]) == 0 {
			delete(q.lonely, l)
			if q.single[l]--; q.single[l] == 0 {
				delete(q.single, l)
			}
			next, found := q.unattended()
			if !found {
				q.loners--
				q.mu.Unlock()
				return
			}
			l = next
			q.single[l]++
		}
		w := q.lonely[l][0]
		q.lonely[l] = q.lonely[l][1:]
		q.count--
		q.mu.Unlock()
		q.decideAlone(w)
	}
}

// unattended is a lane whose lonely acts nobody runs. The caller holds mu.
func (q *gatherer) unattended() (l lane, found bool) {
	for l, acts := range q.lonely {
		if len(acts) > 0 && q.single[l] == 0 {
			return l, true
		}
	}
	return lane{}, false
}

// decideAlone runs one act until it is decided, or its time is up: then it was not done.
func (q *gatherer) decideAlone(w *waiting) {
	defer close(w.done)
	ctx, cancel := context.WithDeadline(context.Background(), w.until)
	defer cancel()
	w.act.err = fmt.Errorf("%w: somebody has the rows locked", sqldb.ErrAway)
	for range raceTries {
		if ctx.Err() != nil {
			return
		}
		if err := q.run(ctx, []*act{w.act}, true); err != nil {
			w.act.err = err
		}
		if !errors.Is(w.act.err, errAlone) {
			return
		}
	}
	w.act.err = fmt.Errorf("%w: too many are at the same rows", sqldb.ErrAway)
}
