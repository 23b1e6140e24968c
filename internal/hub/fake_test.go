package hub

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waitroom/internal/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const show room.Name = "show"

var errNet = fmt.Errorf("%w: connection reset", room.ErrAway)

// fakeLine is one room in memory that keeps the invariant of the line. It counts
// calls, and can be away or lose replies.
type fakeLine struct {
	mu       sync.Mutex
	conf     room.Conf
	listed   bool
	unlisted bool        // the registry is lost, the line is not
	deleted  bool        // a tombstone says so
	others   []room.Name // listed beside show
	seq      room.Number
	queue    []room.Place // in order of number
	gone     []byte
	pending  map[room.VisitorID]time.Time
	active   map[room.VisitorID]time.Time
	lanes    map[string]fakeLane
	admitted int64

	away   bool
	fault  error // of every call
	lose   int   // so many replies of acts are lost after taking effect
	calls  map[string]int
	asked  []int // sizes of Stands calls
	joins  []room.Lane
	ranks  map[room.Number]room.Position // of the last Snapshot
	denied error                         // of the next joins
	slow   time.Duration                 // of the replies of leave
	hangs  time.Duration                 // every read takes so long and fails

	revised   room.Conf // the conf as of rev
	rev       int64
	marks     []room.Name
	lastAdmit time.Time
	unmarked  bool // the admitter's marks are lost
	life      room.Life
	reported  []room.Number // marks
	whole     bool          // the whole line is lost: nobody knows the room
	recreated []room.Saved

	reaped  []room.Place // taken out because nobody saw them
	said    []fakePresent
	blind   bool  // who is present is not heard
	refused error // to who is present

	nameless int // writing calls that did not say of whom

	// A line that fences: who saw more makes seq jump, and the numbers between come
	// back to their number by Rejoin, one by one.
	fences bool
	gap    [2]room.Number // from above the first to the second
	rejoin []int          // sizes of Rejoin calls
}

// fakePresent is one call of Present.
type fakePresent struct {
	at   time.Time
	from int64
	bits []byte
	mark room.Number
}

// numbers are those that its window tells.
func (p fakePresent) numbers() (all []room.Number) {
	for i, b := range p.bits {
		for n := range 8 {
			if b&(0x80>>n) != 0 {
				all = append(all, room.Number((p.from+int64(i))<<3)+room.Number(n))
			}
		}
	}
	return all
}

type fakeLane struct {
	batch int64
	reply room.Joined
	back  bool // it was given back
}

func newFakeLine() *fakeLine {
	conf := room.DefaultConf()
	conf.Epoch, conf.State = "aaaaaaaa", room.Open
	return &fakeLine{conf: conf, listed: true, pending: map[room.VisitorID]time.Time{}, active: map[room.VisitorID]time.Time{},
		lanes: map[string]fakeLane{}, calls: map[string]int{}}
}

func (f *fakeLine) call(name string) error {
	f.calls[name]++
	switch {
	case f.away:
		return errNet
	case f.fault != nil:
		return f.fault
	case f.whole && name != "recreate":
		return room.ErrUnknown
	}
	return nil
}

// lost is the error of a reply that is lost.
func (f *fakeLine) lost() error {
	if f.lose > 0 {
		f.lose--
		return errNet
	}
	return nil
}

func (f *fakeLine) guard(by room.Caller) error {
	if by.Process != "node" {
		f.nameless++
	}
	switch {
	case !f.listed:
		return room.ErrUnknown
	case by.Epoch != f.conf.Epoch:
		return room.ErrEpoch
	case f.seq < by.Mark && f.fences:
		f.gap = [2]room.Number{f.seq, by.Mark}
		for n := f.seq + 1; n <= by.Mark; n++ {
			f.setGone(n)
		}
		f.seq = by.Mark
	case f.seq < by.Mark:
		return room.ErrRecovering
	}
	return nil
}

func (f *fakeLine) Rooms(context.Context) ([]room.Name, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("rooms"); err != nil || !f.listed || f.unlisted {
		return f.others, err
	}
	return append([]room.Name{show}, f.others...), nil
}

