package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"waitroom/internal/room"
)

// fakeLine is one line in memory, held to the contract of the line by TestFakeLine. It is
// guarded by the world's mu. The line itself can't stand here: these tests run on
// synctest's clock, which stands still while anybody waits for a socket.
//
// Visitors have the names that visitorOf makes of their numbers, but those who came back
// to a number that the line lost.
type fakeLine struct {
	epoch    room.Epoch
	seq      room.Number
	queue    []room.Number
	named    map[room.Number]room.VisitorID // those with another name
	credit   float64
	at       time.Time
	rate     float64 // per second
	outbox   map[string]*entry
	next     int
	admitted []room.Number
	active   map[room.VisitorID]bool      // who has a slot
	until    map[room.VisitorID]time.Time // the end of the time to claim, or of the pass
	claimed  map[room.VisitorID]bool
	soonest  time.Time // no deadline is before it
	soldOut  bool
	stockRev int64
	stockAt  time.Time // of the newest fact with a rev
	conf     room.Conf // what of it has no field of its own
	flags    map[string]string
	sets     []room.Change
	changed  room.Changed // what Set answers in addition
	setErr   error
	created  int64 // ms
	event    room.Event
	eventErr error
	stats    room.Stats
	counts   room.Pulse // what of it is not in stats
	rev      int64
	absent   map[room.Number]bool // nobody sees them
	state    room.State
	opensAt  time.Time
	lanes    []room.LaneState
	kept     map[string]int // how often each entry was kept

	back map[room.Number]bool // given to somebody whom the line does not know
	away map[room.Number]bool // left because nobody saw them
	life room.Life
	lo   room.Number // nobody behind it is let in while life holds
}

type entry struct {
	room.Entry
	read time.Time // zero: never handed out, or kept last
}

// A line that lost something holds who is behind the loss for so long, and for so long
// after somebody came back.
const (
	held      = 10 * time.Second
	heldAgain = 2 * time.Second
)

func newFakeLine(epoch room.Epoch) *fakeLine {
	conf := room.DefaultConf()
	conf.Burst, conf.MaxActive, conf.Claim, conf.Pass = 0, room.MaxActive, room.MaxClaim, room.MaxPass
	return &fakeLine{
		epoch: epoch, rate: 200, at: time.Now(), created: time.Now().UnixMilli(), outbox: map[string]*entry{}, active: map[room.VisitorID]bool{},
		rev: 1, state: room.Open, kept: map[string]int{}, conf: conf, flags: map[string]string{}, named: map[room.Number]room.VisitorID{},
		until: map[room.VisitorID]time.Time{}, claimed: map[room.VisitorID]bool{}, back: map[room.Number]bool{}, away: map[room.Number]bool{},
		life: room.Life{ID: "life 0"},
	}
}

func (w *world) create(name room.Name, epoch room.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[name] = newFakeLine(epoch)
	delete(w.gone, name)
}

// let sets the state of a room, as an operator does.
func (w *world) let(name room.Name, state room.State, opensAt time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines[name]
	l.state, l.opensAt = state, opensAt
	l.rev++
}

// remove is what an operator's delete leaves.
func (w *world) remove(name room.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lines, name)
	w.gone[name] = true
}

func (w *world) join(name room.Name, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines[name]
	for range n {
		l.seq++
		l.stats.Joined++
		l.queue = append(l.queue, l.seq)
	}
}

func visitorOf(n room.Number) room.VisitorID {
	return room.VisitorID(fmt.Sprintf("%016d", n))
}

func (l *fakeLine) visitor(n room.Number) room.VisitorID {
	return cmp.Or(l.named[n], visitorOf(n))
}

// line is the one of that name for a call of anybody.
func (w *world) line(name room.Name) (*fakeLine, error) {
	if l := w.lines[name]; l != nil {
		return l, nil
	}
	return nil, room.ErrUnknown
}

// guard is what every call of a process begins with that writes. seen is the greatest
// number that somebody shows beside the caller's mark.
func (w *world) guard(name room.Name, by room.Caller, seen room.Number) (*fakeLine, error) {
	l, err := w.line(name)
	if err != nil {
		return nil, err
	}
	if by.Epoch != l.epoch {
		return nil, room.ErrEpoch
	}
	if most := max(by.Mark, seen); most > l.seq {
		l.fence()
		l.forget(most)
	}
	return l, nil
}

