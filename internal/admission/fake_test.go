package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errLost = fmt.Errorf("%w: connection reset", room.ErrAway)

// world is a line and a Kafka in memory, as simple as their contracts allow. It
// checks at each step what must hold at each step, and notes what breaks.
type world struct {
	mu     sync.Mutex
	lines  map[room.Name]*fakeLine
	log    []events.Record          // what Kafka has acknowledged
	sent   map[string]bool          // ids of it
	rooms  []events.Record          // what of it is in the topic of rooms
	broken []string                 // promises broken
	lost   map[room.Name]*fakeLine  // whole, and not deleted
	unsure error                    // of who is away
	admits []time.Time              // when rounds were made
	admit  func() *room.Round       // overrides the answer of Admit
	block  time.Duration            // how long a publish takes
	flying int                      // publishes in progress
	away   error                    // what Kafka answers
	sick   func(events.Record) bool // what Kafka does not take of a publish
	tries  map[string]int           // of each record by its id
	dlq    []events.Record          // dead letters that Kafka has acknowledged
	counts map[string]int           // calls of the line by name
	marks  []room.Name              // that were said, in order
	signs  []room.Sign
	given  []string           // lanes given back
	gone   map[room.Name]bool // deleted
	over   bool               // the registry has more rooms than it may
	expire []room.Name        // whose time has come
	ill    error              // what reads of pulses answer
}

type fakeLine struct {
	epoch    room.Epoch
	seq      room.Number
	queue    []room.Number
	credit   float64
	at       time.Time
	rate     float64
	outbox   map[string]*entry
	next     int
	admitted []room.Number
	active   map[room.VisitorID]bool
	soldOut  bool
	sets     []room.Change
	changed  room.Changed
	setErr   error
	created  int64 // ms
	event    room.Event
	eventErr error
	stats    room.Stats
	rev      int64
	absent   map[room.Number]bool // nobody sees them
	state    room.State
	opensAt  time.Time
	lanes    []room.LaneState
	kept     map[string]int // how often each entry was kept
}

type entry struct {
	room.Entry
	read time.Time // zero: never handed out, or kept last
}

func newWorld(names ...room.Name) *world {
	w := &world{lines: map[room.Name]*fakeLine{}, sent: map[string]bool{}, tries: map[string]int{}, counts: map[string]int{}, gone: map[room.Name]bool{}}
	for _, name := range names {
		w.create(name, "aaaaaaaa")
	}
	return w
}

func (w *world) create(name room.Name, epoch room.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[name] = &fakeLine{
		epoch: epoch, rate: 200, at: time.Now(), created: time.Now().UnixMilli(), outbox: map[string]*entry{}, active: map[room.VisitorID]bool{},
		rev: 1, state: room.Open, kept: map[string]int{},
	}
}

// called counts a call of the line. The caller holds mu.
func (w *world) called(what string) { w.counts[what]++ }

// calls are those since the last time it was asked, without those that are made
// once a second and not for each room.
func (w *world) calls() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := w.counts
	w.counts = map[string]int{}
	return counts
}

// let sets the state of a room, as an operator does.
func (w *world) let(name room.Name, state room.State, opensAt time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines[name]
	l.state, l.opensAt = state, opensAt
	l.rev++
}

func (w *world) remove(name room.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lines, name)
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

func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

func visitorOf(n room.Number) room.VisitorID {
	return room.VisitorID(fmt.Sprintf("%016d", n))
}

func (w *world) line(name room.Name, caller *room.Caller) (*fakeLine, error) {
	l := w.lines[name]
	switch {
	case l == nil:
		return nil, room.ErrUnknown
	case caller != nil && caller.Epoch != l.epoch:
		return nil, room.ErrEpoch
	case caller != nil && caller.Mark > l.seq:
		return nil, room.ErrRecovering
	}
	return l, nil
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
	return w.lines[name] == nil && w.lost[name] == nil, nil
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

func (w *world) Recreate(_ context.Context, name room.Name, caller room.Caller, saved room.Saved) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("recreate")
	l := w.lines[name]
	switch lost := w.lost[name]; {
	case l == nil && lost == nil:
		return room.ErrDeleted
	case l == nil:
		l = &fakeLine{epoch: saved.Epoch(), rate: lost.rate, at: time.Now(), created: lost.created,
			outbox: map[string]*entry{}, active: map[room.VisitorID]bool{}, seq: caller.Mark}
		w.lines[name] = l
		delete(w.lost, name)
	case l.epoch != saved.Epoch():
		return room.ErrEpoch
	}
	if rev, _ := strconv.ParseInt(saved.Conf["rev"], 10, 64); rev > l.rev {
		l.rev, l.state = rev, room.State(saved.Conf["state"])
	}
	return nil
}