// Pulses changes with everything that a real line counts.
func (f *fakeLine) Pulses(ctx context.Context, names []room.Name) ([]room.Pulse, []error) {
	pulses, errs := make([]room.Pulse, len(names)), make([]error, len(names))
	if f.hang(ctx) {
		for i := range errs {
			errs[i] = errNet
		}
		return pulses, errs
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range names {
		pulses[i], errs[i] = f.pulse(), f.call("pulse")
	}
	return pulses, errs
}

// hang takes its time, as long as a caller waits for it; false: the line answers.
func (f *fakeLine) hang(ctx context.Context) bool {
	f.mu.Lock()
	hangs := f.hangs
	f.mu.Unlock()
	if hangs > 0 {
		select {
		case <-time.After(hangs):
		case <-ctx.Done():
		}
	}
	return hangs > 0
}

func (f *fakeLine) pulse() (p room.Pulse) {
	if !f.listed {
		return p
	}
	if f.conf != f.revised {
		f.revised = f.conf
		f.rev++
	}
	for _, b := range f.gone {
		p.Stats.Left += int64(bits.OnesCount8(b))
	}
	p.Stats.Joined, p.Stats.Admitted, p.Rev = int64(f.seq), f.admitted, f.rev
	p.Stats.Claimed, p.Stats.Missed = int64(len(f.active)), int64(len(f.pending))
	p.Restored = int64(len(f.queue))
	return p
}

func (f *fakeLine) Shards(_ context.Context, names []room.Name) [][]room.Name {
	if len(names) == 0 {
		return nil
	}
	return [][]room.Name{names}
}

func (f *fakeLine) MarkBusy(_ context.Context, names ...room.Name) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("mark"); err != nil {
		return err
	}
	f.marks = append(f.marks, names...)
	return nil
}

func (f *fakeLine) Busy(_ context.Context, since string) (names []room.Name, next string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("busy"); err != nil {
		return nil, since, err
	}
	if since != "" {
		n, _ := strconv.Atoi(since)
		names = slices.Clone(f.marks[n:])
	}
	return names, strconv.Itoa(len(f.marks)), nil
}

func (f *fakeLine) Deleted(context.Context, room.Name) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deleted, f.call("deleted")
}

// delete is what an operator's delete leaves.
func (f *fakeLine) delete() { f.set(func() { f.listed, f.deleted = false, true }) }

func (f *fakeLine) Join(_ context.Context, _ room.Name, by room.Caller, lane room.Lane, ids []room.VisitorID) (room.Joined, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joins = append(f.joins, lane)
	if err := errors.Join(f.call("join"), f.guard(by)); err != nil {
		return room.Joined{}, err
	}
	if f.denied != nil {
		return room.Joined{}, f.denied
	}
	if l := f.lanes[lane.Name]; l.back && lane.Batch <= l.batch {
		return room.Joined{}, room.ErrStaleBatch
	} else if l.batch == lane.Batch {
		l.reply.Repeated = true
		return l.reply, f.lost()
	}
	j := room.Joined{First: f.seq + 1, Granted: len(ids), WasEmpty: len(f.queue) == 0}
	for _, id := range ids {
		f.seq++
		f.queue = append(f.queue, room.Place{Visitor: id, Number: f.seq})
	}
	f.lanes[lane.Name] = fakeLane{batch: lane.Batch, reply: j}
	return j, f.lost()
}

func (f *fakeLine) GiveBack(_ context.Context, _ room.Name, by room.Caller, lane room.Lane, told bool) (given int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.call("give back"), f.guard(by)); err != nil {
		return 0, err
	}
	if told {
		f.nameless++ // nobody of a batch that this node gave up was told anything
	}
	l := f.lanes[lane.Name]
	for _, p := range slices.Clone(f.queue) {
		if l.batch == lane.Batch && l.reply.First <= p.Number && p.Number <= l.reply.Mark() {
			f.remove(p)
			given++
		}
	}
	f.lanes[lane.Name] = fakeLane{batch: lane.Batch, back: true}
	return given, f.lost()
}

