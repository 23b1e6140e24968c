package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/cadence"
	"waitroom/internal/outage"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

const (
	// PositionTick is the time between two reads of a room's line.
	PositionTick = time.Second
	// TurnTick is the time between two looks at the head: a quarter second from
	// admitted to told leaves room for one late tick.
	TurnTick = 100 * time.Millisecond
	// MaxSinks is how many connections of one visitor are served; the oldest goes
	// when one more comes.
	MaxSinks = 8
	// MaxJoins bounds the joins and returns of one room that wait for the line.
	// Beyond it a join is refused at once: at 500,000/s it is a tenth of a second
	// of work, so whoever meets the bound would wait for nothing.
	MaxJoins = 50_000
	// Patience is how long a visitor waits for the answer to a join.
	Patience = 5 * time.Second
	// collect is how long the first of a batch waits for others.
	collect = time.Millisecond
	// stalledAfter is how old the last good read may be before visitors are told:
	// one blip of Redis is nobody's business.
	stalledAfter = 2500 * time.Millisecond
	// turnGood is how old the last good turn tick may be for a claim before its time to
	// be answered out of it: three ticks, since one may fail.
	turnGood = 3 * TurnTick
	// faultsQuiet is how long after the last one a fault is the first of another story.
	faultsQuiet = 10 * time.Minute
	// lastSecond is how long before the end of a claim the line is asked whether
	// somebody has claimed on another node. Who claims and buys within it, there, is
	// told that the turn was missed here.
	lastSecond = time.Second
	// readLimit bounds one read or act, so that a hanging server costs a tick.
	readLimit = time.Second
)

// The line, in the two parts that this package needs; internal/line is the real
// one. Errors are room's sentinels; whatever else comes counts as the line being
// away.
type (
	writes interface {
		Join(context.Context, room.Name, room.Caller, room.Lane, []room.VisitorID) (room.Joined, error)
		Rejoin(context.Context, room.Name, room.Caller, []room.Place) ([]room.Stand, error)
		Claim(context.Context, room.Name, room.Caller, room.Place) (room.Stand, error)
		Leave(context.Context, room.Name, room.Caller, room.Place) error
		// Report tells this process's mark to a line that asks for it after a loss.
		Report(context.Context, room.Name, room.Caller) (last room.Number, asking bool, err error)
		Recreate(context.Context, room.Name, room.Caller, room.Saved) error
		// Present says whom this node sees: bits, a window of the bitmap of their numbers
		// from byte from on. It tells the mark as Report does.
		Present(_ context.Context, _ room.Name, _ room.Caller, from int64, bits []byte) (last room.Number, asking bool, err error)
		// GiveBack takes out a batch that nobody heard of, as far as it took effect;
		// told: somebody may have.
		GiveBack(_ context.Context, _ room.Name, _ room.Caller, _ room.Lane, told bool) (given int, err error)
	}
	// A Snapshot's window begins at from, or at the head where that is before it; a
	// Turn's begins at the head.
	reads interface {
		Snapshot(ctx context.Context, name room.Name, from int64) (room.Snapshot, error)
		Turn(ctx context.Context, name room.Name, from int64) (room.Turn, error)
		Stands(context.Context, room.Name, []room.Place) ([]room.Stand, error)
	}
	// Marks tell which rooms move again after nothing did for a while. Busy returns those
	// marked since a cursor, "" being now, and the next one.
	marks interface {
		MarkBusy(context.Context, ...room.Name) error
		Busy(ctx context.Context, since string) (names []room.Name, next string, err error)
	}
	// Line is all of it.
	Line interface {
		writes
		reads
		marks
	}
)

// Rooms knows which rooms there are; directory.Directory is one. Lookup may look,
// and its errors are those of room; Has, Deleted and EventOf answer out of memory, the last
// of them for one line of a room; its Rev is 0 when none is known. Shown says that a good
// place of a room was shown. Follow's functions hear once a second that the
// registry was read, or why it was not, and each listed room's pulse with when its read began.
type Rooms interface {
	Lookup(context.Context, room.Name) error
	Has(room.Name) bool
	Deleted(room.Name) bool
	EventOf(room.Name, room.Epoch) room.Event
	Shown(room.Name)
	Follow(registry func(err error), pulse func(name room.Name, began time.Time, p room.Pulse, err error))
}

