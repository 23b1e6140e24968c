package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// registryEvery is how soon a new room is served and a deleted one is left.
	registryEvery = time.Second
	// expireEvery is how often closed rooms whose time has come are removed.
	expireEvery = time.Minute
)

// registry names the rooms there are.
type registry interface {
	// Rooms answers room.ErrTooMany beside the first room.MaxRooms when there are
	// more.
	Rooms(context.Context) ([]room.Name, error)
	// Deleted says that a room was ended for good, by a tombstone.
	Deleted(context.Context, room.Name) (bool, error)
	// Expire removes closed rooms whose time has come.
	Expire(context.Context) (removed []room.Name, err error)
}

// line is all that this package needs of the line, piece by piece beside the
// users. Safe for concurrent use.
type line interface {
	registry
	rounder
	outbox
	slots
	described
	watched
	lanes
}

// Service serves rooms. Make it with New; Run and Facts are its two halves.
type Service struct {
	// set once
	line      line
	publisher publisher
	log       *zap.Logger
	metrics   *metrics
	process   string
	flags     room.Change
	given     bool
	only      []room.Name // empty: every room

	describer *describer // their loops are Run's
	batcher   *batcher
	watch     *watch
	reaper    *reaper
	held      atomic.Int64   // admissions in the hands of all relays
	waiting   waiting        // facts about the stock
	serving   sync.WaitGroup // every goroutine but the batcher's; Run waits

	// owned by Run
	missing []room.Name // of only, and logged
	expired time.Time   // when closed rooms were last removed

	registry *outage.Log // it can't be read
	expire   *outage.Log // closed rooms can't be removed
	tooMany  *outage.Log // it is above its bound

	rooms atomic.Pointer[map[room.Name]bool] // the registry as last read

	mu      sync.Mutex
	workers map[room.Name]*worker // the rooms served, room.MaxRooms at most; guarded by mu
}

// New checks config and makes a Service. Actor stands in the audit stream for
// changes by flags.
func New(config Config, actor string, line line, publisher publisher, log *zap.Logger, reg prometheus.Registerer) (*Service, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	flags, err := config.change(actor)
	if err != nil {
		return nil, err
	}
	s := &Service{
		line: line, publisher: publisher, log: log, metrics: newMetrics(reg), process: config.Process,
		flags: flags, given: config.values().Given(), workers: map[room.Name]*worker{},
		registry: outage.New(outage.Config{Log: log, Down: "the registry can't be read, the rooms known are served on",
			Up: "the registry can be read again"}),
		expire: outage.New(outage.Config{Log: log, Down: "closed rooms whose time has come can't be removed, trying again each minute",
			Up: "closed rooms are removed again"}),
		tooMany: outage.New(outage.Config{Log: log, Grave: true,
			Down: "the registry has more rooms than an admitter serves, the last ones by name are left out",
			Up:   "the registry has no more rooms than an admitter serves"}),
	}
	for _, name := range config.Rooms {
		s.only = append(s.only, room.Name(name))
	}
	s.describer = newDescriber(line, publisher, log)
	s.describer.read, s.describer.lost = s.eventRead, s.eventLost
	s.batcher = newBatcher(publisher)
	s.watch = newWatch(line, &s.serving, s.served, func(n int) { s.metrics.resting.Set(float64(n)) }, log)
	s.reaper = newReaper(line, s.served, config.Process, s.metrics, log)
	return s, nil
}

