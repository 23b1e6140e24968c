package hub

import (
	"cmp"
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

// fakeLine is one room in memory, held to the contract of the line by TestFakeLine. It
// counts calls, and can be away or lose replies. The line itself can't stand here: these
// tests run on synctest's clock, which stands still while anybody waits for a socket.
type fakeLine struct {
	name     room.Name // set once
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

	created   time.Time
	event     room.Event
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

	// Who saw more makes seq jump, and the numbers between come back by Rejoin, one by
	// one. Without fences the line refuses instead, as one does that can't say what it
	// lost: no line of today, and one that a node must outlive all the same.
	fences   bool
	back     map[room.Number]bool // whose holder the line does not know
	lives    int
	heard    map[string]time.Time // processes
	awaited  map[string]bool      // those that are waited for after a loss
	askUntil time.Time
	unknown  bool  // nobody knows who was alive before the loss
	rejoin   []int // sizes of Rejoin calls
}

// unheardOf is how many numbers a process that was not heard may have given here. The
// line says as many as it measured, 65,536 at least.
const unheardOf = 100

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
	epoch room.Epoch
	batch int64
	reply room.Joined
	back  bool // it was given back
}

func newFakeLine() *fakeLine {
	conf := room.DefaultConf()
	conf.Epoch, conf.State = "aaaaaaaa", room.Open
	return &fakeLine{name: show, conf: conf, listed: true, pending: map[room.VisitorID]time.Time{}, active: map[room.VisitorID]time.Time{},
		lanes: map[string]fakeLane{}, calls: map[string]int{}, fences: true, back: map[room.Number]bool{}, created: time.Now(),
		heard: map[string]time.Time{}, awaited: map[string]bool{}}
}

func (f *fakeLine) call(name string) error {
	f.calls[name]++
	if f.away {
		return errNet
	}
	return f.fault
}

