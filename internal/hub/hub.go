package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// ErrOverloaded refuses a join because MaxQueue others wait for the line.
var ErrOverloaded = errors.New("too many joins wait for the line")

const (
	// PositionTick is the time between two reads of a room's line.
	PositionTick = time.Second
	// TurnTick is the time between two looks at the head: a quarter second from
	// admitted to told leaves room for one late tick.
	TurnTick = 100 * time.Millisecond
	// BeatMost is the longest silence towards a connection that reads. Visitors
	// are told it, and take twice of it for a dead connection.
	BeatMost = 6 * time.Second
	// beatAfter is the silence at which the last word is repeated: the fourth tick
	// after it, and early enough for BeatMost with ticks of 2.5 s, as they are
	// while the line hangs.
	beatAfter = 3500 * time.Millisecond
	// MaxSinks is how many connections of one visitor are served; the oldest goes
	// when one more comes.
	MaxSinks = 8
	// MaxQueue bounds the joins and returns of one room that wait for the line.
	// Beyond it a join is refused at once: at 500,000/s it is a tenth of a second
	// of work, so whoever meets the bound would wait for nothing.
	MaxQueue = 50_000
	// Patience is how long a visitor waits for the answer to a join.
	Patience = 5 * time.Second
	// collect is how long the first of a batch waits for others.
	collect = time.Millisecond
	// stalledAfter is how old the last good read may be before visitors are told:
	// one blip of Redis is nobody's business.
	stalledAfter = 2500 * time.Millisecond
	// readLimit bounds one read or act, so that a hanging server costs a tick.
	readLimit = time.Second
	// registryGap is the least time between two looks at the registry for names
	// that are not listed: strangers' names must not become load.
	registryGap = 200 * time.Millisecond
	// maxKnown bounds the names once listed that a node remembers, ten registries'
	// worth; the oldest are forgotten, and their rooms are then unknown.
	maxKnown = 10 * room.MaxRooms
)

// The line, in the three parts that this package needs; internal/line is the
// real one. Errors are room's sentinels; whatever else comes counts as the line
// being away.
type (
	registry interface {
		Rooms(context.Context) ([]room.Name, error)
	}
	acts interface {
		Join(context.Context, room.Name, room.Caller, room.Lane, []room.VisitorID) (room.Joined, error)
		Rejoin(context.Context, room.Name, room.Caller, []room.Place) ([]room.Stand, error)
		Claim(context.Context, room.Name, room.Caller, room.Place) (room.Stand, error)
		Leave(context.Context, room.Name, room.Caller, room.Place) error
	}
	// A Snapshot's window begins at from, or at the head where that is before it; a
	// Turn's begins at the head.
	reads interface {
		Snapshot(ctx context.Context, name room.Name, from int64) (room.Snapshot, error)
		Turn(ctx context.Context, name room.Name, from int64) (room.Turn, error)
		Stands(context.Context, room.Name, []room.Place) ([]room.Stand, error)
	}
	// Line is all of it.
	Line interface {
		registry
		acts
		reads
	}
)

// Signer signs what visitors keep; token.Keyring is one.
type Signer interface {
	Place(room.Name, room.Epoch, room.Place) (string, error)
	Pass(room.Admission, time.Time) (string, error)
}

// Hub are this node's visitors of all rooms.
type Hub struct {
	line    Line
	signer  Signer
	shopURL string // with {room}; for rooms whose conf names none
	log     *zap.Logger
	metrics *metrics
	node    string        // random per process, so that lanes never meet
	began   time.Time     // the clock of beats counts from here
	contact chan struct{} // closed at the first answer of the registry
	wg      sync.WaitGroup
	lanes   atomic.Int64

	mu     sync.Mutex
	ctx    context.Context // of Run; nil before it
	ended  bool
	listed map[room.Name]struct{}
	known  map[room.Name]struct{} // ever listed, at most maxKnown
	order  []room.Name            // of known, the oldest first
	asked  time.Time              // last look at the registry
	read   time.Time              // start of the last one that was answered
	rooms  map[room.Name]*roomHub
}

