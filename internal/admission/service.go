package admission

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

// registryEvery is how soon a new room is served and a deleted one is left.
const registryEvery = time.Second

// registry names the rooms there are, at most room.MaxRooms.
type registry interface {
	Rooms(context.Context) ([]room.Name, error)
}

// line is all that this package needs of the line, piece by piece beside the
// users. Safe for concurrent use.
type line interface {
	registry
	rounder
	outbox
	slots
	described
}

// Service serves rooms. Make it with New; Run and Facts are its two halves.
type Service struct {
	// set once
	line      line
	publisher publisher
	log       *zap.Logger
	metrics   *metrics
	flags     room.Change
	given     bool
	only      []room.Name // empty: every room

	describer *describer // its loop is Run's

	// owned by Run
	workers map[room.Name]*worker
	missing []room.Name // of only, and logged

	registry *outage.Log // it can't be read
	tooMany  *outage.Log // it is above its bound

	rooms atomic.Pointer[map[room.Name]bool] // the registry as last read

	mu     sync.Mutex
	boards map[room.Name]*board // of the rooms served; guarded by mu
}

// worker is one room served: two goroutines, ended by stop, done when both are.
type worker struct {
	stop context.CancelFunc
	done chan struct{}
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
		line: line, publisher: publisher, log: log, metrics: newMetrics(reg),
		flags: flags, given: config.values().Given(), workers: map[room.Name]*worker{}, boards: map[room.Name]*board{},
		registry: outage.New(outage.Config{Log: log, Down: "the registry can't be read, the rooms known are served on",
			Up: "the registry can be read again"}),
		tooMany: outage.New(outage.Config{Log: log, Grave: true,
			Down: "the registry has more rooms than an admitter serves, the last ones by name are left out",
			Up:   "the registry has no more rooms than an admitter serves"}),
	}
	for _, name := range config.Rooms {
		s.only = append(s.only, room.Name(name))
	}
	s.describer = newDescriber(line, publisher, log)
	return s, nil
}

// Run serves every room of the registry, or those that config names, until ctx
// ends; it returns nil when all of its goroutines have. The registry is read
// again each second; while it can't be read, the rooms known are served on.
func (s *Service) Run(ctx context.Context) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() { s.describer.run(ctx) }) // beside the rounds, which a slow Kafka must not delay
	ticker := time.NewTicker(registryEvery)
	defer ticker.Stop()
	for {
		s.follow(ctx, &serving)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// follow reads the registry, begins with rooms that are new and ends with rooms
// that are gone.
func (s *Service) follow(ctx context.Context, serving *sync.WaitGroup) {
	names, err := s.line.Rooms(ctx)
	if ctx.Err() != nil {
		return
	}
	s.registry.Note(ctx, err)
	if err != nil {
		return
	}
	known := make(map[room.Name]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	if before := s.rooms.Swap(&known); before != nil {
		for name := range *before {
			if !known[name] {
				s.metrics.facts.DeletePartialMatch(prometheus.Labels{"room": string(name)})
			}
		}
	}

	for name, w := range s.workers {
		select {
		case <-w.done:
			delete(s.workers, name)
		default:
		}
	}
	wanted := s.narrow(ctx, names)
	for _, name := range wanted {
		if s.workers[name] == nil {
			s.workers[name] = s.serve(ctx, name, serving)
		}
	}
	for name, w := range s.workers {
		if !slices.Contains(wanted, name) {
			w.stop() // awaited by Run; a room of the same name waits until it is done
		}
	}
	s.metrics.served.Set(float64(len(s.workers)))
	s.describer.serve(wanted)
}

// narrow returns the rooms to serve, sorted, within the bound.
func (s *Service) narrow(ctx context.Context, names []room.Name) []room.Name {
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
	var over error
	if len(names) > room.MaxRooms {
		over = fmt.Errorf("%d rooms, %d are served", len(names), room.MaxRooms)
		names = names[:room.MaxRooms]
	}
	s.tooMany.Note(ctx, over)
	return names
}

// serve begins with one room: its rounds, and beside them its relay, which ends
// after them.
func (s *Service) serve(ctx context.Context, name room.Name, serving *sync.WaitGroup) *worker {
	ctx, stop := context.WithCancel(ctx)
	w := &worker{stop: stop, done: make(chan struct{})}
	log := s.log.With(zap.String("room", string(name)))
	wake := make(chan struct{}, 1)
	board := &board{}
	s.mu.Lock()
	s.boards[name] = board
	s.mu.Unlock()
	rounds := &rounds{
		name: name, line: s.line, flags: s.flags, given: s.given, wake: wake,
		log: log, metrics: s.metrics, cause: newCause(name, log, s.metrics, board),
		age: outage.New(outage.Config{Log: log, Down: "the age of the outbox can't be read; its depth can",
			Up: "the age of the outbox can be read again"}),
	}
	relay := newRelay(name, s.line, s.publisher, wake, log, s.metrics)
	log.Info("serving room")
	serving.Go(func() {
		defer close(w.done)
		defer stop()
		var relaying sync.WaitGroup
		relaying.Go(func() { relay.run(ctx) })
		rounds.run(ctx)
		close(wake)
		relaying.Wait()
		s.metrics.forget(name)
		s.mu.Lock()
		delete(s.boards, name) // no other of this name begins before done is closed
		s.mu.Unlock()
		log.Info("no longer serving room")
	})
	return w
}

// known is the room's label: facts name rooms that are long gone, which must not
// make new series.
func (s *Service) known(name room.Name) string {
	if rooms := s.rooms.Load(); rooms != nil && (*rooms)[name] {
		return string(name)
	}
	return "gone"
}