func (f *fakeLine) stand(p room.Place) room.Stand {
	now := time.Now()
	if p.Number > f.seq {
		return room.Stand{Standing: room.Unseen}
	}
	if slices.Contains(f.queue, p) {
		return room.Stand{Standing: room.Waiting}
	}
	if slices.Contains(f.reaped, p) {
		return room.Stand{Standing: room.Away}
	}
	if f.gap[0] < p.Number && p.Number <= f.gap[1] && f.pending[p.Visitor].IsZero() {
		return room.Stand{Standing: room.Unseen}
	}
	if at, ok := f.pending[p.Visitor]; ok && now.Before(at) {
		return room.Stand{Standing: room.Unclaimed, Left: at.Sub(now), Deadline: at}
	}
	if at, ok := f.active[p.Visitor]; ok && now.Before(at) {
		return room.Stand{Standing: room.Active, Left: at.Sub(now), Deadline: at}
	}
	return room.Stand{}
}

func (f *fakeLine) Rejoin(_ context.Context, _ room.Name, by room.Caller, places []room.Place) ([]room.Stand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.call("rejoin"), f.guard(by)); err != nil {
		return nil, err
	}
	f.rejoin = append(f.rejoin, len(places))
	for _, p := range places {
		if f.gap[0] < p.Number && p.Number <= f.gap[1] && f.stand(p).Standing == room.Unseen {
			f.gone[p.Number>>3] &^= 0x80 >> (p.Number & 7)
			at, _ := slices.BinarySearchFunc(f.queue, p, func(a, b room.Place) int { return int(a.Number - b.Number) })
			f.queue = slices.Insert(f.queue, at, p)
		}
	}
	return f.stands(places), f.lost()
}

func (f *fakeLine) Report(_ context.Context, _ room.Name, by room.Caller) (room.Number, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.call("report"), f.guard(by)); err != nil {
		return 0, false, err
	}
	f.reported = append(f.reported, by.Mark)
	return f.seq, f.life.Asking, f.lost()
}

func (f *fakeLine) Recreate(_ context.Context, _ room.Name, by room.Caller, saved room.Saved) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("recreate"); err != nil {
		return err
	}
	f.recreated = append(f.recreated, saved)
	f.conf.State = room.State(saved.Conf["state"])
	f.conf.Rev, _ = strconv.ParseInt(saved.Conf["rev"], 10, 64)
	f.whole = false
	return nil
}

func (f *fakeLine) Present(_ context.Context, _ room.Name, by room.Caller, from int64, bits []byte) (room.Number, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.call("present"), f.guard(by)); err != nil {
		return 0, false, err
	}
	if f.blind {
		return 0, false, errNet
	}
	if f.refused != nil {
		return 0, false, f.refused
	}
	f.said = append(f.said, fakePresent{time.Now(), from, slices.Clone(bits), by.Mark})
	return f.seq, f.life.Asking, f.lost()
}

func (f *fakeLine) stands(places []room.Place) (s []room.Stand) {
	for _, p := range places {
		s = append(s, f.stand(p))
	}
	return s
}

func (f *fakeLine) Claim(_ context.Context, _ room.Name, by room.Caller, p room.Place) (room.Stand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.call("claim"), f.guard(by)); err != nil {
		return room.Stand{}, err
	}
	if f.stand(p).Standing == room.Unclaimed {
		delete(f.pending, p.Visitor)
		f.active[p.Visitor] = time.Now().Add(f.conf.Pass)
	}
	s := f.stand(p)
	if s.Standing == room.Gone || s.Standing == room.Away {
		return s, room.ErrSpent
	}
	return s, f.lost()
}

