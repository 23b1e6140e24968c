package seatmap

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/sqldb"
)

// What is in memory.
const (
	// maxRooms bounds the rooms looked at at once, and maxSeats their seats: about
	// 100 bytes each. At the bound the room longest not looked at goes.
	maxRooms = 1000
	maxSeats = 1_000_000
	// forgetAfter is how long a room stays that nobody looks at: longer than the
	// longest pause of a page that polls.
	forgetAfter = time.Minute
)

// When things are read.
const (
	// tickEvery is how often the log is read, and how soon a map is another one at
	// the earliest: four times a second.
	tickEvery = 250 * time.Millisecond
	// repairEvery is how often a room is read whole: how long an older booker's hold
	// may not show. repairLook is how soon a room is read that got seats: with the tick
	// that hears of them, half a second and the read.
	repairEvery = 10 * time.Second
	repairLook  = tickEvery
	// readLimit bounds a read of the log, loadLimit that of a room's seats: 100,000
	// take a second on a busy machine.
	readLimit = 5 * time.Second
	loadLimit = 10 * time.Second
	// freshFor is how old what the process knows may be and still be shown: two
	// missed ticks and a slow read. Beyond it visitors hear that the shop is out of
	// reach; streams stay open, silent but for their beats.
	freshFor = 3 * time.Second
	// awaitFor bounds how long somebody waits who has seen a later map elsewhere.
	awaitFor = time.Second
)

// Config is the map's flags.
type Config struct {
	MaxStreams int `help:"Live seat maps open at once; further visitors read the map every few seconds." default:"5000" env:"WAITROOM_MAX_STREAMS"`
}

// Check reports every value out of bounds.
func (c Config) Check() error {
	if c.MaxStreams < 0 || c.MaxStreams > 100_000 {
		return fmt.Errorf("--max-streams %d: want 0 to 100000", c.MaxStreams)
	}
	return nil
}

// Parts are what Maps are made of.
type Parts struct {
	DB *sqldb.DB // with the log
	// Load reads every seat of a room in the order of its plan; seat.ErrNoRoom when
	// there are none.
	Load func(context.Context, room.Name) ([]seat.Seat, error)
	// Now is the clock that dates the log; while it is not sure, no row is old.
	Now     func() (now time.Time, sure bool)
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Maps shows the rooms of one process. It is safe for concurrent use.
//
// Locks: mu before a hall's; the turn before both.
type Maps struct {
	config  Config
	parts   Parts
	failing *outage.Log // the log
	unread  *outage.Log // whole reads
	met     *metrics

	turn  chan struct{} // of one: who has the token may use feed, on a connection
	feed  feed          // owned by who has the turn
	loads chan struct{} // of one: who has the token reads a room, on another connection
	at    atomic.Int64  // the log's id that was read to and applied
	shown atomic.Int64  // the same, of what everybody sees
	read  atomic.Int64  // when the last good read of the log began, in ns of began's clock
	began time.Time

	repairEvery time.Duration // the constant, but for tests

	life context.Context // ends with Run; of reads that a visitor's request began
	end  context.CancelFunc
	work sync.WaitGroup // those reads

	mu       sync.Mutex
	halls    map[room.Name]*hall
	seats    int                  // of all halls
	moved    chan struct{}        // closed at each tick, and made anew
	streams  map[string][]*stream // by pass, the oldest first
	entering map[string]bool      // passes of which one waits for its oldest stream to end
	open     int                  // streams
	draining bool
	drained  chan struct{} // closed when streams are to end
}

// New makes maps that know no room yet.
func New(config Config, p Parts) *Maps {
	m := &Maps{config: config, parts: p, met: newMetrics(p.Metrics),
		failing: outage.New(outage.Config{Log: p.Log, Down: "the log of the seat map can't be read; trying again", Up: "the log of the seat map is read again"}),
		unread:  outage.New(outage.Config{Log: p.Log, Down: "a room's seats can't be read for their map; trying again", Up: "rooms' seats are read again"}),
		turn:    make(chan struct{}, 1), feed: feed{db: p.DB}, loads: make(chan struct{}, 1), began: time.Now(), repairEvery: repairEvery,
		halls: map[room.Name]*hall{}, moved: make(chan struct{}), streams: map[string][]*stream{}, entering: map[string]bool{},
		drained: make(chan struct{})}
	m.life, m.end = context.WithCancel(context.Background())
	return m
}

// Run reads the log, repairs and forgets until ctx ends, and returns when all that
// it began has ended. Without it no map changes.
func (m *Maps) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { m.every(ctx, tickEvery, m.tick) })
	loops.Go(func() { m.every(ctx, repairLook, m.repair) })
	loops.Go(func() { m.purgeLoop(ctx) })
	loops.Wait()
	m.mu.Lock()
	m.end() // under mu: no read begins after it
	m.mu.Unlock()
	m.work.Wait()
}