// Signer signs what visitors keep; token.Keyring is one.
type Signer interface {
	Place(room.Name, room.Epoch, room.Place) (string, error)
	Pass(room.Admission, time.Time) (string, error)
}

// Config are the flags of the hub.
type Config struct {
	Cadence cadence.Mode `help:"Who hears a position each second: auto (everybody while that fills less than half of a tick, else only those near their turn), exact (everybody always), near (never everybody)." enum:"auto,exact,near" default:"auto" env:"WAITROOM_CADENCE"`
}

// Hub is this node's sessions of all rooms.
type Hub struct {
	line    Line
	listed  Rooms
	signer  Signer
	shopURL string // with {room}; for rooms whose conf names none
	// lease is how long a session outlives its last connection: for connections
	// that come and go by their nature. A WebSocket needs none.
	lease   time.Duration
	log     *zap.Logger
	metrics *metrics
	away    *outage.Log // the line does not answer
	faults  *outage.Log // it answers what nobody foresaw
	process string      // its id, as it signs its life: lanes begin with it
	began   time.Time   // the node's clock counts from here
	wg      sync.WaitGroup
	lanes   atomic.Int64

	cadence   *cadence.Controller // owned by Run
	planned   atomic.Pointer[cadence.Plan]
	loadMu    sync.Mutex // taken alone
	sinceLoad cadence.Load

	busy     busy // marks to send
	presents presents

	ctx context.Context // of every room's goroutines; ends with Run
	end context.CancelFunc

	mu    sync.Mutex
	ended bool
	rooms map[room.Name]*roomHub
}

// New makes the hub of a node; Run brings it to life. process is the id that signs the
// node's life, and no other process has it. shopURL is where a pass opens the shop
// when the room's conf does not say: {room} is replaced.
func New(conf Config, process string, line Line, rooms Rooms, signer Signer, shopURL string, log *zap.Logger, reg prometheus.Registerer) *Hub {
	h := &Hub{line: line, listed: rooms, signer: signer, shopURL: shopURL, log: log, cadence: cadence.NewController(conf.Cadence),
		process: process, began: time.Now(), rooms: map[room.Name]*roomHub{}}
	first := h.cadence.Plan()
	h.planned.Store(&first)
	h.away = outage.New(outage.Config{Log: log, Hold: stalledAfter,
		Down: "the line does not answer: visitors keep their connections, their places and their last position; look at Redis", Up: "the line answers again"})
	h.faults = outage.New(outage.Config{Log: log, Grave: true, Quiet: faultsQuiet,
		Down: "the line answers what it never should: look at the error and at the settings of Redis"})
	h.ctx, h.end = context.WithCancel(context.Background())
	h.metrics = newMetrics(reg, h.Signs, h.lost)
	rooms.Follow(h.registry, h.pulsed)
	return h
}

// Run has the ticks of all rooms run, decides once a second how often positions are
// told, and gives back what nobody heard of. It returns once ctx has
// ended and every goroutine with it; visitors are let in until then, from New on.
func (h *Hub) Run(ctx context.Context) error {
	var marks sync.WaitGroup // ends with ctx
	marks.Go(func() { h.followMarks(ctx) })
	tick := time.NewTicker(TurnTick)
	defer tick.Stop()
	for second := h.now(); ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		now := h.now()
		h.drive(now)
		if now-second >= PositionTick-TurnTick/2 {
			second = now
			h.replan()
			h.giveBack()
		}
	}
	marks.Wait()
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.end()
	for _, r := range h.all() { // nobody adds one any more
		fail(r.joins.close(), room.ErrAway)
	}
	h.wg.Wait()
	h.giveBackAtEnd()
	return nil
}

// all are the rooms that somebody is or was in.
func (h *Hub) all() []*roomHub {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.rooms))
}

// spawn starts a goroutine that Run waits for, unless the hub has ended.
func (h *Hub) spawn(work func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.wg.Go(work)
	}
}

