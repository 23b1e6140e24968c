package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a line in memory that can be away.
type fake struct {
	mu     sync.Mutex
	rooms  map[room.Name]room.Event
	epochs map[room.Name]room.Epoch
	lost   map[room.Name]bool // listed, without its line
	broken map[room.Name]bool // an event that can't be read
	err    error              // of every call
	block  time.Duration      // how long the registry takes
	reads  []room.Name        // events read
	revs   int                // calls of EventRevs
	dead   map[room.Name]bool // with a tombstone
	asked  []room.Name        // names whose tombstone was looked for
	over   bool               // the registry lists more than it may
	pulses map[room.Name]int64
	read1  int                // pulses read
	dark   map[room.Name]bool // a server that does not answer holds it
}

func newFake() *fake {
	return &fake{rooms: map[room.Name]room.Event{}, epochs: map[room.Name]room.Epoch{}, lost: map[room.Name]bool{}, broken: map[room.Name]bool{}, dead: map[room.Name]bool{},
		pulses: map[room.Name]int64{}, dark: map[room.Name]bool{}}
}

func (f *fake) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) create(name room.Name, event room.Event) {
	f.do(func() { f.rooms[name], f.epochs[name], f.dead[name] = event, room.NewEpoch(), false; f.pulses[name]++ })
}

func (f *fake) set(name room.Name, title string) {
	f.do(func() {
		e := f.rooms[name]
		e.Title, e.Rev = title, e.Rev+1
		f.pulses[name]++
		f.rooms[name] = e
	})
}

func (f *fake) read() []room.Name {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reads)
}

func (f *fake) Rooms(ctx context.Context) ([]room.Name, error) {
	f.mu.Lock()
	block, names := f.block, slices.Sorted(maps.Keys(f.rooms)) // an answer that takes its time is of its beginning
	f.mu.Unlock()
	if block > 0 {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", room.ErrAway, ctx.Err())
		case <-time.After(block):
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over && f.err == nil {
		return names, room.ErrTooMany
	}
	return names, f.err
}

func (f *fake) Pulses(ctx context.Context, names []room.Name) ([]room.Pulse, []error) {
	f.mu.Lock()
	dark := slices.ContainsFunc(names, func(n room.Name) bool { return f.dark[n] })
	f.mu.Unlock()
	if dark {
		<-ctx.Done()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pulses, errs := make([]room.Pulse, len(names)), make([]error, len(names))
	for i, name := range names {
		f.read1++
		pulses[i], errs[i] = room.Pulse{Rev: f.pulses[name]}, f.err
		if dark {
			errs[i] = room.ErrAway
		}
	}
	return pulses, errs
}

func (f *fake) Shards(_ context.Context, names []room.Name) (groups [][]room.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var light, dark []room.Name
	for _, name := range names {
		if f.dark[name] {
			dark = append(dark, name)
		} else {
			light = append(light, name)
		}
	}
	for _, group := range [][]room.Name{dark, light} {
		if len(group) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

func (f *fake) Deleted(_ context.Context, name room.Name) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, name)
	return f.dead[name], f.err
}

// delete is what an operator's delete leaves.
func (f *fake) delete(name room.Name) {
	f.do(func() { delete(f.rooms, name); f.dead[name] = true })
}

func (f *fake) EventRevs(_ context.Context, names []room.Name) (map[room.Name]room.EventRev, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revs++
	revs := map[room.Name]room.EventRev{}
	for _, name := range names {
		if e, has := f.rooms[name]; has && !f.lost[name] {
			revs[name] = room.EventRev{Epoch: f.epochs[name], Rev: e.Rev}
		}
	}
	return revs, f.err
}

func (f *fake) Event(_ context.Context, name room.Name) (room.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, name)
	e, has := f.rooms[name]
	switch {
	case f.err != nil:
		return room.Event{}, f.err
	case !has:
		return room.Event{}, room.ErrUnknown
	case f.broken[name]:
		return room.Event{}, errors.New("event of the line: accent")
	}
	return e, nil
}

// follow runs a directory in the test's bubble. Its first look has ended when it
// returns; until lets time pass for further ones.
func follow(t *testing.T, f *fake) (d *Directory, logs *observer.ObservedLogs, stop func()) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	d = New(f, zap.New(core))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	synctest.Wait()
	return d, logs, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: got %v, want nil", err)
		}
	}
}