// look is call for what is asked of a room's line.
func (f *fakeLine) look(call string, name room.Name) error {
	switch err := f.call(call); {
	case err != nil:
		return err
	case !f.listed, f.whole, name != f.name && !slices.Contains(f.others, name):
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

// guard is what every writing call begins with; seen is the greatest number that somebody
// shows beside the caller's mark.
func (f *fakeLine) guard(call string, name room.Name, by room.Caller, seen room.Number) error {
	if by.Process != "node" {
		f.nameless++
	}
	if err := f.look(call, name); err != nil {
		return err
	}
	return f.write(by, seen)
}

// write is guard for a call that is counted already.
func (f *fakeLine) write(by room.Caller, seen room.Number) error {
	if by.Epoch != f.conf.Epoch {
		return room.ErrEpoch
	}
	switch most := max(by.Mark, seen); {
	case !f.fences && by.Mark > f.seq:
		return room.ErrRecovering
	case f.fences && most > f.seq:
		if !f.asking() {
			f.fence(by)
		}
		f.forget(most)
	}
	delete(f.awaited, by.Process)
	if by.Process != "" {
		f.heard[by.Process] = time.Now()
	}
	f.resolve()
	return nil
}

// fence begins another life of the line, and asks who was alive.
func (f *fakeLine) fence(by room.Caller) {
	f.lives++
	f.unknown = len(f.heard) == 0
	for process := range f.heard {
		if process != by.Process {
			f.awaited[process] = true
		}
	}
	clear(f.heard)
	f.askUntil = time.Now().Add(3 * time.Second)
	f.life.ID, f.life.Lost, f.life.Restored = "life "+strconv.Itoa(f.lives), 0, 0
	f.life.Fences++
	f.life.LostAt, f.life.HoldUntil = time.Now(), time.Now().Add(10*time.Second)
}

// asking says whether the line waits for somebody's mark.
func (f *fakeLine) asking() bool { return !f.askUntil.IsZero() }

// resolve ends the asking once everybody was heard, or nobody is waited for any longer.
func (f *fakeLine) resolve() {
	open := len(f.awaited) > 0 || f.unknown
	if !f.asking() || open && time.Now().Before(f.askUntil) {
		return
	}
	f.askUntil = time.Time{}
	clear(f.awaited)
	if open {
		f.forget(f.seq + unheardOf)
	}
}

// forget: the numbers up to one were given to somebody whom the line does not know.
func (f *fakeLine) forget(to room.Number) {
	f.life.Lost += int64(max(0, to-f.seq))
	for n := f.seq + 1; n <= to; n++ {
		f.setGone(n)
		f.back[n] = true
	}
	f.seq = max(f.seq, to)
}

func (f *fakeLine) Rooms(context.Context) ([]room.Name, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("rooms"); err != nil || !f.listed || f.unlisted || f.whole {
		return f.others, err
	}
	return append([]room.Name{f.name}, f.others...), nil
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
	for i, name := range names {
		errs[i] = f.look("pulse", name)
		switch {
		case errs[i] == nil:
			pulses[i] = f.pulse()
		case errors.Is(errs[i], room.ErrUnknown):
			errs[i] = nil // a plain read, of nothing
		}
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
		for _, name := range f.marks[n:] {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, strconv.Itoa(len(f.marks)), nil
}

func (f *fakeLine) Deleted(_ context.Context, name room.Name) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deleted && name == f.name, f.call("deleted")
}

// delete is what an operator's delete leaves.
func (f *fakeLine) delete() { f.set(func() { f.listed, f.deleted = false, true }) }

func (f *fakeLine) Join(_ context.Context, name room.Name, by room.Caller, lane room.Lane, ids []room.VisitorID) (room.Joined, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joins = append(f.joins, lane)
	if err := f.guard("join", name, by, 0); err != nil {
		return room.Joined{}, err
	}
	if f.denied != nil {
		return room.Joined{}, f.denied
	}
	if l := f.lanes[lane.Name]; l.epoch == f.conf.Epoch {
		switch {
		case lane.Batch < l.batch, lane.Batch == l.batch && l.back:
			return room.Joined{}, room.ErrStaleBatch
		case lane.Batch == l.batch:
			l.reply.Repeated, l.reply.WasEmpty = true, false
			return l.reply, f.lost()
		}
	}
	switch {
	case f.asking():
		return room.Joined{}, room.ErrRecovering
	case f.conf.State == room.Closed:
		return room.Joined{}, room.ErrClosed
	case f.conf.SoldOut:
		return room.Joined{}, room.ErrSoldOut
	}
	granted := min(len(ids), int(f.conf.MaxWaiting)-len(f.queue))
	if granted <= 0 {
		return room.Joined{}, f.lost()
	}
	j := room.Joined{First: f.seq + 1, Granted: granted, WasEmpty: len(f.queue) == 0}
	numbers := make([]room.Number, granted)
	before := f.queue
	for i, id := range ids[:granted] {
		f.seq++
		numbers[i] = f.seq
		if at := slices.IndexFunc(before, func(p room.Place) bool { return p.Visitor == id }); !j.WasEmpty && at >= 0 {
			numbers[i] = before[at].Number // keeps it; the new one is nobody's
			j.Known = numbers
			f.setGone(f.seq)
			continue
		}
		f.queue = append(f.queue, room.Place{Visitor: id, Number: f.seq})
	}
	f.lanes[lane.Name] = fakeLane{epoch: f.conf.Epoch, batch: lane.Batch, reply: j}
	return j, f.lost()
}

func (f *fakeLine) GiveBack(_ context.Context, name room.Name, by room.Caller, lane room.Lane, told bool) (given int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.guard("give back", name, by, 0); err != nil {
		return 0, err
	}
	if told {
		f.nameless++ // nobody of a batch that this node gave up was told anything
	}
	l := f.lanes[lane.Name]
	if l.epoch == f.conf.Epoch && l.batch > lane.Batch {
		return 0, f.lost() // answered since
	}
	for _, p := range slices.Clone(f.queue) {
		if l.epoch == f.conf.Epoch && l.batch == lane.Batch && l.reply.First <= p.Number && p.Number <= l.reply.Mark() {
			f.remove(p)
			f.back[p.Number] = told
			given++
		}
	}
	f.lanes[lane.Name] = fakeLane{epoch: f.conf.Epoch, batch: lane.Batch, back: true}
	return given, f.lost()
}

func (f *fakeLine) stand(p room.Place) room.Stand {
	now := time.Now()
	for standing, deadlines := range map[room.Standing]map[room.VisitorID]time.Time{room.Unclaimed: f.pending, room.Active: f.active} {
		if at, ok := deadlines[p.Visitor]; ok {
			if !now.Before(at) {
				return room.Stand{}
			}
			return room.Stand{Standing: standing, Left: at.Sub(now), Deadline: at}
		}
	}
	switch {
	case slices.Contains(f.queue, p):
		return room.Stand{Standing: room.Waiting}
	case p.Number > f.seq, f.back[p.Number]:
		return room.Stand{Standing: room.Unseen}
	case slices.ContainsFunc(f.reaped, func(q room.Place) bool { return q.Number == p.Number }):
		return room.Stand{Standing: room.Away}
	}
	return room.Stand{}
}

func (f *fakeLine) Rejoin(_ context.Context, name room.Name, by room.Caller, places []room.Place) ([]room.Stand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(places) == 0 {
		return nil, nil // nobody is asked for
	}
	seen := slices.MaxFunc(places, func(a, b room.Place) int { return cmp.Compare(a.Number, b.Number) }).Number
	if err := f.guard("rejoin", name, by, seen); err != nil {
		return nil, err
	}
	f.rejoin = append(f.rejoin, len(places))
	for _, p := range places {
		known := slices.ContainsFunc(f.queue, func(q room.Place) bool { return q.Visitor == p.Visitor })
		if !known && f.back[p.Number] && f.stand(p).Standing == room.Unseen {
			delete(f.back, p.Number)
			f.gone[p.Number>>3] &^= 0x80 >> (p.Number & 7)
			at, _ := slices.BinarySearchFunc(f.queue, p, func(a, b room.Place) int { return cmp.Compare(a.Number, b.Number) })
			f.queue = slices.Insert(f.queue, at, p)
			f.life.Restored++
		}
	}
	return f.stands(places), f.lost()
}

func (f *fakeLine) Report(_ context.Context, name room.Name, by room.Caller) (room.Number, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.guard("report", name, by, 0); err != nil {
		return 0, false, err
	}
	f.reported = append(f.reported, by.Mark)
	return f.seq, f.life.Asking || f.asking(), f.lost()
}

func (f *fakeLine) Recreate(_ context.Context, _ room.Name, by room.Caller, saved room.Saved) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("recreate"); err != nil {
		return err
	}
	if f.deleted {
		return room.ErrDeleted
	}
	if saved.Epoch() != f.conf.Epoch {
		return room.ErrEpoch
	}
	f.recreated = append(f.recreated, saved)
	rev, _ := strconv.ParseInt(saved.Conf["rev"], 10, 64)
	if f.whole || rev > f.confRev() {
		f.conf.State = room.State(saved.Conf["state"])
		f.conf.Rev = rev
	}
	if f.whole {
		f.whole = false
		f.drop()
		f.fence(by)
	}
	return f.write(room.Caller{Epoch: f.conf.Epoch, Mark: by.Mark, Process: by.Process}, 0)
}

// drop takes away whoever is in the line, and what it remembers of its callers.
func (f *fakeLine) drop() {
	f.seq, f.queue, f.gone, f.reaped, f.admitted = 0, nil, nil, nil, 0
	for _, m := range []map[room.VisitorID]time.Time{f.pending, f.active} {
		clear(m)
	}
	clear(f.back)
	clear(f.lanes)
	clear(f.heard)
}

func (f *fakeLine) Present(_ context.Context, name room.Name, by room.Caller, from int64, bits []byte) (room.Number, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.guard("present", name, by, 0); err != nil {
		return 0, false, err
	}
	if f.blind {
		return 0, false, errNet
	}
	if f.refused != nil {
		return 0, false, f.refused
	}
	f.said = append(f.said, fakePresent{time.Now(), from, slices.Clone(bits), by.Mark})
	return f.seq, f.life.Asking || f.asking(), f.lost()
}

func (f *fakeLine) stands(places []room.Place) (s []room.Stand) {
	for _, p := range places {
		s = append(s, f.stand(p))
	}
	return s
}

func (f *fakeLine) Claim(_ context.Context, name room.Name, by room.Caller, p room.Place) (room.Stand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.guard("claim", name, by, p.Number); err != nil {
		return room.Stand{}, err
	}
	if f.stand(p).Standing == room.Unclaimed {
		if f.conf.SoldOut {
			return room.Stand{}, room.ErrSoldOut
		}
		delete(f.pending, p.Visitor)
		f.active[p.Visitor] = time.Now().Add(f.conf.Pass)
	}
	s := f.stand(p)
	switch s.Standing {
	case room.Gone, room.Away:
		return s, room.ErrSpent
	case room.Unseen:
		return s, room.ErrRecovering
	}
	return s, f.lost()
}

func (f *fakeLine) Leave(_ context.Context, name room.Name, by room.Caller, p room.Place) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.guard("leave", name, by, p.Number); err != nil {
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
	case room.Unseen:
		delete(f.back, p.Number)
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

func (f *fakeLine) confRev() int64 {
	f.pulse()
	if f.conf.Rev != 0 { // else a test says it
		return f.conf.Rev
	}
	return f.rev
}

func (f *fakeLine) Snapshot(ctx context.Context, name room.Name, from int64) (room.Snapshot, error) {
	if f.hang(ctx) {
		return room.Snapshot{}, errNet
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.look("snapshot", name); err != nil {
		return room.Snapshot{}, err
	}
	from = min(from, int64(f.head()>>3))
	f.ranks = map[room.Number]room.Position{}
	for i, p := range f.queue {
		f.ranks[p.Number] = room.Position(i + 1)
	}
	conf, life := f.conf, f.life
	conf.Rev, conf.EventRev = f.confRev(), f.event.Rev
	life.Asking = life.Asking || f.asking()
	return room.Snapshot{Conf: conf, Now: time.Now(), Seq: f.seq, Head: f.head(), Waiting: int64(len(f.queue)),
		Admitted: f.admitted, Gone: f.window(from, 1<<30), GoneFrom: from, Life: life,
		Saved: room.Saved{Conf: map[string]string{"epoch": string(conf.Epoch), "state": string(conf.State), "rev": strconv.FormatInt(conf.Rev, 10)}}}, nil
}

func (f *fakeLine) Turn(_ context.Context, name room.Name, _ int64) (room.Turn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.look("turn", name); err != nil {
		return room.Turn{}, err
	}
	from := int64(f.head() >> 3)
	return room.Turn{Seq: f.seq, Head: f.head(), Gone: f.window(from, 64), GoneFrom: from, Life: f.life.ID}, nil
}

func (f *fakeLine) Stands(_ context.Context, name room.Name, places []room.Place) ([]room.Stand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(places) == 0 {
		return nil, nil // nobody is asked for
	}
	f.asked = append(f.asked, len(places))
	if err := f.look("stands", name); err != nil {
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
func (f *fakeLine) EventRevs(_ context.Context, names []room.Name) (map[room.Name]room.EventRev, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	revs := map[room.Name]room.EventRev{}
	for _, name := range names {
		switch err := f.look("event revs", name); {
		case err == nil:
			revs[name] = room.EventRev{Epoch: f.conf.Epoch, CreatedMS: f.created.UnixMilli(), Rev: f.event.Rev}
		case !errors.Is(err, room.ErrUnknown):
			return nil, err
		}
	}
	return revs, nil
}

func (f *fakeLine) Event(_ context.Context, name room.Name) (room.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.look("event", name); err != nil {
		return room.Event{}, err
	}
	return f.event, nil
}