func (w *world) Shards(_ context.Context, names []room.Name) [][]room.Name {
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

func (w *world) Pulses(_ context.Context, names []room.Name) ([]room.Pulse, []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pulses, errs := make([]room.Pulse, len(names)), make([]error, len(names))
	for i, name := range names {
		w.called("pulse")
		l, err := w.line(name, nil)
		if errs[i] = cmp.Or(w.ill, err); errs[i] == nil {
			pulses[i] = room.Pulse{Stats: l.stats, Rev: l.rev}
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

func (w *world) Busy(_ context.Context, since string) ([]room.Name, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("busy")
	from := len(w.marks)
	if since != "" {
		from, _ = strconv.Atoi(since)
	}
	return slices.Clone(w.marks[from:]), strconv.Itoa(len(w.marks)), nil
}

func (w *world) Away(_ context.Context, name room.Name, limit int) ([]room.Number, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("away")
	l, err := w.line(name, nil)
	if err != nil {
		return nil, err
	}
	var away []room.Number
	for _, n := range l.queue {
		if l.absent[n] && len(away) < limit {
			away = append(away, n)
		}
	}
	return away, w.unsure
}

func (w *world) Reap(_ context.Context, name room.Name, caller room.Caller, numbers []room.Number) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name, &caller)
	if err != nil {
		return 0, err
	}
	before := len(l.queue)
	l.queue = slices.DeleteFunc(l.queue, func(n room.Number) bool { return slices.Contains(numbers, n) && l.absent[n] })
	return before - len(l.queue), w.unsure
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
	l, err := w.line(name, nil)
	if err != nil {
		return nil, err
	}
	return slices.Clone(l.lanes), nil
}

func (w *world) GiveBack(_ context.Context, name room.Name, caller room.Caller, lane room.Lane, heard bool) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name, &caller)
	if err != nil {
		return 0, err
	}
	if !heard {
		w.breaks("lane %s given back as if nobody had heard", lane.Name)
	}
	given := 0
	for _, state := range l.lanes {
		if state.Lane != lane {
			continue
		}
		l.queue = slices.DeleteFunc(l.queue, func(n room.Number) bool {
			is := n >= state.First && n < state.First+room.Number(state.Granted)
			if is {
				given++
			}
			return is
		})
	}
	w.given = append(w.given, lane.Name)
	return given, nil
}

func (w *world) Status(_ context.Context, name room.Name) (room.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name, nil)
	if err != nil {
		return room.Status{}, err
	}
	w.called("status")
	head := l.seq + 1
	if len(l.queue) > 0 {
		head = l.queue[0]
	}
	return room.Status{Name: name, Conf: room.Conf{Epoch: l.epoch, State: l.state, OpensAt: l.opensAt, Grace: room.DefaultGrace, Rate: room.Rate(l.rate * 1000), Rev: l.rev},
		Now: time.Now(), Seq: l.seq, Head: head, Waiting: int64(len(l.queue)), Stats: l.stats,
		Saved: room.Saved{Conf: map[string]string{"epoch": string(l.epoch), "state": string(l.state), "rev": strconv.FormatInt(l.rev, 10)}}}, nil
}

func (w *world) Set(_ context.Context, name room.Name, change room.Change) (room.Changed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name, nil)
	if err != nil {
		return room.Changed{}, err
	}
	l.sets = append(l.sets, change)
	return l.changed, l.setErr
}

func (w *world) setsOf(name room.Name) []room.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines[name].sets)
}