// pass lets the bubble's time run, and the loop rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func want(t *testing.T, d *Directory, name room.Name, title string, known room.Known) {
	t.Helper()
	if e, k := d.Room(name); e.Title != title || k != known {
		t.Errorf("room %s: got %q, %v, want %q, %v", name, e.Title, k, title, known)
	}
}

// A name is unknown only to who has read a registry that is not empty, and lately.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.err = room.ErrAway
		d, _, stop := follow(t, f)
		defer stop()
		want(t, d, "gala", "", room.Unsure) // unread
		f.do(func() { f.err = nil })
		pass(every)
		want(t, d, "gala", "", room.Unsure) // empty: perhaps Redis lost its data
		f.create("gala", room.Event{Title: "Gala", Rev: 1})
		pass(every)
		want(t, d, "gala", "Gala", room.Listed)
		want(t, d, "ball", "", room.Unlisted)
		f.create("ball", room.Event{})
		pass(every)
		want(t, d, "ball", "", room.Listed)

		f.delete("gala")
		pass(every)
		want(t, d, "gala", "", room.Listed) // it was, and its visitors are told so
		f.do(func() { delete(f.rooms, "ball") })
		pass(every)
		want(t, d, "never", "", room.Unsure) // empty again
		want(t, d, "ball", "", room.Listed)

		f.create("ball", room.Event{Title: "Ball", Rev: 1})
		pass(every)
		want(t, d, "never", "", room.Unlisted)
		f.do(func() { f.err = room.ErrAway })
		pass(freshFor - every)
		want(t, d, "never", "", room.Unlisted) // a read that failed now and then is no trouble
		pass(2 * every)
		want(t, d, "never", "", room.Unsure) // it may have been made since
		want(t, d, "ball", "Ball", room.Listed)
	})
}

// An event is read when its version differs, and only then: after a change, and
// when a room of that name was made anew.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("gala", room.Event{Title: "Gala", Rev: 1})
		f.create("plain", room.Event{})
		d, _, stop := follow(t, f)
		defer stop()
		pass(10 * every)
		want(t, d, "gala", "Gala", room.Listed)
		if got := f.read(); len(got) != 1 {
			t.Errorf("events read: got %v, want gala's once, and none where nothing was set", got)
		}
		f.set("gala", "Ball")
		pass(every)
		want(t, d, "gala", "Ball", room.Listed)
		f.create("gala", room.Event{Title: "Anew", Rev: 2}) // the same rev, of another line
		pass(every)
		want(t, d, "gala", "Anew", room.Listed)
		f.create("gala", room.Event{})
		pass(every)
		want(t, d, "gala", "", room.Listed)
		if got := f.read(); len(got) != 3 {
			t.Errorf("events read: got %v, want 3", got)
		}
		f.set("gala", "Back")
		pass(every)
		f.do(func() { f.lost["gala"] = true })
		f.set("gala", "Never told")
		pass(3 * every)
		want(t, d, "gala", "Back", room.Listed) // a line without its conf says nothing
	})
}

// An event that is older than the one known, of the same line, is of a line that lost an
// act of an operator, which comes back: it is not taken.
func TestAnOlderEventIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("gala", room.Event{Title: "Gala", Rev: 1})
		d, _, stop := follow(t, f)
		defer stop()
		f.set("gala", "Ball")
		pass(2 * every)
		epoch := f.epochs["gala"]
		f.do(func() {
			f.rooms["gala"] = room.Event{Title: "Gala", Rev: 1}
			f.pulses["gala"]++
		})
		pass(2 * every)
		want(t, d, "gala", "Ball", room.Listed)
		if e := d.EventOf("gala", epoch); e.Title != "Ball" || e.Rev != 2 {
			t.Errorf("of its line: got %+v, want Ball of rev 2", e)
		}
		if e := d.EventOf("gala", room.NewEpoch()); e.Rev != 0 {
			t.Errorf("of another line: got %+v, want none", e)
		}
		f.create("gala", room.Event{Title: "Anew", Rev: 1})
		pass(2 * every)
		want(t, d, "gala", "Anew", room.Listed)
	})
}

