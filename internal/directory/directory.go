// Package directory knows the rooms there are and what each one's sale is for, as
// the pages and the gateway need it: answered out of memory, at most a second or
// two old, whatever strangers ask for.
//
// It follows the line and never writes. A process that can't reach the line keeps
// what it knew, and says of a name that it does not know that it is unsure, for
// nobody may be told that a room does not exist by a process that could not look.
//
// Each second it reads the registry and one plain read of each room, its pulse, for
// all who follow: a room in which nothing changes costs a process no more.
//
// It knows no Redis client: the interface below says what it needs, so that it runs
// in synctest.
package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// every is how soon a new room, or a new event of a room, is known.
	every = time.Second
	// callLimit bounds one call to the line. Its own limits are below.
	callLimit = 5 * time.Second
	// freshFor is how old the registry may be before a name that is not in it may be
	// a new room's: some reads may fail, or one take its time.
	freshFor = 5 * time.Second
	// lookGap is the least time between two looks at the registry for names that are
	// not in it: strangers' names must not become load.
	lookGap = 200 * time.Millisecond
	// lookLimit bounds such a look: somebody waits for it.
	lookLimit = time.Second
	// maxNames bounds the names remembered: ten times the rooms of a registry, for
	// those that are gone. The one that was listed the longest ago is forgotten.
	maxNames = 10 * room.MaxRooms
	// maxAsked bounds the names whose tombstone is looked for in one second: those that
	// left the registry, or whose places somebody showed. Deletes are rare; when a whole
	// registry is lost, each of its 1,000 rooms is asked for every 20 s.
	maxAsked = 50
	// stoneLimit bounds a second's reads of tombstones, which are under way together: with
	// the registry's own read they take less than a second, so that one server of Redis
	// that hangs does not keep followers from the rooms of the others.
	stoneLimit = every / 2
	// registryWait is how long the pulses of a second wait for its registry: a master of
	// Redis that hangs must not hold up the rooms of others.
	registryWait = 200 * time.Millisecond
	// pulseLimit bounds one read of pulses: the next second is the next try.
	pulseLimit = time.Second
	// again is after how many looks an event is asked for though its room's pulse says
	// that nothing changed: a room made anew may look like the one before.
	again = 30
)

// line is what the directory needs of the line. Its errors are room's sentinels.
type line interface {
	// Rooms lists the registry, room.MaxRooms at most; room.ErrTooMany comes beside
	// them when there are more.
	Rooms(context.Context) ([]room.Name, error)
	// Pulses answers what changes in each room whenever anything does, or why not.
	Pulses(context.Context, []room.Name) ([]room.Pulse, []error)
	// Shards groups rooms by the server that holds them.
	Shards(context.Context, []room.Name) [][]room.Name
	// EventRevs answers the version of each room's event in one cheap call, and
	// leaves out rooms without a line.
	EventRevs(context.Context, []room.Name) (map[room.Name]room.EventRev, error)
	// Event reads one event whole.
	Event(context.Context, room.Name) (room.Event, error)
	// Deleted says whether a tombstone tells that a room was deleted.
	Deleted(context.Context, room.Name) (bool, error)
}

// Directory is what New makes. Safe for concurrent use.
type Directory struct {
	// set once
	line line
	log  *zap.Logger
	away *outage.Log // the registry can't be read
	dim  *outage.Log // events can't be read
	dumb *outage.Log // tombstones can't be read
	// told hears of the registry once a second, read or not; set before Run.
	told    []func(err error)
	pulse   []func(name room.Name, began time.Time, p room.Pulse, err error) // set before Run
	contact chan struct{}                                                    // closed at the first answer

	// reading is held by whoever reads the registry: a read that began before another
	// must not come after it, or it would bring an older registry back.
	reading chan struct{}

	mu    sync.RWMutex         // never held over a call
	names map[room.Name]*entry // at most maxNames; guarded by mu
	count int                  // rooms in the registry as last read; guarded by mu
	read  time.Time            // when that read began; zero: never; guarded by mu
	asked time.Time            // when the last one began, answered or not; guarded by mu
	looks int64                // registry reads so far; guarded by mu
	over  bool                 // it lists more than room.MaxRooms; guarded by mu
}

// entry is one name. Its fields are guarded by the directory's mu.
type entry struct {
	seen    int64 // the look that listed it last; 0: none, a place proves that it was
	asked   int64 // the look at which its tombstone was asked for, with an answer or not
	deleted bool  // a tombstone says so
	pulse   room.Pulse
	pulsed  bool  // pulse is of this process's life
	told    int64 // Rev of the pulse before its event was asked for last
	asks    int64 // the look at which that was
	rev     room.EventRev
	event   room.Event // empty once the room is gone: names cost little, logos don't
}