// New makes the hub of a node; Run brings them to life. shopURL is where a
// pass opens the shop when the room's conf does not say: {room} is replaced.
func New(line Line, signer Signer, shopURL string, log *zap.Logger, reg prometheus.Registerer) *Hub {
	var id [8]byte
	rand.Read(id[:])
	c := &Hub{line: line, signer: signer, shopURL: shopURL, log: log,
		node: hex.EncodeToString(id[:]), began: time.Now(), contact: make(chan struct{}),
		listed: map[room.Name]struct{}{}, known: map[room.Name]struct{}{}, rooms: map[room.Name]*roomHub{}}
	c.metrics = newMetrics(reg, c.Signs)
	return c
}

// Contact is closed once the line has answered for the first time.
func (c *Hub) Contact() <-chan struct{} { return c.contact }

// Run follows the registry and runs the ticks until ctx ends. It returns when
// every goroutine has ended.
func (c *Hub) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	tick := time.NewTicker(PositionTick)
	defer tick.Stop()
	away := false
	for ctx.Err() == nil {
		err := c.refresh(ctx)
		if (err != nil) != away && ctx.Err() == nil {
			away = err != nil
			if away {
				c.log.Warn("registry is out of reach; visitors keep their connections", zap.Error(err))
			} else {
				c.log.Info("registry is back")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	cancel()
	c.wg.Wait()
	return nil
}

// refresh reads the registry and ends the hub of rooms that are gone.
func (c *Hub) refresh(ctx context.Context) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	names, err := c.line.Rooms(ctx)
	if err != nil {
		c.metrics.failed("registry", err)
		return err
	}
	var gone []*roomHub
	c.mu.Lock()
	c.asked, c.read = time.Now(), start
	clear(c.listed)
	for _, n := range names {
		c.listed[n] = struct{}{}
		if _, ok := c.known[n]; !ok {
			c.known[n] = struct{}{}
			c.order = append(c.order, n)
		}
	}
	for len(c.order) > maxKnown {
		delete(c.known, c.order[0])
		c.order = c.order[1:]
	}
	for n, r := range c.rooms {
		if _, ok := c.listed[n]; !ok {
			delete(c.rooms, n)
			gone = append(gone, r)
		}
	}
	select {
	case <-c.contact:
	default:
		close(c.contact)
	}
	c.mu.Unlock()
	for _, r := range gone {
		c.log.Info("room is gone from the registry", zap.String("room", string(r.name)))
		r.end(wire.RoomDeleted)
	}
	return nil
}

// crowd finds the crowd of a room, made with its first visitor.
func (c *Hub) crowd(ctx context.Context, name room.Name) (*roomHub, error) {
	r, look, err := c.find(name)
	if look {
		// A room may be younger than our last look.
		if c.refresh(ctx) == nil {
			r, _, err = c.find(name)
		}
	}
	return r, err
}

func (c *Hub) find(name room.Name) (r *roomHub, look bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil || c.ended {
		return nil, false, room.ErrAway
	}
	if r := c.rooms[name]; r != nil {
		return r, false, nil
	}
	if _, ok := c.listed[name]; !ok {
		look = time.Since(c.asked) >= registryGap
		if look {
			c.asked = time.Now()
		}
		return nil, look, c.missing(name)
	}
	r = newRoomHub(c, name)
	c.rooms[name] = r
	ctx, stop := context.WithCancel(c.ctx)
	r.stop = stop
	// They end with Run's context or with end; Run waits.
	c.wg.Go(func() { r.batches(ctx) })
	c.wg.Go(func() { r.each(ctx, PositionTick, r.positions) })
	c.wg.Go(func() { r.each(ctx, TurnTick, r.turns) })
	return r, false, nil
}

// missing says why a name that is not listed has no room. Only a registry that
// was read just now and lists something can tell a stranger's name from a room of
// ours: an empty one may have lost them all. The caller holds mu.
func (c *Hub) missing(name room.Name) error {
	_, known := c.known[name]
	switch {
	case len(c.listed) == 0:
		return room.ErrRecovering
	case known:
		return room.ErrDeleted
	case time.Since(c.read) > registryGap:
		// It may be younger than our read: of a Redis that is away, or a look that is
		// under way or was for somebody else.
		return room.ErrRecovering
	}
	return room.ErrUnknown
}

// clock is this node's time in ms, for beats: it never goes back, and 0 is long
// ago. It comes round after 49 days; who compares two of them allows for that.
func (c *Hub) clock() uint32 {
	return uint32(time.Since(c.began).Milliseconds() + time.Hour.Milliseconds())
}

// lane names a lane that no batch has used.
func (c *Hub) lane() string { return fmt.Sprintf("%s-%d", c.node, c.lanes.Add(1)) }