// Out of reach is said once, and so is being back; an event that can't be read is
// said once and does not keep the others from being read.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("a", room.Event{Title: "A", Rev: 1})
		f.create("b", room.Event{Title: "B", Rev: 1})
		f.broken["a"] = true
		d, logs, stop := follow(t, f)
		defer stop()
		pass(5 * every)
		want(t, d, "a", "", room.Listed)
		want(t, d, "b", "B", room.Listed)
		if got := logs.TakeAll(); len(got) != 1 || got[0].ContextMap()["room"] != "a" {
			t.Errorf("got %v, want one line about room a", got)
		}
		f.do(func() { f.err = room.ErrAway })
		pass(20 * every)
		f.do(func() { f.err = nil })
		f.do(func() { f.broken["a"] = false })
		f.set("a", "A again")
		pass(5 * every)
		want(t, d, "a", "A again", room.Listed)
		if got := logs.TakeAll(); len(got) != 2 || got[0].Level != zap.WarnLevel || got[1].Level != zap.InfoLevel {
			t.Errorf("got %v, want one line when it went and one when it was back", got)
		}
	})
}

// A registry that hangs ends with its call, and the end of Run does not wait for
// it.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("a", room.Event{Title: "A", Rev: 1})
		f.block = time.Hour
		d, logs, stop := follow(t, f)
		pass(callLimit + every)
		want(t, d, "a", "", room.Unsure)
		if logs.Len() != 1 {
			t.Errorf("got %v, want one line", logs.All())
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %v, want none", took)
		}
	})
}

// Names are remembered up to a bound; the ones listed the longest ago go first, and
// never one that is there.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("stays", room.Event{Title: "Stays", Rev: 1})
		d, _, stop := follow(t, f)
		defer stop()
		name := func(round, i int) room.Name { return room.Name(fmt.Sprintf("r%d-%d", round, i)) }
		const rounds = maxNames/(room.MaxRooms-1) + 2
		for round := range rounds {
			f.do(func() {
				for i := range room.MaxRooms - 1 {
					delete(f.rooms, name(round-1, i))
					f.rooms[name(round, i)] = room.Event{Title: "x", Rev: 1}
				}
			})
			pass(every)
			want(t, d, name(round, 0), "x", room.Listed)
		}
		if got := len(d.names); got != maxNames {
			t.Errorf("names remembered: got %d, want %d", got, maxNames)
		}
		want(t, d, "stays", "Stays", room.Listed)
		want(t, d, name(0, 0), "", room.Unlisted)
		want(t, d, name(rounds-2, 7), "x", room.Listed) // lost just now
		want(t, d, name(rounds-3, 7), "", room.Listed)
	})
}