// New makes a directory that knows nothing until Run has read the registry.
func New(line line, log *zap.Logger) *Directory {
	return &Directory{line: line, log: log, away: outage.New(outage.Config{Log: log,
		Down: "the rooms can't be read: what is known of them stays, and no name is called unknown", Up: "the rooms can be read again"}), dim: outage.New(outage.Config{Log: log,
		Down: "what rooms are for can't be read: their pages stay as they are", Up: "what rooms are for can be read again"}), dumb: outage.New(outage.Config{Log: log,
		Down: "tombstones can't be read: nobody knows whether rooms that left the registry were deleted, and their visitors stay", Up: "tombstones can be read again"}),
		contact: make(chan struct{}), reading: make(chan struct{}, 1), names: map[room.Name]*entry{}}
}

// Follow calls told once a second when the registry was read, or with why it was not; what
// became of the rooms that left it is known by then, as far as it can be. What was read is
// asked of Has and Deleted: a look for somebody may have found more since. Call it before
// Run. pulse is called for each listed room once a second, with when the read of it began;
// for several rooms at the same time.
func (d *Directory) Follow(told func(err error), pulse func(name room.Name, began time.Time, p room.Pulse, err error)) {
	d.told, d.pulse = append(d.told, told), append(d.pulse, pulse)
}

// Contact is closed once the registry was read for the first time.
func (d *Directory) Contact() <-chan struct{} { return d.contact }

// Lookup answers nil for a room of the registry, and looks there for one that it
// does not know: a room may be younger than the last read. Else it says why there
// is none: room.ErrDeleted of a name that has a tombstone, room.ErrUnknown by a
// registry that was read just now and lists something, and room.ErrRecovering
// wherever it can't say: of a room that was listed before and has no tombstone it is
// not known what became of it.
func (d *Directory) Lookup(ctx context.Context, name room.Name) error {
	err := d.lists(name)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if !d.mayLook() {
		// Somebody may be looking right now: a crowd comes to a room made just now.
		select {
		case d.reading <- struct{}{}:
			<-d.reading
		case <-ctx.Done():
		}
		return d.lists(name)
	}
	_ = d.readRegistry(ctx) // an error leaves what was known, and lists says what can be said by it
	return d.lists(name)
}

// Has reports a room of the registry as it was last read.
func (d *Directory) Has(name room.Name) bool { return d.lists(name) == nil }

// Deleted reports that a tombstone says so of a room.
func (d *Directory) Deleted(name room.Name) bool { return errors.Is(d.lists(name), room.ErrDeleted) }

// Shown says that somebody has shown a good place of a room, so that there was one: it
// is remembered like one that was listed, as long as there is space for it.
func (d *Directory) Shown(name room.Name) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil && len(d.names) < maxNames {
		d.names[name] = &entry{}
	}
}

// mayLook reports that the last look is long enough ago, and takes the turn.
func (d *Directory) mayLook() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	may := time.Since(d.asked) >= lookGap
	if may {
		d.asked = time.Now()
	}
	return may
}

func (d *Directory) lists(name room.Name) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.names[name]
	switch {
	case e != nil && e.deleted:
		return room.ErrDeleted
	case e != nil && e.seen == d.looks && d.looks > 0:
		return nil
	case e != nil || d.count == 0:
		return room.ErrRecovering // it was there, or the registry was never read, or lost them all
	case time.Since(d.read) > lookGap:
		// It may be younger than our read: of a line that is away, or a look that is
		// under way or was for somebody else.
		return room.ErrRecovering
	}
	return room.ErrUnknown
}

// readRegistry reads the registry and takes it over.
func (d *Directory) readRegistry(ctx context.Context) error {
	select {
	case d.reading <- struct{}{}:
		defer func() { <-d.reading }()
	case <-ctx.Done():
		return fmt.Errorf("%w: another look takes its time", room.ErrAway)
	}
	start := time.Now()
	d.mu.Lock()
	d.asked = start
	d.mu.Unlock()
	names, err := d.line.Rooms(ctx)
	over := errors.Is(err, room.ErrTooMany)
	if err != nil && !over {
		return err
	}
	if d.list(names, start, over) {
		d.log.Error("the registry lists more rooms than are served: the first of them are", zap.Int("rooms", len(names)), zap.Error(err))
	}
	select {
	case <-d.contact:
	default:
		close(d.contact)
	}
	return nil
}

// Room answers what is known of a name, and the event of a room that is there. The
// event's bytes are shared: nobody changes them.
func (d *Directory) Room(name room.Name) (room.Event, room.Known) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch e := d.names[name]; {
	case e != nil:
		return e.event, room.Listed
	case d.count == 0 || time.Since(d.read) > freshFor:
		return room.Event{}, room.Unsure
	}
	return room.Event{}, room.Unlisted
}