func (w *world) Admit(_ context.Context, name room.Name, caller room.Caller, limit int) (room.Round, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("admit")
	w.admits = append(w.admits, time.Now())
	if w.admit != nil {
		if round := w.admit(); round != nil {
			return *round, nil
		}
	}
	l, err := w.line(name, &caller)
	if err != nil {
		return room.Round{}, err
	}
	now := time.Now()
	l.credit = min(l.credit+now.Sub(l.at).Seconds()*l.rate, max(2, l.rate*0.02))
	l.at = now
	round := room.Round{Stop: room.StopEmpty, State: l.state, Rev: l.rev}
	open := true
	switch {
	case l.state == room.Paused:
		round.Stop, open = room.StopPaused, false
	case l.state == room.Closed:
		round.Stop, open = room.StopClosed, false
	case l.state == room.Opening && (l.opensAt.IsZero() || now.Before(l.opensAt)):
		round.Stop, round.Due, open = room.StopOpening, maxRound, false
		if !l.opensAt.IsZero() {
			round.Due = min(maxRound, l.opensAt.Sub(now))
		}
	}
	var admitted []room.Admitted
	for open && len(l.queue) > 0 {
		if round.Admitted == limit {
			round.Stop = room.StopMore
			break
		}
		if l.credit < 1-1e-9 {
			round.Stop, round.Due = room.StopRate, time.Duration((1-l.credit)/l.rate*1e9)
			break
		}
		n := l.queue[0]
		l.queue, l.credit = l.queue[1:], l.credit-1
		admitted = append(admitted, room.Admitted{Visitor: visitorOf(n), Number: n, At: now, Epoch: l.epoch})
		l.admitted = append(l.admitted, n)
		l.active[visitorOf(n)] = true
		l.stats.Admitted++
		round.Admitted++
		round.Last = n
	}
	for part := range slices.Chunk(admitted, room.MaxEntry) {
		l.put(room.Entry{Admitted: part, Count: len(part)})
	}
	round.Total, round.Now, round.Seq = int64(len(l.admitted)), now, l.seq
	round.Outbox, round.Waiting, round.Slots = l.depth(), int64(len(l.queue)), int64(len(l.active))
	return round, nil
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

func (w *world) Oldest(context.Context, room.Name) (time.Time, error) { return time.Time{}, nil }

func (w *world) ReadOutbox(_ context.Context, name room.Name, limit int) ([]room.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called("read")
	l, err := w.line(name, nil)
	if err != nil {
		return nil, err
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
	l, err := w.line(name, nil)
	if err != nil {
		return err
	}
	for _, id := range ids {
		l.kept[id]++
		if e := l.outbox[id]; e != nil {
			e.read = time.Now()
		}
	}
	return nil
}

func (w *world) Relayed(_ context.Context, name room.Name, caller room.Caller, entries []room.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name, &caller)
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

func (w *world) Finish(_ context.Context, name room.Name, caller room.Caller, place room.Place) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name, &caller)
	if err != nil {
		return false, err
	}
	freed := l.active[place.Visitor]
	delete(l.active, place.Visitor)
	return freed, nil
}

func (w *world) FinishAll(ctx context.Context, name room.Name, caller room.Caller, places []room.Place) (freed int, err error) {
	for _, place := range places {
		was, err := w.Finish(ctx, name, caller, place)
		if err != nil {
			return freed, err
		}
		if was {
			freed++
		}
	}
	return freed, nil
}

func (w *world) SoldOut(_ context.Context, name room.Name, epoch room.Epoch, _ int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := w.line(name, &room.Caller{Epoch: epoch})
	if err != nil {
		return err
	}
	l.soldOut = true
	return nil
}

func (w *world) Publish(ctx context.Context, records []events.Record) error {
	if len(records) > 0 && records[0].Topic == events.TopicRooms {
		return w.publishRooms(ctx, records)
	}
	w.mu.Lock()
	w.flying++
	if w.flying > publishes {
		w.breaks("%d publishes in progress for one process", w.flying)
	}
	block := w.block
	w.mu.Unlock()
	slept := sleep(ctx, block)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying--
	switch {
	case !slept:
		return ctx.Err()
	case w.away != nil:
		return w.away
	}
	var failed []int
	for i, r := range records {
		w.tries[r.Headers["ce_id"]]++
		if w.sick != nil && w.sick(r) {
			failed = append(failed, i)
			continue
		}
		if r.Topic == events.DLQ(events.TopicAdmitted) {
			w.dlq = append(w.dlq, r)
			continue
		}
		w.log = append(w.log, r)
		w.sent[r.Headers["ce_id"]] = true
	}
	if len(failed) > 0 {
		return &events.Unpublished{Failed: failed, Err: errSick}
	}
	return nil
}