// fence begins another life. No node is asked, since none has numbers to give here.
func (l *fakeLine) fence() {
	l.counts.Losses++
	l.lo, l.credit = l.seq, 0
	l.at = time.Now()
	l.life = room.Life{ID: "life " + strconv.FormatInt(l.counts.Losses, 10), HoldUntil: time.Now().Add(held), LostAt: time.Now(), Fences: l.counts.Losses}
}

// settling: an act that was lost may still come back.
func (l *fakeLine) settling() bool { return time.Since(l.life.LostAt) < 3*time.Second }

// forget: the numbers up to one were given to somebody whom the line does not know.
func (l *fakeLine) forget(to room.Number) {
	for n := l.seq + 1; n <= to; n++ {
		l.back[n] = true
		l.life.Lost++
	}
	l.seq = max(l.seq, to)
}

// rejoin is a visitor who comes back with a place.
func (w *world) rejoin(name room.Name, p room.Place) (room.Standing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.guard(name, room.Caller{Epoch: w.lines[name].epoch}, p.Number)
	if err != nil {
		return 0, err
	}
	switch i, waits := slices.BinarySearch(l.queue, p.Number); {
	case l.active[p.Visitor] && l.claimed[p.Visitor]:
		return room.Active, nil
	case l.active[p.Visitor]:
		return room.Unclaimed, nil
	case waits && l.visitor(p.Number) == p.Visitor:
		return room.Waiting, nil
	case l.back[p.Number]:
		delete(l.back, p.Number)
		l.named[p.Number] = p.Visitor
		l.queue = slices.Insert(l.queue, i, p.Number)
		l.counts.Restored++
		l.life.Restored++
		if until := time.Now().Add(heldAgain); !l.life.HoldUntil.IsZero() && until.After(l.life.HoldUntil) {
			l.life.HoldUntil = until
		}
		return room.Waiting, nil
	case l.away[p.Number]:
		return room.Away, nil
	}
	return room.Gone, nil
}

func (w *world) Rooms(context.Context) ([]room.Name, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := slices.Collect(maps.Keys(w.lines))
	if w.over {
		return names, fmt.Errorf("%w: 1001", room.ErrTooMany)
	}
	return names, nil
}

func (w *world) Deleted(_ context.Context, name room.Name) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone[name], nil
}

// lose takes a line away whole, which is no deletion.
func (w *world) lose(name room.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost == nil {
		w.lost = map[room.Name]*fakeLine{}
	}
	w.lost[name] = w.lines[name]
	delete(w.lines, name)
}

func (w *world) Recreate(_ context.Context, name room.Name, by room.Caller, saved room.Saved) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("recreate")
	l := w.lines[name]
	switch lost := w.lost[name]; {
	case w.gone[name]:
		return room.ErrDeleted
	case l != nil && l.epoch != saved.Epoch():
		return room.ErrEpoch
	case l == nil:
		w.brought = saved
		l = newFakeLine(saved.Epoch())
		if lost != nil { // what a conf tells and is not in saved here
			l.rate, l.conf, l.created, l.counts.Losses = lost.rate, lost.conf, lost.created, lost.counts.Losses
		}
		l.rev, l.state = 0, room.Paused // until what is saved is read below
		l.fence()
		w.lines[name] = l
		delete(w.lost, name)
	}
	if rev, _ := strconv.ParseInt(saved.Conf["rev"], 10, 64); rev > l.rev {
		l.rev, l.state = rev, room.State(saved.Conf["state"])
	}
	l.forget(by.Mark)
	return nil
}

func (w *world) Shards(_ context.Context, names []room.Name) [][]room.Name {
	if len(names) == 0 {
		return nil
	}
	return [][]room.Name{names}
}

func (w *world) Expire(context.Context) ([]room.Name, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("expire")
	names := w.expire
	w.expire = nil
	return names, nil
}

// Pulses are plain reads: of a room without a line an empty one.
func (w *world) Pulses(_ context.Context, names []room.Name) ([]room.Pulse, []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pulses, errs := make([]room.Pulse, len(names)), make([]error, len(names))
	for i, name := range names {
		w.called("pulse")
		l := w.lines[name]
		if errs[i] = w.ill; errs[i] == nil && l != nil {
			pulses[i] = l.counts
			pulses[i].Stats, pulses[i].Rev = l.stats, l.rev
		}
	}
	return pulses, errs
}