// Pages ask while the registry changes.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("gala", room.Event{Title: "t0", Rev: 1})
		d, _, stop := follow(t, f)
		defer stop()
		start := make(chan struct{})
		var asking sync.WaitGroup
		for i := range 8 {
			asking.Go(func() {
				<-start
				for range 50 {
					if e, known := d.Room("gala"); known != room.Listed || e.Title == "" {
						t.Errorf("got %+v, %v, want an event of a listed room", e, known)
					}
					d.Room(room.Name(fmt.Sprint("other-", i)))
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		close(start)
		for i := range 5 {
			f.set("gala", fmt.Sprint("t", i))
			f.create(room.Name(fmt.Sprint("other-", i)), room.Event{})
			pass(every)
		}
		asking.Wait()
	})
}

// Only a registry that lists something tells a stranger's name from a room that may
// have been lost, and only one read just now from a room made since.
func TestLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("show", room.Event{})
		d, _, stop := follow(t, f)
		defer stop()
		ask := func(what string, name room.Name, want error) {
			t.Helper()
			if err := d.Lookup(t.Context(), name); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", what, err, want)
			}
		}
		ask("a room", "show", nil)
		pass(lookGap)
		ask("a name never listed", "nowhere", room.ErrUnknown)
		f.do(func() { delete(f.rooms, "show") })
		pass(2 * every)
		ask("an empty registry", "nowhere", room.ErrRecovering)
		ask("a room that an empty registry lists no more", "show", room.ErrRecovering)
		f.create("other", room.Event{})
		pass(2 * every)
		ask("a room that was listed and has no tombstone", "show", room.ErrRecovering)
		f.do(func() { f.dead["show"] = true })
		pass(2 * every)
		ask("a room with a tombstone", "show", room.ErrDeleted)
		d.Shown("ghost")
		ask("a room of which somebody has shown a place", "ghost", room.ErrRecovering)
		f.do(func() { f.dead["ghost"] = true })
		pass(2 * every)
		ask("the same, with a tombstone", "ghost", room.ErrDeleted)
		f.create("ghost", room.Event{})
		pass(2 * every)
		ask("the same, made anew", "ghost", nil)
		pass(lookGap)
		ask("a name never listed", "nowhere", room.ErrUnknown)
		f.do(func() { f.err = errors.New("reset") })
		pass(every)
		ask("a registry that can't be read any more", "young", room.ErrRecovering)
		f.do(func() { f.err = nil })
		// Somebody else's look was before the room was made.
		pass(lookGap)
		_ = d.Lookup(t.Context(), "stranger")
		pass(lookGap / 2)
		f.create("young", room.Event{})
		if err := d.Lookup(t.Context(), "young"); err == nil {
			t.Error("got a look for each stranger's name")
		}
		pass(lookGap)
		ask("a room made since the last look", "young", nil)
		if !d.Has("young") || d.Has("show") || d.Has("nowhere") {
			t.Error("Has: want what the registry lists, and nothing else")
		}
	})
}

// Who looks while another look hangs waits no longer than lookLimit.
func TestALookThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("show", room.Event{})
		d, _, stop := follow(t, f)
		defer stop()
		var good int // guarded by f.mu
		d.told = append(d.told, func(err error) {
			if err == nil {
				f.do(func() { good++ })
			}
		})
		f.do(func() { f.block = 3 * time.Second })
		pass(every) // the loop's own look hangs
		start := time.Now()
		if err := d.Lookup(t.Context(), "young"); !errors.Is(err, room.ErrRecovering) {
			t.Errorf("got %v, want recovering", err)
		}
		if took := time.Since(start); took > lookLimit {
			t.Errorf("got an answer after %s, want it within %s", took, lookLimit)
		}
		pass(5 * time.Second)
		f.do(func() { f.block = 0 })
		pass(5 * time.Second)
		f.do(func() {
			if good == 0 {
				t.Error("the registry can be read again, and no follower heard so")
			}
		})
	})
}

// A follower hears each read, and why there was none.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("show", room.Event{})
		d := New(f, zap.NewNop())
		var read, failed int
		var mu sync.Mutex // guards both
		d.Follow(func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
			} else {
				read++
			}
		}, func(room.Name, time.Time, room.Pulse, error) {})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		<-d.Contact()
		synctest.Wait()
		mu.Lock()
		if read != 1 || failed != 0 {
			t.Errorf("got %d reads and %d failures, want one read", read, failed)
		}
		mu.Unlock()
		f.do(func() { f.err = errors.New("reset") })
		pass(3 * every)
		mu.Lock()
		if failed != 3 {
			t.Errorf("got %d failures in three looks, want 3", failed)
		}
		mu.Unlock()
		cancel()
		<-done
	})
}

// A crowd at a room made just now: one looks, the others wait for that look.
func TestACrowdAtANewRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("show", room.Event{})
		f.do(func() { f.block = 2 * time.Millisecond })
		d, _, stop := follow(t, f)
		defer stop()
		pass(every / 2)
		f.create("fresh", room.Event{})
		var crowd sync.WaitGroup
		for range 100 {
			crowd.Go(func() {
				if err := d.Lookup(t.Context(), "fresh"); err != nil {
					t.Errorf("got %v, want the room found for everybody", err)
				}
			})
		}
		crowd.Wait()
	})
}

