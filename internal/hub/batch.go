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

// joins is what waits for the line, at most MaxJoins together.
type joins struct {
	mu      sync.Mutex
	news    []*request
	returns []*request
	held    []*request // returns to a line we do not know, until the next read
	ended   bool

	kick chan struct{}
	lane room.Lane // owned by batches
}

func (j *joins) put(r *request) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.ended:
		return room.ErrAway
	case len(j.news)+len(j.returns)+len(j.held) >= MaxJoins:
		return room.ErrOverloaded
	case r.place.Number == 0:
		j.news = append(j.news, r)
	default:
		j.returns = append(j.returns, r)
	}
	j.wake()
	return nil
}

// wake has the batches look again.
func (j *joins) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// hold keeps returns to a line that we do not know.
func (j *joins) hold(batch []*request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = append(j.held, batch...)
}

// release puts back the held.
func (j *joins) release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.held) > 0 {
		j.returns, j.held = append(j.returns, j.held...), nil
		j.wake()
	}
}

// take removes up to MaxBatch requests of a kind.
func (j *joins) take(from *[]*request) []*request {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(len(*from), room.MaxBatch)
	batch := (*from)[:n:n]
	*from = (*from)[n:]
	if len(*from) == 0 {
		*from = nil
	}
	return batch
}

// batches collects joins and returns and takes them to the line until ctx ends;
// then whoever waits is answered ErrAway.
func (r *roomHub) batches(ctx context.Context) {
	j := &r.joins
	for ctx.Err() == nil {
		select {
		case <-j.kick:
		case <-ctx.Done():
			continue
		}
		time.Sleep(collect)
		for ctx.Err() == nil {
			news, returns := j.take(&j.news), j.take(&j.returns)
			if len(news)+len(returns) == 0 {
				break
			}
			r.join(ctx, patient(news))
			r.rejoin(ctx, patient(returns))
		}
	}
	j.mu.Lock()
	j.ended = true
	left := append(append(j.news, j.returns...), j.held...)
	j.news, j.returns, j.held = nil, nil, nil
	j.mu.Unlock()
	if r.gone() {
		fail(left, room.ErrDeleted)
	} else {
		fail(left, room.ErrAway)
	}
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
// number, until it is answered or the patience of its oldest visitor is over.
// Then the lane is given up with it: a later batch must not be taken for it.
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
	epochs := 0 // how often the line was of another epoch than we thought
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 400*time.Millisecond) {
		caller, joined, err := r.joinOnce(ctx, ids)
		r.hub.failed(ctx, "join", err)
		switch {
		case err == nil:
			r.view.saw(caller.Epoch, joined.Mark())
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
		case !room.Retryable(err):
			if errors.Is(err, room.ErrStaleBatch) {
				*lane = room.Lane{Name: r.hub.lane()}
				err = room.ErrAway
			}
			fail(batch, outcome(err))
			return
		}
		if ctx.Err() == nil && time.Since(batch[0].at) < Patience {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
		}
		*lane = room.Lane{Name: r.hub.lane()}
		fail(batch, room.ErrAway)
		return
	}
}

func (r *roomHub) joinOnce(ctx context.Context, ids []room.VisitorID) (room.Caller, room.Joined, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if err := r.ready(ctx); err != nil {
		return room.Caller{}, room.Joined{}, err
	}
	caller := r.view.caller()
	joined, err := r.hub.line.Join(ctx, r.name, caller, r.joins.lane, ids)
	return caller, joined, err
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