func (w *world) MarkBusy(_ context.Context, names ...room.Name) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("mark")
	w.marks = append(w.marks, names...)
	return nil
}

func (w *world) Busy(_ context.Context, since string) (names []room.Name, next string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("busy")
	from := len(w.marks)
	if since != "" {
		from, _ = strconv.Atoi(since)
	}
	for _, name := range w.marks[from:] {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, strconv.Itoa(len(w.marks)), nil
}

func (w *world) Away(_ context.Context, name room.Name, limit int) ([]room.Number, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("away")
	l := w.lines[name]
	if l == nil || len(l.queue) == 0 {
		return nil, nil
	}
	if w.unsure != nil {
		return nil, w.unsure
	}
	var away []room.Number
	for _, n := range l.queue {
		if l.absent[n] && len(away) < limit {
			away = append(away, n)
		}
	}
	return away, nil
}

func (w *world) Reap(_ context.Context, name room.Name, by room.Caller, numbers []room.Number) (reaped int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.guard(name, by, 0)
	if err != nil {
		return 0, err
	}
	if w.unsure != nil {
		return 0, w.unsure
	}
	reaped = l.drop(func(n room.Number) bool {
		leaves := slices.Contains(numbers, n) && l.absent[n]
		if leaves {
			l.away[n] = true
		}
		return leaves
	})
	l.stats.Away += int64(reaped)
	return reaped, nil
}

// drop takes numbers out of the queue and says how many.
func (l *fakeLine) drop(leaves func(room.Number) bool) int {
	before := len(l.queue)
	l.queue = slices.DeleteFunc(l.queue, leaves)
	return before - len(l.queue)
}

func (w *world) Signs(context.Context) (time.Time, []room.Sign, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now(), slices.Clone(w.signs), nil
}

func (w *world) Lanes(_ context.Context, name room.Name) ([]room.LaneState, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("lanes")
	l := w.lines[name]
	if l == nil {
		return nil, nil
	}
	return slices.Clone(l.lanes), nil
}

func (w *world) GiveBack(_ context.Context, name room.Name, by room.Caller, lane room.Lane, told bool) (given int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.guard(name, by, 0)
	if err != nil {
		return 0, err
	}
	if !told {
		w.breaks("lane %s given back as if nobody had heard", lane.Name)
	}
	for _, state := range l.lanes {
		if state.Lane != lane {
			continue
		}
		given += l.drop(func(n room.Number) bool {
			is := n >= state.First && n < state.First+room.Number(state.Granted)
			if is && told {
				l.back[n] = true
			}
			return is
		})
	}
	l.lanes = slices.DeleteFunc(l.lanes, func(s room.LaneState) bool { return s.Lane == lane })
	l.counts.GivenBack += int64(given)
	w.given = append(w.given, lane.Name)
	return given, nil
}

// full is the conf as the line tells it.
func (l *fakeLine) full() room.Conf {
	c := l.conf
	c.Epoch, c.State, c.OpensAt, c.Rate, c.Rev = l.epoch, l.state, l.opensAt, room.Rate(l.rate*1000), l.rev
	c.SoldOut, c.StockRev, c.EventRev = l.soldOut, l.stockRev, l.event.Rev
	c.Burst = max(c.Burst, c.Rate.MinBurst())
	return c
}

func (w *world) Status(_ context.Context, name room.Name) (room.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name)
	if err != nil {
		return room.Status{}, err
	}
	w.called("status")
	head := l.seq + 1
	if len(l.queue) > 0 {
		head = l.queue[0]
	}
	s := room.Status{Name: name, Conf: l.full(), Now: time.Now(), Seq: l.seq, Head: head, Waiting: int64(len(l.queue)), Outbox: l.depth(),
		Stats: l.stats, Life: l.life,
		Saved: room.Saved{Conf: map[string]string{"epoch": string(l.epoch), "state": string(l.state), "rev": strconv.FormatInt(l.rev, 10)}, Life: l.life.ID}}
	for visitor := range l.active {
		if l.claimed[visitor] {
			s.Active++
		} else {
			s.Unclaimed++
		}
	}
	return s, nil
}