// A registry that is lost whole is asked for its tombstones some names a second, the
// longest waiting first; who has one, or is listed again, is not asked for.
func TestTombstonesAreAskedForInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		const rooms = 3*maxAsked + 7
		name := func(i int) room.Name { return room.Name(fmt.Sprint("r", i)) }
		for i := range rooms {
			f.create(name(i), room.Event{Title: "x", Rev: 1})
		}
		d, _, stop := follow(t, f)
		defer stop()
		pass(2 * every)
		asked := func() (names []room.Name) {
			f.do(func() { names = slices.Clone(f.asked) })
			return names
		}
		if n := len(asked()); n > 0 {
			t.Errorf("got %d questions about rooms that are listed", n)
		}
		f.do(func() {
			clear(f.rooms)
			f.dead[name(5)] = true
		})
		for second := range 4 {
			before := len(asked())
			pass(every)
			if got := len(asked()) - before; got > maxAsked {
				t.Errorf("second %d: got %d questions, want at most %d", second, got, maxAsked)
			}
		}
		all := asked()
		slices.Sort(all)
		if got := len(slices.Compact(all)); got != rooms {
			t.Errorf("got %d names asked for in 4 s, want all %d", got, rooms)
		}
		if !d.Deleted(name(5)) || d.Deleted(name(6)) {
			t.Error("want the one with a tombstone deleted and no other")
		}
		want(t, d, name(6), "x", room.Listed) // a lost room is still what it was for
		f.do(func() { f.asked = nil })
		pass(10 * every)
		if slices.Contains(asked(), name(5)) {
			t.Error("got a question about a room that is known to be deleted")
		}
	})
}

// More rooms than are served are an error for the log, and the first of them are served.
func TestTooManyRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("show", room.Event{Title: "Show", Rev: 1})
		f.over = true
		d, logs, stop := follow(t, f)
		defer stop()
		pass(5 * every)
		want(t, d, "show", "Show", room.Listed)
		if got := logs.TakeAll(); len(got) != 1 || got[0].Level != zap.ErrorLevel {
			t.Errorf("got %v, want one error", got)
		}
	})
}

// A room in which nothing changes costs one plain read a second, and nothing else; a
// change of it is known with the next one.
func TestQuietRoomsCostOneReadASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		const rooms = 200
		for i := range rooms {
			f.create(room.Name(fmt.Sprint("r", i)), room.Event{Title: "x", Rev: 1})
		}
		d, _, stop := follow(t, f)
		defer stop()
		pass(3 * every)
		f.do(func() { f.revs, f.reads, f.read1 = 0, nil, 0 })
		pass(10 * every)
		f.do(func() {
			if f.revs != 0 || len(f.reads) != 0 || f.read1 != 10*rooms {
				t.Errorf("got %d reads of versions, %d of events and %d pulses in 10 s, want none, none and %d", f.revs, len(f.reads), f.read1, 10*rooms)
			}
		})
		f.set("r7", "y")
		pass(every)
		want(t, d, "r7", "y", room.Listed)
		pass(2 * again * every)
		f.do(func() {
			if f.revs > 5 {
				t.Errorf("got %d reads of versions in a minute in which nothing changed", f.revs)
			}
		})
	})
}

// A server that hangs costs its own rooms their pulse, and a registry that hangs costs
// nobody's.
func TestAServerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create("light", room.Event{})
		f.create("dark", room.Event{})
		d := New(f, zap.NewNop())
		var mu sync.Mutex
		good, bad := map[room.Name]int{}, map[room.Name]int{}
		d.Follow(func(error) {}, func(name room.Name, _ time.Time, _ room.Pulse, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good[name]++
			} else {
				bad[name]++
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		pass(every / 2)
		f.do(func() { f.dark["dark"] = true })
		pass(10 * every)
		f.do(func() { f.dark["dark"], f.block = false, time.Hour })
		pass(10 * every)
		mu.Lock()
		if good["light"] < 19 || good["dark"] < 9 || bad["light"] > 0 || bad["dark"] < 8 {
			t.Errorf("got %v good pulses and %v bad ones in 20 s, want the light room's all good", good, bad)
		}
		mu.Unlock()
		cancel()
		<-done
	})
}