func (f *fakeLine) Leave(_ context.Context, _ room.Name, by room.Caller, p room.Place) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.call("leave"), f.guard(by)); err != nil {
		return err
	}
	switch f.stand(p).Standing {
	case room.Gone, room.Away:
		return room.ErrSpent
	case room.Active:
		return room.ErrActive
	case room.Unclaimed:
		delete(f.pending, p.Visitor)
	case room.Waiting:
		f.remove(p)
	}
	slow := f.slow
	f.mu.Unlock()
	time.Sleep(slow) // the reply is under way
	f.mu.Lock()
	return f.lost()
}

func (f *fakeLine) remove(p room.Place) {
	f.queue = slices.DeleteFunc(f.queue, func(q room.Place) bool { return q == p })
	f.setGone(p.Number)
}

// reap takes somebody out whom nobody saw.
func (f *fakeLine) reap(p room.Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(p)
	f.reaped = append(f.reaped, p)
}

func (f *fakeLine) setGone(n room.Number) {
	for int(n>>3) >= len(f.gone) {
		f.gone = append(f.gone, 0)
	}
	f.gone[n>>3] |= 0x80 >> (n & 7)
}

// admit lets the next n in.
func (f *fakeLine) admit(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.lastAdmit) > 2*time.Second && !f.unmarked {
		f.marks = append(f.marks, show) // the room was quiet
	}
	f.lastAdmit = time.Now()
	for range min(n, len(f.queue)) {
		p := f.queue[0]
		f.remove(p)
		f.pending[p.Visitor] = time.Now().Add(f.conf.Claim)
		f.admitted++
	}
}

func (f *fakeLine) head() room.Number {
	if len(f.queue) == 0 {
		return f.seq + 1
	}
	return f.queue[0].Number
}

func (f *fakeLine) window(from int64, most int) []byte {
	if from >= int64(len(f.gone)) {
		return nil
	}
	w := f.gone[from:]
	return slices.Clone(w[:min(len(w), most)])
}

func (f *fakeLine) Snapshot(ctx context.Context, _ room.Name, from int64) (room.Snapshot, error) {
	if f.hang(ctx) {
		return room.Snapshot{}, errNet
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("snapshot"); err != nil {
		return room.Snapshot{}, err
	}
	if !f.listed {
		return room.Snapshot{}, room.ErrUnknown
	}
	from = min(from, int64(f.head()>>3))
	f.ranks = map[room.Number]room.Position{}
	for i, p := range f.queue {
		f.ranks[p.Number] = room.Position(i + 1)
	}
	f.pulse()
	conf := f.conf
	if conf.Rev == 0 { // else a test says it
		conf.Rev = f.rev
	}
	return room.Snapshot{Conf: conf, Now: time.Now(), Seq: f.seq, Head: f.head(), Waiting: int64(len(f.queue)),
		Admitted: f.admitted, Gone: f.window(from, 1<<30), GoneFrom: from, Life: f.life,
		Saved: room.Saved{Conf: map[string]string{"epoch": string(conf.Epoch), "state": string(conf.State), "rev": strconv.FormatInt(conf.Rev, 10)}}}, nil
}

func (f *fakeLine) Turn(_ context.Context, _ room.Name, _ int64) (room.Turn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("turn"); err != nil {
		return room.Turn{}, err
	}
	if !f.listed {
		return room.Turn{}, room.ErrUnknown
	}
	from := int64(f.head() >> 3)
	return room.Turn{Seq: f.seq, Head: f.head(), Gone: f.window(from, 64), GoneFrom: from}, nil
}

func (f *fakeLine) Stands(_ context.Context, _ room.Name, places []room.Place) ([]room.Stand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, len(places))
	if err := f.call("stands"); err != nil {
		return nil, err
	}
	return f.stands(places), nil
}

// set changes the fake under its lock.
func (f *fakeLine) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeLine) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

// EventRevs and Event make the fake a line that a directory can follow.
func (f *fakeLine) EventRevs(context.Context, []room.Name) (map[room.Name]room.EventRev, error) {
	return nil, nil
}

func (f *fakeLine) Event(context.Context, room.Name) (room.Event, error) {
	return room.Event{}, room.ErrUnknown
}
