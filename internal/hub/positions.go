package hub

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"waitroom/internal/cadence"
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
	// longAgo is the silence, in ms, of who is owed a word whatever was told before.
	longAgo = 1 << 30
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
	rule    cadence.Rule
	beat    int32 // ms: the one that room announces
	hub     *Hub  // for its clock
}

// sender is one goroutine's tools, kept from tick to tick.
type sender struct {
	buf   []byte
	timer *time.Timer
	sent  int
	busy  int
	told  int           // words offered, taken or not
	work  time.Duration // without pauses
	now   uint32        // on the node's clock, read once per stride
}

// positionTick is owned by the position tick that is under way; what is in it is
// reused, so that a tick allocates nothing.
type positionTick struct {
	number uint32 // of ticks, for who speaks at which
	bits   rank.Bits
	plan   []tell
	flow   outflow
	slots  [maxSenders]sender
}

// tellPositions is one position tick.
func (r *roomHub) tellPositions(ctx context.Context, start time.Time) {
	t := &r.positions
	s, err := r.look(ctx, start)
	if _, ahead := r.view.remembers(); s.Life.Asking || ahead || errors.Is(err, room.ErrRecovering) || errors.Is(err, room.ErrUnknown) {
		r.report()
	}
	began := time.Now() // a line that hangs must not look like a crowd too large
	r.release()
	if ctx.Err() != nil {
		return
	}
	n := news{exact: err == nil && !r.view.isLost(), hub: r.hub}
	switch {
	case n.exact:
	case err == nil || errors.Is(err, room.ErrRecovering) || errors.Is(err, room.ErrUnknown):
		r.view.trouble(room.ShownRecovering)
		t.flow.reset()
	case r.view.stale(began) >= stalledAfter:
		r.view.trouble(room.ShownStalled)
		t.flow.reset()
	}
	if n.exact {
		n.waiting = s.Waiting
		n.flow = t.flow.add(s)
	}
	t.compile(&r.roster, s, n.exact)
	r.bringBack()
	if r.roster.suspicious() {
		r.stir()
	}
	shown, plan := r.view.told(), r.hub.plan()
	n.rev, n.room, n.beat = shown.rev, shown.frame(start, plan.Beat), int32(plan.Beat.Milliseconds())
	t.number++
	n.rule = plan.Rule(n.flow.fast, t.number)
	work := time.Since(began)
	r.hub.metrics.tick.Observe(time.Since(start).Seconds())
	t.send(ctx, start, &n)
	c := t.count()
	if ctx.Err() != nil {
		return // the room's series went with it
	}
	r.hub.metrics.swept(r.name, c.sent, c.busy)
	if n.exact {
		r.hub.load(work+c.work, len(t.plan), c.told)
	}
	clear(t.plan) // no session is kept alive by a plan
}

// look is the line as of now. A room that moves, or in which somebody waits for a read,
// is read; any other is told out of memory where its pulse says that nothing changed,
// and where the pulses fail, so would the read.
func (r *roomHub) look(ctx context.Context, start time.Time) (room.Snapshot, error) {
	if !r.moving(r.hub.now()) && !r.joins.holds() {
		if s, ok := r.view.remembered(start); ok {
			return s, nil
		}
		if err := r.view.dark(); err != nil {
			return room.Snapshot{}, err
		}
	}
	// Visitors are told in time that the line is away, whatever hangs.
	if left := stalledAfter - r.view.stale(start); left > 0 && left < readLimit {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	s, err := r.read(ctx)
	if err == nil {
		r.view.succeeded(start)
	}
	return s, err
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
		if s.Conf.Epoch != "" { // it was answered by a line that knows less than this node
			r.loseAbove(s.Seq)
		}
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
	lost := len(r.unseen) > 0 // else nobody has come back, and no session needs to be touched
	for _, i := range r.waiting {
		p, ok := cursor.Position(i.number)
		if !ok {
			p = 0
			if i.number <= s.Seq && !i.session.unseen {
				r.suspects = append(r.suspects, i.session)
			}
		} else if lost {
			i.session.unseen = false // it came back
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

// counts are what the senders of a tick have counted; work is that of the longest.
type counts struct {
	sent, busy, told int
	work             time.Duration
}

func (t *positionTick) count() (c counts) {
	for i := range t.slots {
		s := &t.slots[i]
		c.sent, c.busy, c.told, c.work = c.sent+s.sent, c.busy+s.busy, c.told+s.told, max(c.work, s.work)
		s.sent, s.busy, s.told, s.work = 0, 0, 0, 0
	}
	return c
}

// walk tells every count-th session from first on.
func (s *sender) walk(ctx context.Context, plan []tell, first, count int, from time.Time, span time.Duration, n *news) {
	if s.timer == nil {
		s.timer = time.NewTimer(time.Hour)
		s.timer.Stop()
		s.buf = make([]byte, 0, 160) // the longest position is 104 bytes
	}
	began := time.Now()
	defer func() { s.work += time.Since(began) }()
	for i, turn := first, 0; i < len(plan); i, turn = i+count, turn+1 {
		if turn%stride == 0 {
			if wait := time.Until(from.Add(span * time.Duration(i) / time.Duration(len(plan)))); wait > time.Millisecond {
				s.timer.Reset(wait)
				paused := time.Now()
				select {
				case <-s.timer.C:
				case <-ctx.Done():
					return
				}
				began = began.Add(time.Since(paused))
			}
			s.now = n.hub.clock()
		}
		s.tell(plan[i], n)
	}
}

// tell tries to send one session what is due to it: the room when it changed, the
// position or else the room's state when the rule says so.
func (s *sender) tell(p tell, n *news) {
	to := p.session
	to.mu.Lock()
	defer to.mu.Unlock()
	if len(to.sinks) == 0 {
		return
	}
	v := cadence.Visitor{Number: to.place.Number, Last: to.last, Silent: longAgo, Beat: to.beat}
	if to.spoke != 0 {
		v.Silent = int32(s.now - to.spoke)
	}
	if n.exact && to.standing() == waiting {
		v.Position = p.position
	}
	due := n.rule.Due(v)
	spoke, ok := false, true
	if to.rev != n.rev || due && (v.Position == 0 || n.rule.Retell(v)) {
		spoke, s.told = true, s.told+1
		if ok = to.trySend(n.room); ok {
			to.rev, to.beat = n.rev, n.beat
		}
	}
	if due && v.Position > 0 {
		low, high := n.flow.eta(v.Position)
		s.buf = wire.AppendPosition(s.buf[:0], v.Position, n.waiting, low, high)
		spoke, s.told = true, s.told+1
		took := to.trySend(s.buf)
		if took {
			to.last = v.Position
			s.sent++
		}
		ok = took && ok
	}
	switch {
	case spoke && ok:
		to.spoke = s.now
	case spoke:
		s.busy++ // what was not taken is due again at the next tick
	}
}