// plan is how positions are told now.
func (h *Hub) plan() cadence.Plan { return *h.planned.Load() }

// Full reports that this node can't tell more visitors their position in time:
// newcomers go to another one, and places come back as always.
func (h *Hub) Full() bool { return h.plan().Refuse }

// load adds the work of one room's tick to that of the node's second.
func (h *Hub) load(work time.Duration, visitors, told int) {
	h.loadMu.Lock()
	defer h.loadMu.Unlock()
	h.sinceLoad.Work += work
	h.sinceLoad.Visitors += visitors
	h.sinceLoad.Told += told
}

// replan takes the load of the last second. A second in which no room was read says
// nothing.
func (h *Hub) replan() {
	h.loadMu.Lock()
	load := h.sinceLoad
	h.sinceLoad = cadence.Load{}
	h.loadMu.Unlock()
	if load.Visitors == 0 && h.watched() {
		return
	}
	load.Tick = PositionTick
	before, plan := h.plan(), h.cadence.Next(load)
	h.planned.Store(&plan)
	if plan.Step == before.Step {
		return
	}
	say := h.log.Info
	if plan.Refuse {
		say = h.log.Warn
	}
	say("positions are told at another cadence", zap.Int("step", plan.Step), zap.Bool("far_visitors_less_often", plan.Spares),
		zap.Duration("longest_silence", plan.Beat), zap.Bool("newcomers_refused", plan.Refuse),
		zap.Int("visitors", load.Visitors), zap.Duration("work_of_the_last_second", load.Work))
}

// registry ends the rooms that a tombstone says are deleted. One that is merely listed
// no more is lost: whoever is there stays. Which rooms are listed the directory says now:
// somebody may have found one since the registry was read.
func (h *Hub) registry(err error) {
	if err != nil {
		h.metrics.line.WithLabelValues("registry").Inc() // the directory logs it
		return
	}
	asked := 0
	for _, r := range h.all() {
		switch {
		case h.listed.Has(r.name):
			r.view.lose(false)
			if r.eventDue.Load() && asked < maxRestores && r.restore(false) {
				asked++
			}
		case h.listed.Deleted(r.name):
			h.mu.Lock()
			delete(h.rooms, r.name)
			h.mu.Unlock()
			h.log.Info("room was deleted", zap.String("room", string(r.name)))
			r.end(wire.RoomDeleted)
		default:
			now := h.now()
			if r.view.lose(true) {
				r.restored = now
				h.log.Error("room is gone from the registry and nobody deleted it: its visitors stay and hear that it recovers; see whether Redis lost its data",
					zap.String("room", string(r.name)))
			}
			if now >= r.restored+relistEvery && asked < maxRestores && r.restore(true) {
				r.restored = now
				asked++
			}
		}
	}
}

// room finds this node's part of a room, made with its first visitor.
func (h *Hub) room(ctx context.Context, name room.Name) (*roomHub, error) {
	if r, err := h.find(name); r != nil || err != nil {
		return r, err
	}
	if err := h.listed.Lookup(ctx, name); err != nil {
		return nil, err
	}
	return h.open(name)
}

// open starts this node's part of a room that is listed.
func (h *Hub) open(name room.Name) (*roomHub, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[name]; r != nil {
		return r, nil
	}
	if h.ended {
		return nil, room.ErrAway
	}
	r := newRoomHub(h, name)
	h.rooms[name] = r
	r.ctx, r.stop = context.WithCancel(h.ctx)
	return r, nil
}

// find is the part of a room that somebody is or was in; nil: there is none.
func (h *Hub) find(name room.Name) (*roomHub, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil, room.ErrAway
	}
	return h.rooms[name], nil
}

// now is the node's clock: it never goes back, and is never 0.
func (h *Hub) now() time.Duration { return time.Since(h.began) + time.Hour }

// clock is the same in ms, for heartbeats: 0 is long ago. It comes round after 49
// days; who compares two of them allows for that.
func (h *Hub) clock() uint32 { return uint32(h.now().Milliseconds()) }

// lane names a lane that no batch has used.
func (h *Hub) lane() string { return fmt.Sprintf("%s-%d", h.process, h.lanes.Add(1)) }
