package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
)

// request is a join (number 0) or a return that waits for its batch.
type request struct {
	place  room.Place
	epoch  room.Epoch // of a return
	at     time.Time
	answer chan answer // holds one: the batcher never waits for a visitor
}

type answer struct {
	place room.Place
	epoch room.Epoch
	stand room.Stand
	err   error
}

// kind tells joins from returns. Each goes its own way: while joins wait for a line
// that recovers, whoever has a place is answered.
type kind int

const (
	newcomers kind = iota
	returns
	kinds
)

// joins is what waits for the line, at most MaxJoins together.
type joins struct {
	mu      sync.Mutex
	queue   [kinds][]*request
	busy    [kinds]bool // a goroutine takes them to the line, until the queue is empty
	held    []*request  // returns to a line we do not know, until the next read
	unheard *unheard    // the batch to give back before anybody joins; nil: none
	ended   bool

	lane room.Lane // owned by the goroutine of the newcomers
}

// put queues a request. start: nobody takes its kind to the line, and the caller has
// to see to it.
func (j *joins) put(r *request) (k kind, start bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r.place.Number > 0 {
		k = returns
	}
	switch {
	case j.ended:
		return k, false, room.ErrAway
	case len(j.queue[newcomers])+len(j.queue[returns])+len(j.held) >= MaxJoins:
		return k, false, room.ErrOverloaded
	}
	j.queue[k] = append(j.queue[k], r)
	start = !j.busy[k]
	j.busy[k] = true
	return k, start, nil
}

// hold keeps returns to a line that we do not know.
func (j *joins) hold(batch []*request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = append(j.held, batch...)
}

// holds reports that somebody waits for a read.
func (j *joins) holds() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.held) > 0
}

// release puts back the held; start as in put.
func (j *joins) release() (start bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.held) == 0 {
		return false
	}
	j.queue[returns], j.held = append(j.queue[returns], j.held...), nil
	start = !j.busy[returns]
	j.busy[returns] = true
	return start
}

// take removes up to MaxBatch requests of a kind; none: its goroutine ends.
func (j *joins) take(k kind) []*request {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := &j.queue[k]
	n := min(len(*from), room.MaxBatch)
	batch := (*from)[:n:n]
	*from = (*from)[n:]
	if len(*from) == 0 {
		*from = nil
	}
	j.busy[k] = n > 0
	return batch
}

// close ends it and returns who still waits.
func (j *joins) close() (left []*request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = true
	left = append(append(j.queue[newcomers], j.queue[returns]...), j.held...)
	j.queue, j.held = [kinds][]*request{}, nil
	return left
}

// ask queues a request and has it taken to the line.
func (r *roomHub) ask(q *request) error {
	k, start, err := r.joins.put(q)
	if start {
		r.batches(k)
	}
	return err
}

// release has those asked again who were held for a read.
func (r *roomHub) release() {
	if r.joins.release() {
		r.batches(returns)
	}
}

// batches takes requests of a kind to the line until none is left, in a goroutine
// that Run waits for. Once the hub has ended there is none: Run answers who waits.
func (r *roomHub) batches(k kind) {
	r.hub.spawn(func() {
		time.Sleep(collect)
		for {
			batch := r.joins.take(k)
			switch {
			case len(batch) == 0:
				return
			case k == newcomers:
				r.join(r.ctx, patient(batch))
			default:
				r.rejoin(r.ctx, patient(batch))
			}
		}
	})
}

// patient answers those whose patience is over, and returns the others.
func patient(batch []*request) []*request {
	now := time.Now()
	kept := batch[:0]
	for _, q := range batch {
		if now.Sub(q.at) >= Patience {
			q.answer <- answer{err: room.ErrAway}
		} else {
			kept = append(kept, q)
		}
	}
	return kept
}

func fail(batch []*request, err error) {
	for _, q := range batch {
		q.answer <- answer{err: err}
	}
}

