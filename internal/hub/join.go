package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
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

// queue holds what waits for the line, at most MaxQueue together.
type queue struct {
	mu      sync.Mutex
	joins   []*request
	returns []*request
	ended   bool

	kick chan struct{}
	lane room.Lane // owned by the batcher
}

func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.ended:
		return room.ErrAway
	case len(q.joins)+len(q.returns) >= MaxQueue:
		return ErrOverloaded
	case r.place.Number == 0:
		q.joins = append(q.joins, r)
	default:
		q.returns = append(q.returns, r)
	}
	select {
	case q.kick <- struct{}{}:
	default:
	}
	return nil
}

// take removes up to MaxBatch requests of a kind.
func (q *queue) take(from *[]*request) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(*from), room.MaxBatch)
	batch := (*from)[:n:n]
	*from = (*from)[n:]
	if len(*from) == 0 {
		*from = nil
	}
	return batch
}

// Join gives a new visitor a place at the tail and tells joined and room to its
// first connection. Positions follow with the ticks.
func (c *Hub) Join(ctx context.Context, name room.Name, s Sink) (*Session, error) {
	return c.come(ctx, name, &request{place: room.Place{Visitor: room.NewVisitorID()}}, s)
}

// Return brings a visitor back to a verified place, beside the connections that
// show it already.
func (c *Hub) Return(ctx context.Context, name room.Name, epoch room.Epoch, p room.Place, s Sink) (*Session, error) {
	return c.come(ctx, name, &request{place: p, epoch: epoch}, s)
}

func (c *Hub) come(ctx context.Context, name room.Name, r *request, s Sink) (v *Session, err error) {
	defer func() { c.metrics.came(name, r, err) }()
	crowd, err := c.crowd(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = known(err) }()
	if err := crowd.enter(); err != nil {
		return nil, err
	}
	defer func() {
		if v == nil {
			crowd.exit()
		}
	}()
	r.at, r.answer = time.Now(), make(chan answer, 1)
	if err := crowd.queue.put(r); err != nil {
		return nil, err
	}
	select {
	case a := <-r.answer:
		if a.err != nil {
			return nil, a.err
		}
		return crowd.attach(a, s)
	case <-ctx.Done():
		// The place may exist all the same: nobody comes for it, and it stays in
		// the line until it is popped.
		return nil, room.ErrAway
	}
}

// Watch shows a room to a connection without a place: who was refused hears with
// the next tick, at each change and with the beat how the room stands, and so when
// to ask again.
// nil: this node does not know the room. Their number is bounded by that of
// connections.
func (c *Hub) Watch(name room.Name, s Sink) *Session {
	r, _, err := c.find(name)
	if err != nil || r.enter() != nil {
		return nil
	}
	v := &Session{crowd: r, sinks: []Sink{s}, inRest: true, spoke: c.clock()}
	v.state.Store(over)
	r.mu.Lock()
	// The next tick tells, out of a read that is younger than the refusal: what was
	// shown last may be the state before it, and would look like a reopening.
	v.rev = r.shown.rev - 1
	closed := r.closed
	if !closed {
		r.rest = append(r.rest, v)
	}
	r.mu.Unlock()
	if closed {
		r.exit()
		return nil
	}
	return v
}

// attach registers a connection and tells it where it stands. On success the
// crowd's people counts the session, once.
func (c *roomHub) attach(a answer, s Sink) (*Session, error) {
	token, err := c.all.signer.Place(c.name, a.epoch, a.place)
	if err != nil {
		return nil, err
	}
	joined := wire.Encode(wire.JoinedMessage{Type: wire.Joined, Place: token, Number: a.place.Number, Epoch: a.epoch, BeatMS: BeatMost.Milliseconds()})

	c.mu.Lock()
	if c.closed || a.epoch != c.epoch {
		closed := c.closed
		c.mu.Unlock()
		if closed {
			return nil, room.ErrUnknown
		}
		return nil, room.ErrEpoch
	}
	shown := c.shown
	v := c.sessions[a.place.Visitor]
	if v != nil {
		v.mu.Lock()
		if v.standing() == detached {
			v.mu.Unlock()
			v = nil
		}
	}
	fresh := v == nil
	if fresh {
		v = &Session{crowd: c, place: a.place, epoch: a.epoch, rev: shown.rev, spoke: c.all.clock()}
		v.mu.Lock()
		c.sessions[a.place.Visitor] = v
		v.inWaiting = true
		c.fresh = append(c.fresh, item{a.place.Number, v})
	}
	c.mu.Unlock()

	if !slices.Contains(v.sinks, s) { // a second join on one connection
		v.sinks = append(v.sinks, s)
	}
	if len(v.sinks) > MaxSinks {
		oldest := v.sinks[0]
		v.sinks = append(v.sinks[:0:0], v.sinks[1:]...)
		oldest.Send(wire.EncodeError(wire.TooManyTabs))
		oldest.Close(wire.Codes[wire.TooManyTabs].Close)
	}
	s.Send(joined)
	if shown.state != "" {
		s.Send(shown.frame(time.Now()))
	}
	v.mu.Unlock()
	if !fresh {
		c.exit() // people counts it already
	}
	if a.stand.Standing != room.Waiting || !fresh {
		v.stand(a.stand, s)
	}
	return v, nil
}