// EventOf is the event of one line of a room, as it was read last; of a line that is not the
// one it was read of, none is known.
func (d *Directory) EventOf(name room.Name, epoch room.Epoch) room.Event {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e := d.names[name]; e != nil && e.rev.Epoch == epoch {
		return e.event
	}
	return room.Event{}
}

// Run follows the line until ctx ends, and returns nil then.
func (d *Directory) Run(ctx context.Context) error {
	var calls sync.WaitGroup // those of this second, and of earlier ones that hang
	defer calls.Wait()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	// Each is one at a time: one that hangs holds up its own kind only.
	registry, events := make(chan struct{}, 1), make(chan struct{}, 1)
	for {
		read := make(chan struct{})
		alone(&calls, registry, func() { d.away.Note(ctx, d.look(ctx)) }, read)
		wait := time.NewTimer(registryWait)
		select {
		case <-read:
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
		d.readPulses(ctx)
		alone(&calls, events, func() { d.describeAll(ctx) }, make(chan struct{}))
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// alone starts work unless its kind is still at it, and closes done at its end, or at
// once.
func alone(calls *sync.WaitGroup, turn chan struct{}, work func(), done chan struct{}) {
	select {
	case turn <- struct{}{}:
		calls.Go(func() {
			defer close(done)
			defer func() { <-turn }()
			work()
		})
	default:
		close(done)
	}
}

// look reads the registry, then the tombstones of those who left it. Followers hear of the
// registry: a tombstone that can't be read says nothing of the other rooms.
func (d *Directory) look(ctx context.Context) error {
	_, err := limited(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, d.readRegistry(ctx) })
	if err == nil {
		d.dumb.Note(ctx, d.askDeleted(ctx))
	}
	for _, told := range d.told {
		told(err)
	}
	return err
}

func limited[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return call(ctx)
}

// askDeleted looks for the tombstones of rooms that are listed no more, those first
// that wait the longest for it. One that can't be read is asked for in its turn again; the
// error is that of one of them.
func (d *Directory) askDeleted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stoneLimit)
	defer cancel()
	names := d.missing()
	errs := make([]error, len(names))
	var calls sync.WaitGroup // end with ctx
	for i, name := range names {
		calls.Go(func() {
			var deleted bool
			if deleted, errs[i] = d.line.Deleted(ctx, name); errs[i] == nil && deleted {
				d.bury(name)
			}
		})
	}
	calls.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bury notes a tombstone, unless the room was made anew since.
func (d *Directory) bury(name room.Name) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.names[name]; e != nil && e.seen != d.looks {
		*e = entry{seen: e.seen, asked: e.asked, deleted: true}
	}
}

// missing are the rooms, maxAsked at most, of which nobody knows what became of them; they
// had their turn, whatever comes of it.
func (d *Directory) missing() []room.Name {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []room.Name
	for name, e := range d.names {
		if e.seen != d.looks && !e.deleted {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b room.Name) int { return cmp.Compare(d.names[a].asked, d.names[b].asked) })
	names = names[:min(len(names), maxAsked)]
	for _, name := range names {
		d.names[name].asked = d.looks
	}
	return names
}

// list takes over the registry as read from start on. began: it lists more than are
// served, for the first time since it did not.
func (d *Directory) list(names []room.Name, start time.Time, over bool) (began bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	began = over && !d.over
	d.over = over
	d.looks++
	d.count, d.read = len(names), start
	for _, name := range names {
		if e := d.names[name]; e != nil {
			if e.seen != d.looks-1 {
				e.asks = 0 // it was away: its event may be another one
			}
			e.seen, e.deleted = d.looks, false
		} else {
			d.names[name] = &entry{seen: d.looks}
		}
	}
	if len(d.names) == len(names) {
		return began // nobody is gone
	}
	// What a lost room's sale is for stays known, of as many as can be lost at once.
	var lost []*entry
	for _, e := range d.names {
		if e.seen != d.looks && e.rev != (room.EventRev{}) {
			lost = append(lost, e)
		}
	}
	if len(lost) > room.MaxRooms {
		for _, e := range lost {
			e.rev, e.event = room.EventRev{}, room.Event{}
		}
	}
	if over := len(d.names) - maxNames; over > 0 {
		oldest := slices.SortedFunc(maps.Keys(d.names), func(a, b room.Name) int {
			return cmp.Compare(d.names[a].seen, d.names[b].seen)
		})
		for _, name := range oldest[:over] {
			delete(d.names, name)
		}
	}
	return began
}
