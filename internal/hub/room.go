package hub

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"waitroom/internal/rank"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// item is a waiting session with its number beside it, so that a pass over the
// numbers stays in one piece of memory.
type item struct {
	number  room.Number
	session *Session
}

// crowd is this node's visitors of one room.
type roomHub struct {
	// Set once.
	all  *Hub
	name room.Name
	stop context.CancelFunc

	mu       sync.Mutex
	people   int           // sessions with a sink, and joins under way
	someone  chan struct{} // closed while people > 0: the ticks rest otherwise
	sessions map[room.VisitorID]*Session
	waiting  []item     // in order of number
	fresh    []item     // arrived since the last settle, in any order
	rest     []*Session // admitted, in the shop, over, or without a place
	dirty    bool       // somebody in waiting or rest is there no more
	suspect  []*Session // the position tick found the bit of a waiting session set
	epoch    room.Epoch
	mark     room.Number // greatest number seen in this epoch
	conf     room.Conf
	known    bool      // conf and epoch are of a read since somebody is here
	from     int64     // byte of the last head: the next read begins there
	closed   bool      // the room is gone
	good     time.Time // start of the last good read, or of the first session since
	shown    shown

	queue queue

	// Owned by the position tick, reused so that a tick allocates nothing.
	bits  rank.Bits
	plan  []step
	flow  outflow
	slots [maxSenders]sender

	// Owned by the turn tick.
	turnFrom int64
	asked    []*Session
	places   []room.Place
}

// shown is what every visitor of the room is told about it, and its revision.
type shown struct {
	rev     uint32
	state   room.Shown
	notice  string
	opensAt time.Time // on the line's clock, to see a change
	opens   time.Time // the same on this node's clock; zero when nobody knows
}

func (s shown) frame(now time.Time) []byte {
	m := wire.RoomMessage{Type: wire.Room, State: s.state, Notice: s.notice, BeatMS: BeatMost.Milliseconds()}
	if s.state == room.ShownOpening && !s.opens.IsZero() {
		left := max(0, s.opens.Sub(now).Milliseconds())
		m.OpensMS = &left
	}
	return wire.Encode(m)
}

func newRoomHub(all *Hub, name room.Name) *roomHub {
	c := &roomHub{all: all, name: name, someone: make(chan struct{}), sessions: map[room.VisitorID]*Session{}}
	c.queue.kick = make(chan struct{}, 1)
	c.queue.lane.Name = all.lane()
	return c
}

// each runs one tick after another while somebody is here, the next a period
// after the start of the one before.
func (c *roomHub) each(ctx context.Context, period time.Duration, tick func(context.Context, time.Time)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.mu.Lock()
		someone := c.someone
		c.mu.Unlock()
		select {
		case <-someone:
		case <-ctx.Done():
			return
		}
		start := time.Now()
		tick(ctx, start)
		timer.Reset(period - time.Since(start))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// enter and exit count who keeps the ticks awake. A room that nobody watched was
// not read: its age counts from the first one here.
func (c *roomHub) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return room.ErrUnknown
	}
	c.people++
	if c.people == 1 {
		c.good = time.Now()
		close(c.someone)
	}
	return nil
}

func (c *roomHub) exit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.people--
	if c.people == 0 {
		c.someone = make(chan struct{})
		c.known = false
	}
}

func (c *roomHub) caller() room.Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	return room.Caller{Epoch: c.epoch, Mark: c.mark}
}

// shop is where a pass of this room opens.
func (c *roomHub) shop() string {
	c.mu.Lock()
	url := c.conf.ShopURL
	c.mu.Unlock()
	if url == "" {
		url = c.all.shopURL
	}
	return strings.ReplaceAll(url, "{room}", string(c.name))
}

// saw raises the mark of an epoch.
func (c *roomHub) saw(epoch room.Epoch, n room.Number) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == c.epoch {
		c.mark = max(c.mark, n)
	}
}

