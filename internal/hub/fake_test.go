package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/directory"
	"waitroom/internal/room"
	"waitroom/internal/wire"
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

	nameless int // writing calls that did not say of whom

	// A line that fences: who saw more makes seq jump, and the numbers between come
	// back to their number by Rejoin, one by one.
	fences bool
	gap    [2]room.Number // from above the first to the second
	rejoin []int          // sizes of Rejoin calls
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
	j := room.Joined{First: f.seq + 1, Granted: len(ids)}
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
	if s.Standing == room.Gone {
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
	case room.Gone:
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

func (f *fakeLine) Snapshot(_ context.Context, _ room.Name, from int64) (room.Snapshot, error) {
	f.mu.Lock()
	hangs := f.hangs
	f.mu.Unlock()
	if hangs > 0 {
		time.Sleep(hangs)
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
	return room.Snapshot{Conf: f.conf, Now: time.Now(), Seq: f.seq, Head: f.head(), Waiting: int64(len(f.queue)),
		Admitted: f.admitted, Gone: f.window(from, 1<<30), GoneFrom: from}, nil
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

// fakeSigner signs nothing; what it says can be read.
type fakeSigner struct{}

func (fakeSigner) Place(_ room.Name, e room.Epoch, p room.Place) (string, error) {
	return fmt.Sprintf("%s %s %d", e, p.Visitor, p.Number), nil
}

func (fakeSigner) Pass(a room.Admission, until time.Time) (string, error) {
	return fmt.Sprintf("%s until %d", a, until.UnixMilli()), nil
}

// message is any message of the server.
type message struct {
	Type     wire.Type
	Place    string
	Number   room.Number
	Position room.Position
	Waiting  int64
	ETA      *wire.ETA
	ClaimMS  int64 `json:"claim_ms"`
	Pass     string
	State    room.Shown
	Notice   string
	Code     wire.Code
	BeatMS   int64 `json:"beat_ms"`

	At     time.Time `json:"-"`
	Closed int       `json:"-"` // a close code
}

// fakeSink keeps what it hears.
type fakeSink struct {
	line *fakeLine
	busy bool // guarded by mu

	mu    sync.Mutex
	heard []message
	wrong []string // positions that are not the rank of the last read
}

func (s *fakeSink) keep(text []byte) message {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		panic(err)
	}
	m.At = time.Now()
	s.heard = append(s.heard, m)
	return m
}

func (s *fakeSink) TrySend(text []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		return false
	}
	m := s.keep(text)
	if m.Type == wire.Position && s.line != nil {
		s.line.mu.Lock()
		want := s.line.ranks[s.number()]
		s.line.mu.Unlock()
		if m.Position != want {
			s.wrong = append(s.wrong, fmt.Sprintf("number %d: got position %d, want %d", s.number(), m.Position, want))
		}
	}
	return true
}

// number is the last one given. The caller holds mu.
func (s *fakeSink) number() (n room.Number) {
	for _, m := range s.heard {
		if m.Type == wire.Joined {
			n = m.Number
		}
	}
	return n
}

func (s *fakeSink) Send(texts ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		s.keep(text)
	}
}

func (s *fakeSink) Close(code wire.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, message{Closed: wire.Codes[code].Close, At: time.Now()})
}

// take returns what was heard since the last take.
func (s *fakeSink) take() []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard
	s.heard = nil
	if n := slices.IndexFunc(h, func(m message) bool { return m.Type == wire.Joined }); n >= 0 {
		s.heard = h[n : n+1 : n+1] // number is asked again later
		h = slices.Delete(slices.Clone(h), n, n+1)
	}
	return h
}

// types are the types of messages, closes as "close <code>".
func types(heard []message) (ts []string) {
	for _, m := range heard {
		switch {
		case m.Closed != 0:
			ts = append(ts, fmt.Sprintf("close %d", m.Closed))
		case m.Type == wire.Error:
			ts = append(ts, "error "+string(m.Code))
		case m.Type == wire.Room:
			ts = append(ts, "room "+string(m.State))
		default:
			ts = append(ts, string(m.Type))
		}
	}
	return ts
}

// EventRevs and Event make the fake a line that a directory can follow.
func (f *fakeLine) EventRevs(context.Context, []room.Name) (map[room.Name]room.EventRev, error) {
	return nil, nil
}

func (f *fakeLine) Event(context.Context, room.Name) (room.Event, error) {
	return room.Event{}, room.ErrUnknown
}

// bench is a node over a fake line, in a bubble of fake time.
type bench struct {
	*testing.T
	line *fakeLine
	hub  *Hub
	logs *observer.ObservedLogs
	end  func() // ends the node and waits for it
}

// inBubble runs a story in fake time. At its end every goroutine must have ended.
func inBubble(t *testing.T, story func(*bench)) {
	t.Helper()
	inBubbleWith(t, Config{}, story)
}

func inBubbleWith(t *testing.T, conf Config, story func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		b := &bench{T: t, line: newFakeLine(), logs: logs}
		rooms := directory.New(b.line, zap.NewNop())
		b.hub = New(conf, "node", b.line, rooms, fakeSigner{}, "https://shop/{room}", zap.New(core), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		var loops sync.WaitGroup // end with cancel below
		loops.Go(func() { _ = b.hub.Run(ctx) })
		synctest.Wait()
		loops.Go(func() { _ = rooms.Run(ctx) })
		<-rooms.Contact()
		b.end = func() { cancel(); loops.Wait() }
		story(b)
		if b.line.nameless > 0 {
			t.Errorf("got %d writing calls without the process that makes them", b.line.nameless)
		}
		b.end()
	})
}

// pass lets time pass, and whatever is due then happen.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// join brings n new visitors at once and returns them in order of number.
func (b *bench) join(n int) ([]*Session, []*fakeSink) {
	b.Helper()
	sessions, sinks := make([]*Session, n), make([]*fakeSink, n)
	var wg sync.WaitGroup
	for i := range n {
		sinks[i] = &fakeSink{line: b.line}
		wg.Go(func() {
			v, err := b.hub.Join(b.Context(), show, sinks[i])
			if err != nil {
				b.Errorf("join: %v", err)
			}
			sessions[i] = v
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return int(sessions[i].place.Number - sessions[j].place.Number) })
	vs, ss := make([]*Session, n), make([]*fakeSink, n)
	for to, from := range order {
		vs[to], ss[to] = sessions[from], sinks[from]
	}
	return vs, ss
}