// Set takes values and a reopening. No step from state to state comes from an admitter
// that runs.
func (w *world) Set(_ context.Context, name room.Name, change room.Change) (room.Changed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name)
	if err != nil {
		return room.Changed{}, err
	}
	if l.settling() {
		return room.Changed{}, room.ErrRecovering
	}
	l.sets = append(l.sets, change)
	if l.setErr != nil {
		return room.Changed{}, l.setErr
	}
	if change.Pause || change.Resume || change.Rev != 0 {
		return room.Changed{}, errors.New("the fake line takes no steps and compares no rev")
	}
	if change.FromFlags {
		byFlag(l, "rate", &change.Rate)
		byFlag(l, "burst", &change.Burst)
		byFlag(l, "max_active", &change.MaxActive)
		byFlag(l, "claim_ms", &change.Claim)
		byFlag(l, "pass_ms", &change.Pass)
	}
	before := l.full()
	after := change.On(before)
	if change.Reopen {
		if before.SoldOut && change.StockRev > 0 && change.StockRev <= before.StockRev {
			return room.Changed{}, room.ErrSoldOut
		}
		after.SoldOut, after.StockRev = false, max(before.StockRev, change.StockRev)
	}
	if event := change.Event.On(l.event); event.Title != l.event.Title {
		event.Rev++
		l.event, after.EventRev = event, event.Rev
	}
	after.Burst = max(after.Burst, after.Rate.MinBurst())
	changed := l.changed
	changed.Fields = fields(before, after)
	if len(changed.Fields) > 0 {
		l.earn() // by the rate that held until now
		l.rev++
	}
	changed.Rev = l.rev
	l.conf, l.state, l.opensAt, l.rate = after, after.State, after.OpensAt, float64(after.Rate)/1000
	l.soldOut, l.stockRev, l.soonest = after.SoldOut, after.StockRev, time.Time{}
	return changed, nil
}

// byFlag forgets a value that is the flag's last.
func byFlag[T any](l *fakeLine, field string, value **T) {
	if *value == nil {
		return
	}
	text := fmt.Sprint(**value)
	if l.flags[field] == text {
		*value = nil
	}
	l.flags[field] = text
}

// fields are those in which two confs differ.
func fields(before, after room.Conf) (all []room.Field) {
	for _, f := range []struct {
		name     string
		old, new any
	}{
		{"rate", before.Rate, after.Rate}, {"burst", before.Burst, after.Burst}, {"max_active", before.MaxActive, after.MaxActive},
		{"max_waiting", before.MaxWaiting, after.MaxWaiting}, {"claim_ms", before.Claim, after.Claim}, {"pass_ms", before.Pass, after.Pass},
		{"grace_ms", before.Grace, after.Grace}, {"state", before.State, after.State}, {"opens_at", before.OpensAt, after.OpensAt},
		{"notice", before.Notice, after.Notice}, {"shop_url", before.ShopURL, after.ShopURL}, {"sold_out", before.SoldOut, after.SoldOut},
		{"stock_rev", before.StockRev, after.StockRev}, {"event_rev", before.EventRev, after.EventRev},
	} {
		if f.old != f.new {
			all = append(all, room.Field{Name: f.name, Old: fmt.Sprint(f.old), New: fmt.Sprint(f.new)})
		}
	}
	return all
}

func (w *world) setsOf(name room.Name) []room.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines[name].sets)
}

// earn counts the credit up to now.
func (l *fakeLine) earn() {
	now := time.Now()
	l.credit = min(l.credit+now.Sub(l.at).Seconds()*l.rate, float64(l.full().Burst))
	l.at = now
}