// read takes a snapshot and keeps what it says about the room. A line of another
// epoch ends everybody here: their places are worth nothing in it.
func (c *roomHub) read(ctx context.Context) (room.Snapshot, error) {
	c.mu.Lock()
	mark, from := c.mark, c.from // before the read: numbers given meanwhile are above its seq
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	s, err := c.all.line.Snapshot(ctx, c.name, from)
	if err != nil {
		c.all.metrics.failed("snapshot", err)
		if errors.Is(err, room.ErrUnknown) {
			c.forget()
		}
		return s, err
	}
	c.mu.Lock()
	old := c.epoch
	if old != s.Conf.Epoch {
		c.epoch, c.mark, mark = s.Conf.Epoch, 0, 0
	}
	c.conf, c.known, c.from = s.Conf, true, int64(s.Head>>3)
	recovering := s.Seq < mark
	if recovering {
		c.show(shown{state: room.ShownRecovering})
	} else {
		c.mark = max(c.mark, s.Seq)
		now := shown{state: s.Conf.Shown(s.Waiting, s.Now), notice: s.Conf.Notice, opensAt: s.Conf.OpensAt}
		if !now.opensAt.IsZero() {
			now.opens = time.Now().Add(now.opensAt.Sub(s.Now))
		}
		c.show(now)
	}
	c.mu.Unlock()
	if old != s.Conf.Epoch && old != "" {
		c.dismiss(wire.PlaceEpoch)
	}
	if recovering {
		return s, room.ErrRecovering
	}
	return s, nil
}

// show changes what visitors are told about the room; the sweep tells them. The
// caller holds mu.
func (c *roomHub) show(s shown) {
	s.rev = c.shown.rev
	if s.state != c.shown.state || s.notice != c.shown.notice || !s.opensAt.Equal(c.shown.opensAt) {
		s.rev++
	}
	c.shown = s
}

// forget makes the next batch read the conf again.
func (c *roomHub) forget() {
	c.mu.Lock()
	c.known = false
	c.mu.Unlock()
}

// end is for a room that is gone: tells everybody and stops the goroutines.
func (c *roomHub) end(code wire.Code) {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.dismiss(code)
	c.stop()
	c.all.metrics.drop(c.name)
}

// dismiss tells everybody here why it is over.
func (c *roomHub) dismiss(code wire.Code) {
	c.mu.Lock()
	sessions := make([]*Session, 0, len(c.sessions))
	for _, v := range c.sessions {
		sessions = append(sessions, v)
	}
	clear(c.sessions)
	// Who has no place stays with a line made anew, and goes with the room.
	placeless := slices.DeleteFunc(slices.Clone(c.rest), func(v *Session) bool { return !v.Placeless() })
	c.waiting, c.fresh, c.suspect, c.dirty = nil, nil, nil, true
	c.rest = append(append(c.rest[:0], sessions...), placeless...)
	if c.closed {
		sessions = append(sessions, placeless...)
	}
	for _, v := range sessions {
		v.inWaiting, v.inRest = false, true
	}
	c.mu.Unlock()
	for _, v := range sessions {
		v.refuse(code)
	}
}

// settle brings waiting and rest up to date: sorts newcomers in, drops who left.
// The caller holds mu.
func (c *roomHub) settle() {
	c.merge()
	if !c.dirty {
		return
	}
	c.dirty = false
	c.waiting = slices.DeleteFunc(c.waiting, func(i item) bool {
		i.session.inWaiting = i.session.standing() == waits
		return !i.session.inWaiting
	})
	c.rest = slices.DeleteFunc(c.rest, func(v *Session) bool {
		s := v.standing()
		v.inRest = s != waits && s != detached
		return !v.inRest
	})
}

// merge sorts the newcomers into waiting. It comes before the filter, since one
// of them may have been admitted or have detached already. The caller holds mu.
func (c *roomHub) merge() {
	if len(c.fresh) == 0 {
		return
	}
	slices.SortFunc(c.fresh, func(a, b item) int { return int(a.number - b.number) })
	// Newcomers have the greatest numbers, so the merge runs from the back and
	// moves almost nothing.
	i, j := len(c.waiting)-1, len(c.fresh)-1
	c.waiting = append(c.waiting, c.fresh...)
	for k := len(c.waiting) - 1; i >= 0 && j >= 0; k-- {
		if c.waiting[i].number > c.fresh[j].number {
			c.waiting[k] = c.waiting[i]
			i--
		} else {
			c.waiting[k] = c.fresh[j]
			j--
		}
	}
	copy(c.waiting, c.fresh[:j+1])
	clear(c.fresh)
	c.fresh = c.fresh[:0]
}

// move puts a session on the list of its standing; the next settle takes it off
// the other one.
func (c *roomHub) move(v *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
	switch v.standing() {
	case waits:
		if !v.inWaiting {
			v.inWaiting = true
			c.fresh = append(c.fresh, item{v.place.Number, v})
		}
	case detached:
		if c.sessions[v.place.Visitor] == v {
			delete(c.sessions, v.place.Visitor)
		}
	default:
		if !v.inRest {
			v.inRest = true
			c.rest = append(c.rest, v)
		}
	}
}