// every calls step at each gap until ctx ends.
func (m *Maps) every(ctx context.Context, gap time.Duration, step func(context.Context)) {
	ticker := time.NewTicker(gap)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			step(ctx)
		}
	}
}

// tick reads the log and shows what has changed. Where nobody looks it reads nothing.
func (m *Maps) tick(ctx context.Context) {
	m.mu.Lock()
	idle := len(m.halls) == 0
	m.mu.Unlock()
	if idle {
		select {
		case m.turn <- struct{}{}:
			m.feed.known = false
			<-m.turn
		default: // somebody begins to look
		}
		return
	}
	err := m.advance(ctx)
	if ctx.Err() != nil {
		return
	}
	m.failing.Note(ctx, err)
	if err != nil {
		return
	}
	at := m.at.Load()
	for _, h := range m.all() {
		h.tick(at)
	}
	m.shown.Store(at)
	m.mu.Lock()
	close(m.moved)
	m.moved = make(chan struct{})
	m.mu.Unlock()
}

// all is every room in memory.
func (m *Maps) all() []*hall {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*hall, 0, len(m.halls))
	for _, h := range m.halls {
		all = append(all, h)
	}
	return all
}

// advance reads the log to its end and applies it.
func (m *Maps) advance(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m.turn <- struct{}{}:
	}
	defer func() { <-m.turn }()
	if m.feed.known && time.Since(m.feed.read) > keepLog/2 {
		m.feed.known = false // rows that were not read may be gone
		m.doubt()
	}
	if !m.feed.known {
		if err := m.feed.start(ctx); err != nil {
			return err
		}
	}
	for {
		rows, more, err := m.feed.next(ctx)
		if err != nil {
			return err
		}
		m.apply(rows)
		if !more {
			break
		}
	}
	m.at.Store(m.feed.at)
	m.read.Store(int64(m.feed.read.Sub(m.began)))
	return nil
}

// apply hands rows of the log to the rooms that are looked at.
func (m *Maps) apply(rows []logRow) {
	for _, r := range rows {
		m.mu.Lock()
		h := m.halls[r.Room]
		m.mu.Unlock()
		if h != nil {
			h.apply(r.Changes)
		}
	}
}

// doubt has every room read whole again.
func (m *Maps) doubt() {
	for _, h := range m.all() {
		h.mu.Lock()
		h.again = true
		h.mu.Unlock()
	}
}

// load reads a room whole, one room at a time.
func (m *Maps) load(ctx context.Context, h *hall) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m.loads <- struct{}{}:
	}
	defer func() { <-m.loads }()
	m.met.loads.Inc()
	// To the log's end before and after: what it said before is in the seats that
	// are read, what it says since is newer than they are.
	if err := m.advance(ctx); err != nil {
		return err
	}
	h.begin()
	seats, err := m.parts.Load(ctx, h.name)
	if err == nil {
		err = m.advance(ctx)
	}
	if err == nil {
		err = m.fit(h, len(seats))
	}
	if err != nil {
		h.failed(err)
		return err
	}
	h.read(seats, m.at.Load())
	return nil
}

// first is a room's first read, begun by the request that asked first. It ends with
// the read, within loadLimit; Run waits for it.
func (m *Maps) first(h *hall) {
	ctx, cancel := context.WithTimeout(m.life, loadLimit)
	defer cancel()
	if err := m.load(ctx, h); err != nil {
		h.failed(err)
		m.mu.Lock()
		m.drop(h) // it may be a room that does not exist
		m.mu.Unlock()
	}
	close(h.ready)
}

