package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// world is the lines (fake_line_test.go) and a Kafka in memory. It checks at each step
// what must hold at each step, and notes what breaks.
type world struct {
	mu      sync.Mutex
	lines   map[room.Name]*fakeLine
	brought room.Saved               // the last line that was lost and came back
	log     []events.Record          // what Kafka has acknowledged
	sent    map[string]bool          // ids of it
	rooms   []events.Record          // what of it is in the topic of rooms
	broken  []string                 // promises broken
	lost    map[room.Name]*fakeLine  // whole, and not deleted
	unsure  error                    // of who is away
	admits  []time.Time              // when rounds were made
	admit   func() *room.Round       // overrides the answer of Admit
	block   time.Duration            // how long a publish takes
	flying  int                      // publishes in progress
	away    error                    // what Kafka answers
	sick    func(events.Record) bool // what Kafka does not take of a publish
	tries   map[string]int           // of each record by its id
	dlq     []events.Record          // dead letters that Kafka has acknowledged
	counts  map[string]int           // calls of the line by name
	marks   []room.Name              // that were said, in order
	signs   []room.Sign
	given   []string           // lanes given back
	gone    map[room.Name]bool // deleted: a tombstone says so
	over    bool               // the registry has more rooms than it may
	expire  []room.Name        // whose time has come
	ill     error              // what reads of pulses answer
}

func newWorld(names ...room.Name) *world {
	w := &world{lines: map[room.Name]*fakeLine{}, sent: map[string]bool{}, tries: map[string]int{}, counts: map[string]int{}, gone: map[room.Name]bool{}}
	for _, name := range names {
		w.create(name, "aaaaaaaa")
	}
	return w
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

func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
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