var errSick = errors.New("partition 3 of waitroom.admitted has no leader")

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
	l, err := w.line(name, nil)
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

// told is the title in the last record of each room, "†" for a tombstone, and how
// many records there are.
func (w *world) told(t *testing.T) (last map[room.Name]string, count int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	last = map[room.Name]string{}
	for _, r := range w.rooms {
		d, deleted, err := events.DecodeDescribed(r)
		if err != nil {
			t.Fatalf("a record that can't be read: %v", err)
		}
		if last[d.Room] = d.Title; deleted {
			last[d.Room] = "†"
		}
	}
	return last, len(w.rooms)
}

// publishRooms is Publish of the other loop, which goes on beside the relay's.
func (w *world) publishRooms(ctx context.Context, records []events.Record) error {
	w.mu.Lock()
	block := w.block
	w.mu.Unlock()
	if !sleep(ctx, block) {
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away != nil {
		return w.away
	}
	if len(records) > describeBatch {
		w.breaks("%d events in one publish", len(records))
	}
	w.rooms = append(w.rooms, records...)
	return nil
}

// settled says that everybody was admitted and Kafka has it all.
func (w *world) settled(name room.Name) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines[name]
	return len(l.queue) == 0 && len(l.outbox) == 0
}

// balance checks the promises at the end: nobody admitted was lost on the way to
// Kafka, nothing else got there, and repeats are the same record.
func (w *world) balance(t *testing.T, name room.Name, joined int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, broken := range w.broken {
		t.Error(broken)
	}
	l := w.lines[name]
	if got := len(l.admitted); got != joined {
		t.Errorf("got %d admitted, want %d", got, joined)
	}
	if !slices.IsSorted(l.admitted) {
		t.Error("admissions are not in order of number")
	}
	values := map[string]string{}
	for _, r := range w.log {
		fact, err := events.DecodeAdmitted(r.Headers, r.Value)
		if err != nil {
			t.Fatalf("a record that can't be read: %v", err)
		}
		if before, ok := values[fact.ID]; ok && before != string(r.Value) {
			t.Errorf("admission %s: got two different records", fact.ID)
		}
		values[fact.ID] = string(r.Value)
		if string(r.Key) != string(fact.Visitor) || r.Topic != events.TopicAdmitted {
			t.Errorf("admission %s: got topic %s, key %s, want %s, the visitor", fact.ID, r.Topic, r.Key, events.TopicAdmitted)
		}
	}
	if len(values) != joined {
		t.Errorf("got %d different admissions in Kafka, want %d", len(values), joined)
	}
}

// fault is what goes wrong with a call.
type fault int

const (
	none      fault = iota
	notSent         // the call did not arrive
	replyLost       // it took effect, and the caller saw an error
)

// client is one replica's way to the world; at decides the fate of each call by
// its name and its count.
type client struct {
	*world
	at func(call string, n int) fault

	mu     sync.Mutex
	counts map[string]int
}

var errNotSent = fmt.Errorf("%w: connection refused", room.ErrAway)

// through makes a call with the fate that at decides.
func through[T any](c *client, call string, do func() (T, error)) (T, error) {
	c.mu.Lock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[call]++
	n := c.counts[call]
	c.mu.Unlock()
	var zero T
	switch c.at(call, n) {
	case notSent:
		return zero, errNotSent
	case replyLost:
		if _, err := do(); err != nil {
			return zero, err
		}
		return zero, errLost
	}
	return do()
}

func (c *client) Rooms(ctx context.Context) ([]room.Name, error) {
	return through(c, "rooms", func() ([]room.Name, error) { return c.world.Rooms(ctx) })
}

func (c *client) Expire(ctx context.Context) ([]room.Name, error) { return c.world.Expire(ctx) }

func (c *client) Shards(ctx context.Context, names []room.Name) [][]room.Name {
	return c.world.Shards(ctx, names)
}