// join sends one batch. A batch whose answer was lost is sent again under its
// number, and so is one that comes while the line collects what its callers saw,
// until it is answered or the patience of its oldest visitor is over. A batch that
// may have taken effect unheard gives its lane up with it: a later one must not be
// taken for it. It is given back before the next one joins.
func (r *roomHub) join(ctx context.Context, batch []*request) {
	if len(batch) == 0 {
		return
	}
	lane := &r.joins.lane
	ids := make([]room.VisitorID, len(batch))
	for i, q := range batch {
		ids[i] = q.place.Visitor
	}
	lane.Batch++
	epochs := 0       // how often the line was of another epoch than we thought
	var lost *unheard // the last try that had no answer, and may have taken effect
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 400*time.Millisecond) {
		caller, joined, asked, err := r.joinOnce(ctx, ids)
		r.hub.failed(ctx, "join", err)
		if asked && (room.Retryable(err) || errors.Is(err, context.Canceled)) {
			lost = &unheard{*lane, caller.Epoch}
		}
		switch {
		case err == nil:
			r.view.saw(caller.Epoch, joined.Mark())
			if joined.WasEmpty {
				r.stir()
				r.hub.mark(r.name)
			}
			for i, q := range batch {
				a := answer{err: room.ErrFull}
				if i < joined.Granted {
					place := room.Place{Visitor: q.place.Visitor, Number: joined.Number(i)}
					a = answer{place: place, epoch: caller.Epoch, stand: room.Stand{Standing: room.Waiting}}
				}
				q.answer <- a
			}
			return
		case errors.Is(err, room.ErrEpoch) && epochs < 2:
			epochs++
			r.view.forget()
			continue
		case errors.Is(err, room.ErrStaleBatch):
			lost, err = &unheard{*lane, caller.Epoch}, room.ErrAway
		case !room.Retryable(err) && !errors.Is(err, room.ErrRecovering):
			err = outcome(err)
		case ctx.Err() == nil && time.Since(batch[0].at) < Patience:
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
				err = room.ErrAway
			}
		case !errors.Is(err, room.ErrRecovering):
			err = room.ErrAway
		}
		if lost != nil {
			r.joins.giveUp(lost)
			*lane = room.Lane{Name: r.hub.lane()}
		}
		fail(batch, err)
		return
	}
}

// joinOnce is one try; asked: it came as far as the line.
func (r *roomHub) joinOnce(ctx context.Context, ids []room.VisitorID) (caller room.Caller, joined room.Joined, asked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if err := r.ready(ctx); err != nil {
		return caller, joined, false, err
	}
	if err := r.giveBack(ctx); err != nil {
		return caller, joined, false, err
	}
	caller = r.view.caller()
	joined, err = r.hub.line.Join(ctx, r.name, caller, r.joins.lane, ids)
	return caller, joined, true, err
}

// rejoin asks where a batch of places stands, each for itself: one that the line has
// lost is an answer to that place, and says nothing of the line. A repeat is always
// safe.
func (r *roomHub) rejoin(ctx context.Context, batch []*request) {
	if len(batch) == 0 {
		return
	}
	if err := r.ready(ctx); err != nil && !room.Retryable(err) {
		fail(batch, outcome(err))
		return
	}
	batch = r.strangers(batch)
	if len(batch) == 0 {
		return
	}
	epoch := batch[0].epoch
	places := make([]room.Place, len(batch))
	for i, q := range batch {
		places[i] = q.place
	}
	stands, _, err := patiently(ctx, r, "rejoin", func(ctx context.Context) ([]room.Stand, error) {
		if err := r.ready(ctx); err != nil {
			return nil, err
		}
		return r.hub.line.Rejoin(ctx, r.name, r.caller(epoch), places)
	})
	if err != nil {
		fail(batch, err)
		return
	}
	for i, q := range batch {
		a := answer{place: q.place, epoch: epoch, stand: stands[i]}
		if a.stand.Standing == room.Unseen {
			a = answer{err: room.ErrRecovering}
		}
		q.answer <- a
	}
}

// strangers keeps those places of a batch that are of our line, and takes out the
// others. One that came after the last read may be of a newer line than we know, so
// it is held until the next; of what an answered read does not know, nobody here may
// ask. So places of an older line, however many, cost no read.
func (r *roomHub) strangers(batch []*request) []*request {
	var held []*request
	kept := batch[:0]
	for _, q := range batch {
		switch epoch, told := r.view.since(q.at); {
		case q.epoch == epoch:
			kept = append(kept, q)
		case told:
			q.answer <- answer{err: room.ErrEpoch}
		default:
			held = append(held, q)
		}
	}
	if len(held) > 0 {
		r.joins.hold(held)
	}
	// The line may have been made anew between two of them.
	if len(kept) > 0 {
		first := kept[0].epoch
		kept = slices.DeleteFunc(kept, func(q *request) bool {
			if q.epoch != first {
				q.answer <- answer{err: room.ErrEpoch}
			}
			return q.epoch != first
		})
	}
	return kept
}
