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
	// loners is how many acts run by themselves, waiting for a stranger's lock.
	loners = 8
	// raceTries bounds how often an act looks again after others were faster at its rows.
	// Each time somebody has made progress.
	raceTries = 20
	// batchLimit bounds one transaction of a batch, aloneLimit that of an act by itself,
	// which may wait for a lock.
	batchLimit = 10 * time.Second
	aloneLimit = 8 * time.Second
)

// lane is where acts that may be decided together wait: those of one room, and the
// confirms, which need the room's counter, apart from the others.
type lane struct {
	room   room.Name
	counts bool
}

// waiting is an act in the queue.
type waiting struct {
	act  *act
	done chan struct{}

	// Guarded by the gatherer's mu.
	gone  bool // its visitor waits no longer, and it was not begun: it is passed over
	begun bool
}

// gatherer gathers acts: what waits while a transaction of the same lane runs is decided in
// the next one, all in one. So under load a transaction serves many, and without load
// nobody waits. It has goroutines only while there are acts.
type gatherer struct {
	run    func(ctx context.Context, acts []*act, alone bool) error
	most   int // batches at once
	single chan struct{}

	mu      sync.Mutex
	lanes   map[lane][]*waiting // in order of arrival; a lane is there while it has acts or one is running
	running map[lane]bool
	ready   []lane // have acts and are not running, in order of their oldest act
	count   int    // acts that wait
	workers int
}

func newGatherer(most int, run func(ctx context.Context, acts []*act, alone bool) error) *gatherer {
	return &gatherer{run: run, most: most, single: make(chan struct{}, loners), lanes: map[lane][]*waiting{}, running: map[lane]bool{}}
}

// do waits until the act is decided, and returns what it came to. When ctx ends before
// it was begun, it is not done; after that its end is unknown: sqldb.ErrUnsure.
func (q *gatherer) do(ctx context.Context, a *act) error {
	w := &waiting{act: a, done: make(chan struct{})}
	if err := q.add(w, lane{a.pass.Room, a.kind == toConfirm}); err != nil {
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

// alone runs an act by itself, where it may wait for somebody's lock and its fault is
// nobody else's. While all loners wait, so does the lane: acts are not piled up.
func (q *gatherer) alone(w *waiting) {
	q.single <- struct{}{}
	go func() { // ends with aloneLimit
		defer func() { <-q.single }()
		ctx, cancel := context.WithTimeout(context.Background(), aloneLimit)
		defer cancel()
		for range raceTries {
			if err := q.run(ctx, []*act{w.act}, true); err != nil {
				w.act.err = err
			}
			if !errors.Is(w.act.err, errAlone) {
				break
			}
		}
		if errors.Is(w.act.err, errAlone) {
			w.act.err = fmt.Errorf("%w: too many are at the same rows", sqldb.ErrAway)
		}
		close(w.done)
	}()
}