func (c *client) Away(ctx context.Context, name room.Name, limit int) ([]room.Number, error) {
	return through(c, "away", func() ([]room.Number, error) { return c.world.Away(ctx, name, limit) })
}

func (c *client) Reap(ctx context.Context, name room.Name, caller room.Caller, numbers []room.Number) (int, error) {
	return through(c, "reap", func() (int, error) { return c.world.Reap(ctx, name, caller, numbers) })
}

func (c *client) Deleted(ctx context.Context, name room.Name) (bool, error) {
	return through(c, "deleted", func() (bool, error) { return c.world.Deleted(ctx, name) })
}

func (c *client) Recreate(ctx context.Context, name room.Name, caller room.Caller, saved room.Saved) error {
	_, err := through(c, "recreate", func() (struct{}, error) { return struct{}{}, c.world.Recreate(ctx, name, caller, saved) })
	return err
}

func (c *client) Status(ctx context.Context, name room.Name) (room.Status, error) {
	return through(c, "status", func() (room.Status, error) { return c.world.Status(ctx, name) })
}

func (c *client) Set(ctx context.Context, name room.Name, change room.Change) (room.Changed, error) {
	return through(c, "set", func() (room.Changed, error) { return c.world.Set(ctx, name, change) })
}

func (c *client) Admit(ctx context.Context, name room.Name, caller room.Caller, limit int) (room.Round, error) {
	return through(c, "admit", func() (room.Round, error) { return c.world.Admit(ctx, name, caller, limit) })
}

func (c *client) ReadOutbox(ctx context.Context, name room.Name, most int) ([]room.Entry, error) {
	return through(c, "read", func() ([]room.Entry, error) { return c.world.ReadOutbox(ctx, name, most) })
}

func (c *client) Relayed(ctx context.Context, name room.Name, caller room.Caller, entries []room.Entry) error {
	_, err := through(c, "relayed", func() (struct{}, error) {
		return struct{}{}, c.world.Relayed(ctx, name, caller, entries)
	})
	return err
}

func (c *client) Keep(ctx context.Context, name room.Name, ids []string) error {
	_, err := through(c, "keep", func() (struct{}, error) { return struct{}{}, c.world.Keep(ctx, name, ids) })
	return err
}

func (c *client) Pulses(ctx context.Context, names []room.Name) ([]room.Pulse, []error) {
	pulses, err := through(c, "pulses", func() ([]room.Pulse, error) {
		pulses, errs := c.world.Pulses(ctx, names)
		return pulses, errors.Join(errs...)
	})
	errs := make([]error, len(names))
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return make([]room.Pulse, len(names)), errs
	}
	return pulses, errs
}

func (c *client) Busy(ctx context.Context, since string) (names []room.Name, next string, err error) {
	next, err = through(c, "busy", func() (string, error) {
		var err error
		names, next, err = c.world.Busy(ctx, since)
		return next, err
	})
	return names, next, err
}

func (c *client) MarkBusy(ctx context.Context, names ...room.Name) error {
	_, err := through(c, "mark", func() (struct{}, error) { return struct{}{}, c.world.MarkBusy(ctx, names...) })
	return err
}

func (c *client) EventRevs(ctx context.Context, names []room.Name) (map[room.Name]room.EventRev, error) {
	return through(c, "revs", func() (map[room.Name]room.EventRev, error) { return c.world.EventRevs(ctx, names) })
}

func (c *client) Event(ctx context.Context, name room.Name) (room.Event, error) {
	return through(c, "event", func() (room.Event, error) { return c.world.Event(ctx, name) })
}

func (c *client) Publish(ctx context.Context, records []events.Record) error {
	call := "publish"
	if len(records) > 0 && records[0].Topic == events.TopicRooms {
		call = "describe"
	}
	_, err := through(c, call, func() (struct{}, error) { return struct{}{}, c.world.Publish(ctx, records) })
	return err
}

// serve runs a replica until stop, which waits for its end.
func serve(t *testing.T, config Config, line line, publisher publisher) (s *Service, logs *observer.ObservedLogs, stop func()) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	s, err := New(config, "test@host", line, publisher, zap.New(core), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: got %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return s, logs, stop
}

// eventually waits in the bubble's time, which costs none.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 100_000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

var errAny = errors.New("something else")