// look returns the map of a room, read whole if it has to be; whoever comes while it
// is read waits for that read.
func (m *Maps) look(ctx context.Context, name room.Name) (*hall, *view, error) {
	m.mu.Lock()
	h := m.halls[name]
	if h == nil {
		if m.life.Err() != nil || (len(m.halls) >= maxRooms && !m.evict(nil)) {
			m.mu.Unlock()
			return nil, nil, fmt.Errorf("%w: the maps of %d rooms are looked at", seat.ErrBusy, maxRooms)
		}
		h = &hall{name: name, ready: make(chan struct{})}
		m.halls[name] = h
		m.work.Go(func() { m.first(h) })
	}
	h.looked = time.Now()
	m.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-h.ready:
	}
	v, err := h.view()
	if err == nil && time.Since(m.began)-time.Duration(m.read.Load()) > freshFor {
		err = fmt.Errorf("%w: the log of the map is not read", seat.ErrAway)
	}
	return h, v, err
}

// await waits until this process has read the log as far as somebody has seen it in
// another one, so that no page goes back in time. Not for long: a database that was
// put back to an earlier state gives smaller ids.
func (m *Maps) await(ctx context.Context, seen version) {
	if seen.at <= m.shown.Load() {
		return
	}
	late := time.NewTimer(awaitFor)
	defer late.Stop()
	for {
		m.mu.Lock()
		moved := m.moved
		m.mu.Unlock()
		if seen.at <= m.shown.Load() {
			return
		}
		select {
		case <-moved:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// fit counts the seats of a room that was read, and makes place for them.
func (m *Maps) fit(h *hall, seats int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.halls[h.name] != h {
		return nil // forgotten meanwhile
	}
	m.seats += seats - h.seats
	h.seats = seats
	for m.seats > maxSeats {
		if !m.evict(h) {
			return fmt.Errorf("%w: the maps of %d seats are looked at", seat.ErrBusy, maxSeats)
		}
	}
	return nil
}

// evict forgets the room that was longest not looked at, if there is one without a
// stream; mu is held.
func (m *Maps) evict(not *hall) bool {
	var oldest *hall
	for _, h := range m.halls {
		if h != not && h.streams == 0 && (oldest == nil || h.looked.Before(oldest.looked)) {
			oldest = h
		}
	}
	if oldest == nil {
		return false
	}
	m.drop(oldest)
	return true
}

// drop forgets a room; mu is held.
func (m *Maps) drop(h *hall) {
	if m.halls[h.name] == h {
		delete(m.halls, h.name)
		m.seats -= h.seats
	}
}

// repair reads rooms again whose time it is, one after the other, and forgets those
// at which nobody looks.
func (m *Maps) repair(ctx context.Context) {
	for _, h := range m.all() {
		m.mu.Lock()
		quiet := h.streams == 0 && time.Since(h.looked) > forgetAfter
		if quiet {
			m.drop(h)
		}
		m.mu.Unlock()
		if quiet || !h.due(m.repairEvery) {
			continue
		}
		one, cancel := context.WithTimeout(ctx, loadLimit)
		err := m.load(one, h)
		cancel()
		if ctx.Err() != nil {
			return
		}
		m.unread.Note(ctx, err)
	}
	if err := m.checkEnd(ctx); err != nil && ctx.Err() == nil {
		m.failing.Note(ctx, err)
	}
}

// checkEnd finds a log that begins anew, after a restore or on a server that forgets
// what ids it gave: nothing of it would be read.
func (m *Maps) checkEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m.turn <- struct{}{}:
	}
	defer func() { <-m.turn }()
	if !m.feed.known || time.Since(m.feed.checked) < m.repairEvery {
		return nil
	}
	end, err := m.feed.end(ctx)
	if err != nil {
		return err
	}
	m.feed.checked = time.Now()
	if end > 0 && end < m.feed.at {
		m.parts.Log.Warn("the log of the seat map begins anew", zap.Int64("read_to", m.feed.at), zap.Int64("end", end))
		m.feed.known = false
		m.doubt()
	}
	return nil
}
