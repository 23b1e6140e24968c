package hub

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"waitroom/internal/rank"
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

// tell is one session of a plan; position 0: it has none in this read.
type tell struct {
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
	hub     *Hub   // for its clock
}

// sender is one goroutine's tools, kept from tick to tick.
type sender struct {
	buf   []byte
	timer *time.Timer
	sent  int
	busy  int
	now   uint32 // on the node's clock, read once per stride
}

// positionTick is owned by the goroutine of the position ticks; what is in it is
// reused, so that a tick allocates nothing.
type positionTick struct {
	bits  rank.Bits
	plan  []tell
	flow  outflow
	slots [maxSenders]sender
}

// tellPositions is one position tick.
func (r *roomHub) tellPositions(ctx context.Context, start time.Time) {
	t := &r.positions
	s, err := r.read(ctx)
	r.joins.release()
	if ctx.Err() != nil {
		return
	}
	n := news{exact: err == nil, hub: r.hub}
	switch {
	case err == nil:
		r.view.succeeded(start)
	case errors.Is(err, room.ErrRecovering):
		r.view.trouble(room.ShownRecovering)
		t.flow.reset()
	case errors.Is(err, room.ErrUnknown):
		t.flow.reset() // it ends with the registry's next look
	case r.view.stale(start) > stalledAfter:
		r.view.trouble(room.ShownStalled)
		t.flow.reset()
	}
	if n.exact {
		n.waiting = s.Waiting
		n.flow = t.flow.add(s)
	}
	t.compile(&r.roster, s, n.exact)
	shown := r.view.told()
	n.rev, n.room = shown.rev, shown.frame(start)
	r.hub.metrics.tick.Observe(time.Since(start).Seconds())
	t.send(ctx, start, &n)
	sent, busy := t.count()
	r.hub.metrics.swept(r.name, sent, busy)
	clear(t.plan) // no session is kept alive by a plan
}

// compile plans who is told what, in order of number, then those who do not wait.
func (t *positionTick) compile(r *roster, s room.Snapshot, exact bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.compact()
	t.plan = t.plan[:0]
	if exact {
		t.place(r, s)
	} else {
		for _, i := range r.waiting {
			t.plan = append(t.plan, tell{i.session, 0})
		}
	}
	for _, o := range r.others {
		t.plan = append(t.plan, tell{o, 0})
	}
}

// place plans the position of every waiting session by one pass in order of
// number. Who has left the line is for the turn tick to look up; a number above
// the read's seq waits for the next read. The caller holds the roster's mu.
func (t *positionTick) place(r *roster, s room.Snapshot) {
	t.bits.Reset(s.Head, s.Seq, s.GoneFrom, s.Gone)
	cursor := t.bits.Cursor()
	clear(r.suspects)
	r.suspects = r.suspects[:0]
	for _, i := range r.waiting {
		p, ok := cursor.Position(i.number)
		if !ok {
			p = 0
			if i.number <= s.Seq {
				r.suspects = append(r.suspects, i.session)
			}
		}
		t.plan = append(t.plan, tell{i.session, p})
	}
}

// send walks the plan, one sender per core, evenly over the tick. It returns when
// every sender has ended.
func (t *positionTick) send(ctx context.Context, start time.Time, n *news) {
	count := min(maxSenders, runtime.GOMAXPROCS(0), 1+len(t.plan)/perSender)
	span := min(PositionTick-slack-time.Since(start), time.Duration(len(t.plan))*spacing)
	from := time.Now()
	var wg sync.WaitGroup
	for i := 1; i < count; i++ {
		wg.Go(func() { t.slots[i].walk(ctx, t.plan, i, count, from, span, n) })
	}
	t.slots[0].walk(ctx, t.plan, 0, count, from, span, n)
	wg.Wait()
}

// count takes what the senders have counted.
func (t *positionTick) count() (sent, busy int) {
	for i := range t.slots {
		sent, busy = sent+t.slots[i].sent, busy+t.slots[i].busy
		t.slots[i].sent, t.slots[i].busy = 0, 0
	}
	return sent, busy
}

// walk tells every count-th session from first on.
func (s *sender) walk(ctx context.Context, plan []tell, first, count int, from time.Time, span time.Duration, n *news) {
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
			s.now = n.hub.clock()
		}
		s.tell(plan[i], n)
	}
}

// tell tries to send one session what is new to it: the room when it changed, the
// position when it changed or the heartbeat is due.
func (s *sender) tell(p tell, n *news) {
	to := p.session
	to.mu.Lock()
	defer to.mu.Unlock()
	if len(to.sinks) == 0 {
		return
	}
	spoke, ok := false, true
	due := to.spoke == 0 || int32(s.now-to.spoke) >= int32(beatAfter/time.Millisecond)
	if to.rev != n.rev {
		spoke = true
		if ok = to.trySend(n.room); ok {
			to.rev = n.rev
		}
	}
	switch {
	case to.standing() == waiting && p.position > 0 && n.exact:
		if p.position == to.last && !due {
			break
		}
		low, high := n.flow.eta(p.position)
		s.buf = wire.AppendPosition(s.buf[:0], p.position, n.waiting, low, high)
		spoke = true
		took := to.trySend(s.buf)
		if took {
			to.last = p.position
			s.sent++
		}
		ok = took && ok
	case !spoke && due:
		spoke = true
		ok = to.trySend(n.room)
	}
	switch {
	case spoke && ok:
		to.spoke = s.now
	case spoke:
		s.busy++ // what was not taken is due again at the next tick
	}
}
