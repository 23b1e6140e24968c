package hub

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

const (
	// maxSenders bounds the goroutines of one sweep; there is one per core.
	maxSenders = 16
	// perSender is how many visitors are worth one more goroutine.
	perSender = 512
	// slack is the part of the tick that is left for the read and for lateness.
	slack = PositionTick / 10
	// spacing is the most time between two frames: a small crowd hears at once, a
	// big one is spread over the whole tick.
	spacing = time.Millisecond
	// stride is how many frames go out between two looks at the clock.
	stride = 32
)

// step is one session of a sweep; position 0: it has none in this read.
type step struct {
	session  *Session
	position room.Position
}

// news is what one sweep has to say beside the positions.
type news struct {
	waiting int64
	flow    flow
	rev     uint32
	room    []byte // the room message
	exact   bool   // the read is good: positions may be told
}

// sender is one goroutine's tools, kept from tick to tick.
type sender struct {
	buf   []byte
	timer *time.Timer
	sent  int
	busy  int
	now   uint32 // on the node's clock, read once per stride
}

// positions is one position tick.
func (c *roomHub) positions(ctx context.Context, start time.Time) {
	s, err := c.read(ctx)
	if ctx.Err() != nil {
		return
	}
	n := news{exact: err == nil}
	switch {
	case err == nil:
		c.mu.Lock()
		c.good = start
		c.mu.Unlock()
	case errors.Is(err, room.ErrRecovering), errors.Is(err, room.ErrUnknown):
		// Recovering is shown already or about to be; unknown ends with the
		// registry's next look.
		if errors.Is(err, room.ErrRecovering) {
			c.mu.Lock()
			c.show(shown{state: room.ShownRecovering})
			c.mu.Unlock()
		}
		c.flow.reset()
	default:
		c.mu.Lock()
		stalled := start.Sub(c.good) > stalledAfter
		if stalled {
			c.show(shown{state: room.ShownStalled})
		}
		c.mu.Unlock()
		if stalled {
			c.flow.reset()
		}
	}
	c.mu.Lock()
	c.settle()
	c.plan = c.plan[:0]
	if n.exact {
		n.waiting = s.Waiting
		n.flow = c.flow.add(s)
		c.place(s)
	} else {
		for _, i := range c.waiting {
			c.plan = append(c.plan, step{i.session, 0})
		}
	}
	for _, v := range c.rest {
		c.plan = append(c.plan, step{v, 0})
	}
	n.rev, n.room = c.shown.rev, c.shown.frame(start)
	c.mu.Unlock()
	c.all.metrics.tick.Observe(time.Since(start).Seconds())
	c.send(ctx, start, &n)
	clear(c.plan) // no session is kept alive by a plan
}

// place plans the position of every waiting session by one pass in order of
// number. Who has left the line is for the turn tick to look up; a number above
// the read's seq waits for the next read. The caller holds mu.
func (c *roomHub) place(s room.Snapshot) {
	c.bits.Reset(s.Head, s.Seq, s.GoneFrom, s.Gone)
	cursor := c.bits.Cursor()
	clear(c.suspect)
	c.suspect = c.suspect[:0]
	for _, i := range c.waiting {
		p, ok := cursor.Position(i.number)
		if !ok {
			p = 0
			if i.number <= s.Seq {
				c.suspect = append(c.suspect, i.session)
			}
		}
		c.plan = append(c.plan, step{i.session, p})
	}
}

// send walks the plan, one sender per core, evenly over the tick. It returns when
// every sender has ended.
func (c *roomHub) send(ctx context.Context, start time.Time, n *news) {
	count := min(maxSenders, runtime.GOMAXPROCS(0), 1+len(c.plan)/perSender)
	span := min(PositionTick-slack-time.Since(start), time.Duration(len(c.plan))*spacing)
	from := time.Now()
	var wg sync.WaitGroup
	for i := 1; i < count; i++ {
		wg.Go(func() { c.slots[i].walk(ctx, c.plan, i, count, from, span, n) })
	}
	c.slots[0].walk(ctx, c.plan, 0, count, from, span, n)
	wg.Wait()
	sent, busy := 0, 0
	for i := range count {
		sent, busy = sent+c.slots[i].sent, busy+c.slots[i].busy
		c.slots[i].sent, c.slots[i].busy = 0, 0
	}
	c.all.metrics.swept(c.name, sent, busy)
}

// walk tells every count-th session from first on.
func (s *sender) walk(ctx context.Context, plan []step, first, count int, from time.Time, span time.Duration, n *news) {
	if s.timer == nil {
		s.timer = time.NewTimer(time.Hour)
		s.timer.Stop()
		s.buf = make([]byte, 0, 160) // the longest position is 104 bytes
	}
	for i, turn := first, 0; i < len(plan); i, turn = i+count, turn+1 {
		if turn%stride == 0 {
			if wait := time.Until(from.Add(span * time.Duration(i) / time.Duration(len(plan)))); wait > time.Millisecond {
				s.timer.Reset(wait)
				select {
				case <-s.timer.C:
				case <-ctx.Done():
					return
				}
			}
			s.now = plan[i].session.crowd.all.clock()
		}
		s.tell(plan[i], n)
	}
}

// tell offers one session what is new to it: the room when it changed, the position
// when it changed or the beat is due.
func (s *sender) tell(p step, n *news) {
	v := p.session
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.sinks) == 0 {
		return
	}
	spoke, ok := false, true
	due := v.spoke == 0 || int32(s.now-v.spoke) >= int32(beatAfter/time.Millisecond)
	if v.rev != n.rev {
		spoke = true
		if ok = v.offer(n.room); ok {
			v.rev = n.rev
		}
	}
	state := v.standing()
	switch {
	case state == waits && p.position > 0 && n.exact:
		if p.position == v.last && !due {
			break
		}
		low, high := n.flow.eta(p.position)
		s.buf = wire.AppendPosition(s.buf[:0], p.position, n.waiting, low, high)
		spoke = true
		took := v.offer(s.buf)
		if took {
			v.last = p.position
			s.sent++
		}
		ok = took && ok
	case !spoke && due:
		spoke = true
		ok = v.offer(n.room)
	}
	switch {
	case spoke && ok:
		v.spoke = s.now
	case spoke:
		s.busy++ // what was not taken is due again at the next tick
	}
}