// Run serves every room of the registry, or those that config names, until ctx
// ends; it returns nil when all of its goroutines have. The registry is read
// again each second; while it can't be read, the rooms known are served on.
func (s *Service) Run(ctx context.Context) error {
	// The relays publish until they have ended, which is after the rounds have.
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var last sync.WaitGroup
	last.Go(func() { s.batcher.run(publishing) })
	defer last.Wait()
	defer stop()
	defer s.serving.Wait()
	defer func() {
		for _, w := range s.served() {
			w.end()
		}
	}()
	s.serving.Go(func() { s.describer.run(ctx) }) // beside the rounds, which a slow Kafka must not delay
	s.serving.Go(func() { s.watch.run(ctx) })
	s.serving.Go(func() { s.watch.hear(ctx) })
	s.serving.Go(func() { s.reaper.run(ctx) })
	ticker := time.NewTicker(registryEvery)
	defer ticker.Stop()
	for {
		s.follow(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// follow reads the registry, begins with rooms that are new and ends with rooms
// that are gone.
func (s *Service) follow(ctx context.Context) {
	if now := time.Now(); now.Sub(s.expired) >= expireEvery {
		s.expired = now
		s.remove(ctx)
	}
	names, err := s.line.Rooms(ctx)
	if ctx.Err() != nil {
		return
	}
	var over error
	if errors.Is(err, room.ErrTooMany) { // beside those that are served
		over, err = err, nil
	}
	s.registry.Note(ctx, err)
	if err != nil {
		return
	}
	listed := make(map[room.Name]bool, len(names))
	for _, name := range names {
		listed[name] = true
	}
	if before := s.rooms.Swap(&listed); before != nil {
		for name := range *before {
			if !listed[name] {
				s.metrics.facts.DeletePartialMatch(prometheus.Labels{"room": string(name)})
			}
		}
	}

	wanted := s.narrow(ctx, names, over)
	for _, name := range wanted {
		s.serve(ctx, name)
	}
	served := s.served()
	known := make(map[room.Name]confRev, len(served))
	for _, w := range served {
		if _, found := slices.BinarySearch(wanted, w.name); !found && (len(wanted) >= room.MaxRooms || s.over(ctx, w)) {
			w.end() // a room of the same name waits until it has ended
		}
		if v := w.known.Load(); v != nil {
			known[w.name] = *v
		}
	}
	s.metrics.served.Set(float64(len(served)))
	s.describer.serve(wanted, known)
}

// over says that a room which the registry does not name any more was ended. One that
// was not is lost, or its name alone is, and its rounds bring it back; they are what
// remembers it.
func (s *Service) over(ctx context.Context, w *worker) bool {
	ended, err := s.line.Deleted(ctx, w.name)
	if err == nil && !ended {
		w.rounds.unlisted.Store(true) // rounds that come about say nothing of the registry
		w.wake()                      // a room that rests has none
	}
	return err == nil && ended
}

// remove takes away what is left of closed rooms whose time has come. Every
// admitter does; the first one finds something.
func (s *Service) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	removed, err := s.line.Expire(ctx)
	s.expire.Note(ctx, err)
	for _, name := range removed {
		s.log.Info("closed room removed: its time has come", zap.String("room", string(name)))
	}
}

// served are the rooms served, in no order.
func (s *Service) served() []*worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(make([]*worker, 0, len(s.workers)), maps.Values(s.workers))
}

// narrow returns the rooms to serve, sorted, within the bound.
func (s *Service) narrow(ctx context.Context, names []room.Name, over error) []room.Name {
	names = slices.Sorted(slices.Values(names))
	if len(s.only) > 0 {
		var missing []room.Name
		for _, name := range s.only {
			if _, found := slices.BinarySearch(names, name); !found {
				missing = append(missing, name)
			}
		}
		if !slices.Equal(missing, s.missing) {
			s.missing = missing
			if len(missing) > 0 {
				s.log.Warn("rooms named by --room do not exist; they are served once they do",
					zap.String("rooms", fmt.Sprint(missing)))
			}
		}
		names = slices.DeleteFunc(names, func(name room.Name) bool { return !slices.Contains(s.only, name) })
	}
	if len(names) > room.MaxRooms {
		over = fmt.Errorf("%d rooms, %d are served", len(names), room.MaxRooms)
		names = names[:room.MaxRooms]
	}
	s.tooMany.Note(ctx, over)
	return names
}

// serve begins with one room, unless it is served.
func (s *Service) serve(ctx context.Context, name room.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers[name] != nil {
		return
	}
	log := s.log.With(zap.String("room", string(name)))
	w := &worker{name: name, board: &board{}, serving: &s.serving}
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.relay = newRelay(ctx, name, s.process, s.line, s.batcher, &s.held, log, s.metrics)
	w.rounds = &rounds{
		name: name, process: s.process, line: s.line, flags: s.flags, given: s.given, nudge: w.relay.nudge,
		mark: s.watch.say, log: log, metrics: s.metrics, cause: newCause(name, log, s.metrics, w.board),
		age: outage.New(outage.Config{Log: log, Down: "the age of the outbox can't be read; its depth can",
			Up: "the age of the outbox can be read again"}),
		busyAt: time.Now(),
	}
	w.ended = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.workers, name) // no other of this name begins before
	}
	s.workers[name] = w
	log.Info("serving room")
	w.wake()
}

// eventRead keeps what a room's sale is for with those who bring the room back.
func (s *Service) eventRead(name room.Name, epoch room.Epoch, event room.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.workers[name]; w != nil {
		w.rounds.event.Store(&lastEvent{epoch, event})
	}
}

// eventLost has it brought back, where a later one is known than the line has.
func (s *Service) eventLost(name room.Name, has int64) {
	s.mu.Lock()
	w := s.workers[name]
	s.mu.Unlock()
	if w == nil {
		return
	}
	if event := w.rounds.event.Load(); event != nil && event.Rev > has {
		w.rounds.eventLost.Store(true)
		w.wake()
	}
}

// known is the room's label: facts name rooms that are long gone, which must not
// make new series.
func (s *Service) known(name room.Name) string {
	if rooms := s.rooms.Load(); rooms != nil && (*rooms)[name] {
		return string(name)
	}
	return "gone"
}