// prune gives the slots back whose time is over.
func (l *fakeLine) prune() (missed, lapsed int) {
	if time.Now().Before(l.soonest) {
		return 0, 0
	}
	l.soonest = time.Now().Add(min(l.conf.Claim, l.conf.Pass)) // for those to come
	for visitor, until := range l.until {
		if time.Now().Before(until) {
			l.soonest = earlier(l.soonest, until)
			continue
		}
		if l.active[visitor] && l.claimed[visitor] {
			lapsed++
		} else if l.active[visitor] {
			missed++
		}
		l.free(visitor)
	}
	l.stats.Missed += int64(missed)
	l.stats.Lapsed += int64(lapsed)
	return missed, lapsed
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// free gives a visitor's slot back.
func (l *fakeLine) free(visitor room.VisitorID) {
	delete(l.active, visitor)
	delete(l.until, visitor)
	delete(l.claimed, visitor)
}

func (w *world) Admit(_ context.Context, name room.Name, by room.Caller, limit int) (room.Round, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("admit")
	w.admits = append(w.admits, time.Now())
	if w.admit != nil {
		if round := w.admit(); round != nil {
			return *round, nil
		}
	}
	l, err := w.guard(name, by, 0)
	if err != nil {
		return room.Round{}, err
	}
	return l.round(limit), nil
}

// late is the longest that a round says nothing can be expected.
const late = 100 * time.Millisecond

func (l *fakeLine) round(limit int) room.Round {
	now, conf := time.Now(), l.full()
	var round room.Round
	round.Missed, round.Lapsed = l.prune()
	l.earn()
	round.Stop, round.Due = l.shut(now)
	var admitted []room.Admitted
	depth, slots := l.depth(), int64(len(l.active))
	for round.Stop == "" {
		round.Stop, round.Due = l.stops(now, conf, depth, slots, limit-len(admitted))
		if round.Stop != "" {
			break
		}
		n := l.queue[0]
		visitor := l.visitor(n)
		l.queue, l.credit = l.queue[1:], l.credit-1
		admitted = append(admitted, room.Admitted{Visitor: visitor, Number: n, At: now, Epoch: l.epoch})
		l.admitted = append(l.admitted, n)
		l.active[visitor], l.until[visitor] = true, now.Add(conf.Claim)
		l.stats.Admitted++
		round.Last, depth, slots = n, depth+1, slots+1
	}
	for part := range slices.Chunk(admitted, room.MaxEntry) {
		l.put(room.Entry{Admitted: part, Count: len(part)})
	}
	round.Admitted, round.Total, round.Now, round.Seq = len(admitted), l.stats.Admitted, now, l.seq
	round.Outbox, round.Waiting, round.Slots = depth, int64(len(l.queue)), slots
	round.State, round.SoldOut, round.Rate, round.MaxActive = conf.State, conf.SoldOut, conf.Rate, conf.MaxActive
	round.Rev, round.Losses = l.rev, l.counts.Losses
	return round
}

// shut says why nobody at all is let in; "" when somebody may be.
func (l *fakeLine) shut(now time.Time) (room.Stop, time.Duration) {
	switch {
	case l.state == room.Closed:
		return room.StopClosed, late
	case l.soldOut:
		return room.StopSoldOut, late
	case l.state == room.Paused:
		return room.StopPaused, late
	case l.state == room.Opening && l.opensAt.IsZero():
		return room.StopOpening, late
	case l.state == room.Opening && now.Before(l.opensAt):
		return room.StopOpening, min(late, l.opensAt.Sub(now))
	}
	return "", 0
}

// stops says why nobody more is let in, in the order in which the line looks.
func (l *fakeLine) stops(now time.Time, conf room.Conf, depth, slots int64, rest int) (room.Stop, time.Duration) {
	switch {
	case len(l.queue) == 0:
		return room.StopEmpty, late
	case depth >= room.OutboxBound(conf.Rate):
		return room.StopOutbox, late
	case l.queue[0] > l.lo && now.Before(l.life.HoldUntil):
		return room.StopRecovering, late
	case slots >= conf.MaxActive:
		due := late
		for _, until := range l.until {
			due = min(due, until.Sub(now))
		}
		return room.StopCap, due
	case l.credit < 1-1e-9:
		return room.StopRate, min(late, time.Duration((1-l.credit)/l.rate*1e9))
	case rest <= 0:
		return room.StopMore, 0
	}
	return "", 0
}

// put appends an entry to the outbox.
func (l *fakeLine) put(e room.Entry) {
	l.next++
	e.ID = strconv.Itoa(l.next) + "-0"
	l.outbox[e.ID] = &entry{Entry: e}
}

// depth counts visitors.
func (l *fakeLine) depth() (n int64) {
	for _, e := range l.outbox {
		n += int64(e.Count)
	}
	return n
}

func (w *world) Oldest(_ context.Context, name room.Name) (oldest time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines[name]
	if l == nil {
		return oldest, nil
	}
	for _, e := range l.outbox {
		if len(e.Admitted) > 0 && (oldest.IsZero() || e.Admitted[0].At.Before(oldest)) {
			oldest = e.Admitted[0].At
		}
	}
	return oldest, nil
}

func (w *world) ReadOutbox(_ context.Context, name room.Name, limit int) ([]room.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("read")
	l := w.lines[name]
	if l == nil {
		return nil, nil // no line, no outbox
	}
	var batch []room.Entry
	for i := 1; i <= l.next && len(batch) < limit; i++ {
		e := l.outbox[strconv.Itoa(i)+"-0"]
		if e != nil && (e.read.IsZero() || time.Since(e.read) >= 30*time.Second) {
			e.read = time.Now()
			batch = append(batch, e.Entry)
		}
	}
	return batch, nil
}

func (w *world) Keep(_ context.Context, name room.Name, ids []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("keep")
	l := w.lines[name]
	if l == nil {
		return nil
	}
	for _, id := range ids {
		l.kept[id]++
		if e := l.outbox[id]; e != nil {
			e.read = time.Now()
		}
	}
	return nil
}

func (w *world) Relayed(_ context.Context, name room.Name, by room.Caller, entries []room.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	l, err := w.guard(name, by, 0)
	if err != nil {
		return err
	}
	for _, given := range entries {
		e := l.outbox[given.ID]
		if e == nil {
			continue // relayed before
		}
		for _, admitted := range e.Admitted {
			if !w.sent[admissionID(name, admitted)] {
				w.breaks("entry %s left the outbox and Kafka has not acknowledged it", e.ID)
			}
		}
		delete(l.outbox, e.ID)
	}
	return nil
}

func admissionID(name room.Name, a room.Admitted) string {
	return room.Admission{Room: name, Epoch: a.Epoch, Number: a.Number, Visitor: a.Visitor}.String()
}

func (w *world) FinishAll(_ context.Context, name room.Name, by room.Caller, places []room.Place) (freed int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(places) == 0 {
		return 0, nil
	}
	seen := slices.MaxFunc(places, func(a, b room.Place) int { return cmp.Compare(a.Number, b.Number) }).Number
	l, err := w.guard(name, by, seen)
	if err != nil {
		return 0, err
	}
	for _, p := range places {
		switch i, waits := slices.BinarySearch(l.queue, p.Number); {
		case l.active[p.Visitor]:
			l.free(p.Visitor)
			freed++
		case waits && l.visitor(p.Number) == p.Visitor: // its admission may be lost
			l.queue = slices.Delete(l.queue, i, i+1)
			freed++
		default:
			delete(l.back, p.Number)
		}
	}
	l.stats.Finished += int64(freed)
	return freed, nil
}

func (w *world) Stock(_ context.Context, name room.Name, epoch room.Epoch, stock room.Stock) (newer bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("stock")
	if err := stock.Valid(); err != nil {
		return false, err
	}
	l, err := w.guard(name, room.Caller{Epoch: epoch}, 0)
	if err != nil {
		return false, err
	}
	if l.settling() {
		return false, room.ErrRecovering
	}
	old := stock.Rev == 0 && stock.At.UnixMilli() > 0 && !stock.At.After(l.stockAt)
	if stock.Rev > 0 && stock.Rev == l.stockRev && stock.At.After(l.stockAt) {
		l.stockAt = stock.At
	}
	if stock.Rev > 0 && stock.Rev <= l.stockRev || old {
		return false, nil
	}
	soldOut := stock.Left == 0
	if stock.Rev == 0 && soldOut == l.soldOut {
		return false, nil
	}
	if stock.Rev > 0 {
		l.stockRev, l.stockAt = stock.Rev, stock.At
	}
	if soldOut != l.soldOut {
		l.soldOut = soldOut
		l.rev++
	}
	return true, nil
}

func (w *world) EventRevs(_ context.Context, names []room.Name) (map[room.Name]room.EventRev, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	revs := map[room.Name]room.EventRev{}
	for _, name := range names {
		w.called("event rev")
		if l := w.lines[name]; l != nil {
			revs[name] = room.EventRev{Epoch: l.epoch, CreatedMS: l.created, Rev: l.event.Rev}
		}
	}
	return revs, nil
}

func (w *world) Event(_ context.Context, name room.Name) (room.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name)
	if err != nil {
		return room.Event{}, err
	}
	return l.event, l.eventErr
}

// describe sets a room's title.
func (w *world) describe(name room.Name, title string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[name].event = room.Event{Title: title, Rev: w.lines[name].event.Rev + 1}
	w.lines[name].rev++
}