// batches collects joins and returns and takes them to the line until ctx ends;
// then whoever waits is answered ErrAway.
func (c *roomHub) batches(ctx context.Context) {
	q := &c.queue
	for ctx.Err() == nil {
		select {
		case <-q.kick:
		case <-ctx.Done():
			continue
		}
		time.Sleep(collect)
		for ctx.Err() == nil {
			joins, returns := q.take(&q.joins), q.take(&q.returns)
			if len(joins)+len(returns) == 0 {
				break
			}
			c.join(ctx, patient(joins))
			c.rejoin(ctx, patient(returns))
		}
	}
	q.mu.Lock()
	q.ended = true
	left := append(q.joins, q.returns...)
	q.joins, q.returns = nil, nil
	q.mu.Unlock()
	fail(left, room.ErrAway)
}

// patient answers those whose patience is over, and returns the others.
func patient(batch []*request) []*request {
	now := time.Now()
	kept := batch[:0]
	for _, r := range batch {
		if now.Sub(r.at) >= Patience {
			r.answer <- answer{err: room.ErrAway}
		} else {
			kept = append(kept, r)
		}
	}
	return kept
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		r.answer <- answer{err: err}
	}
}

// ready makes sure that the conf is known, and with it the epoch to ask for.
func (c *roomHub) ready(ctx context.Context) error {
	c.mu.Lock()
	known := c.known
	c.mu.Unlock()
	if known {
		return nil
	}
	_, err := c.read(ctx)
	return err
}

// join sends one batch. A batch whose answer was lost is sent again under its
// number, until it is answered or the patience of its oldest visitor is over.
// Then the lane is given up with it: a later batch must not be taken for it.
func (c *roomHub) join(ctx context.Context, batch []*request) {
	if len(batch) == 0 {
		return
	}
	q := &c.queue
	ids := make([]room.VisitorID, len(batch))
	for i, r := range batch {
		ids[i] = r.place.Visitor
	}
	q.lane.Batch++
	epochs := 0 // how often the line was of another epoch than we thought
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 400*time.Millisecond) {
		caller, joined, err := c.joinOnce(ctx, ids)
		switch {
		case err == nil:
			c.saw(caller.Epoch, joined.First+room.Number(joined.Granted)-1)
			for i, r := range batch {
				a := answer{err: room.ErrFull}
				if i < joined.Granted {
					place := room.Place{Visitor: r.place.Visitor, Number: joined.First + room.Number(i)}
					a = answer{place: place, epoch: caller.Epoch, stand: room.Stand{Standing: room.Waiting}}
				}
				r.answer <- a
			}
			return
		case errors.Is(err, room.ErrEpoch) && epochs < 2:
			epochs++
			c.forget()
			continue
		case definite(err):
			if errors.Is(err, room.ErrStaleBatch) {
				q.lane = room.Lane{Name: c.all.lane()}
				err = room.ErrAway
			}
			fail(batch, err)
			return
		}
		c.all.metrics.failed("join", err)
		if ctx.Err() == nil && time.Since(batch[0].at) < Patience {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
			}
		}
		q.lane = room.Lane{Name: c.all.lane()}
		fail(batch, room.ErrAway)
		return
	}
}

func (c *roomHub) joinOnce(ctx context.Context, ids []room.VisitorID) (room.Caller, room.Joined, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if err := c.ready(ctx); err != nil {
		return room.Caller{}, room.Joined{}, err
	}
	caller := c.caller()
	joined, err := c.all.line.Join(ctx, c.name, caller, c.queue.lane, ids)
	return caller, joined, err
}

// rejoin asks where a batch of places stands. It writes nothing, so a repeat is
// always safe.
func (c *roomHub) rejoin(ctx context.Context, batch []*request) {
	if len(batch) == 0 {
		return
	}
	if err := c.ready(ctx); err != nil && definite(err) {
		fail(batch, err)
		return
	}
	// A place of an epoch that we do not know may be of a newer line.
	if c.strangers(batch) {
		c.forget()
	}
	var epoch room.Epoch
	var places []room.Place
	stands, _, err := patiently(ctx, c, "rejoin", func(ctx context.Context) ([]room.Stand, error) {
		if err := c.ready(ctx); err != nil {
			return nil, err
		}
		epoch, places = c.caller().Epoch, places[:0]
		for _, r := range batch {
			if r.epoch == epoch {
				places = append(places, r.place)
				c.saw(epoch, r.place.Number)
			}
		}
		if len(places) == 0 {
			return nil, nil
		}
		return c.all.line.Rejoin(ctx, c.name, c.caller(), places)
	})
	if err != nil {
		fail(batch, err)
		return
	}
	i := 0
	for _, r := range batch {
		if r.epoch != epoch {
			r.answer <- answer{err: room.ErrEpoch}
			continue
		}
		r.answer <- answer{place: r.place, epoch: epoch, stand: stands[i]}
		i++
	}
}

func (c *roomHub) strangers(batch []*request) bool {
	epoch := c.caller().Epoch
	for _, r := range batch {
		if r.epoch != epoch {
			return true
		}
	}
	return false
}
