package hub

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/cadence"
	"waitroom/internal/directory"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// manyLines is a line of many rooms.
type manyLines struct {
	*fakeLine // of what belongs to none of them
	rooms     map[room.Name]*fakeLine
	names     []room.Name
}

func newManyLines(n int) *manyLines {
	m := &manyLines{fakeLine: newFakeLine(), rooms: map[room.Name]*fakeLine{}}
	for i := range n {
		name := room.Name(fmt.Sprint("room", i))
		m.rooms[name], m.names = newFakeLine(), append(m.names, name)
		m.rooms[name].name = name
	}
	return m
}

func (m *manyLines) Rooms(context.Context) ([]room.Name, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names, m.call("rooms")
}

func (m *manyLines) Join(ctx context.Context, name room.Name, by room.Caller, lane room.Lane, ids []room.VisitorID) (room.Joined, error) {
	return m.rooms[name].Join(ctx, name, by, lane, ids)
}

func (m *manyLines) Snapshot(ctx context.Context, name room.Name, from int64) (room.Snapshot, error) {
	return m.rooms[name].Snapshot(ctx, name, from)
}

func (m *manyLines) Present(ctx context.Context, name room.Name, by room.Caller, from int64, bits []byte) (room.Number, bool, error) {
	return m.rooms[name].Present(ctx, name, by, from, bits)
}

func (m *manyLines) Turn(ctx context.Context, name room.Name, from int64) (room.Turn, error) {
	return m.rooms[name].Turn(ctx, name, from)
}

func (m *manyLines) Stands(ctx context.Context, name room.Name, places []room.Place) ([]room.Stand, error) {
	return m.rooms[name].Stands(ctx, name, places)
}

func (m *manyLines) Pulses(ctx context.Context, names []room.Name) (pulses []room.Pulse, errs []error) {
	for _, name := range names {
		p, err := m.rooms[name].Pulses(ctx, []room.Name{name})
		pulses, errs = append(pulses, p...), append(errs, err...)
	}
	return pulses, errs
}

// count is of all rooms together.
func (m *manyLines) count(call string) (n int) {
	for _, f := range m.rooms {
		n += f.count(call)
	}
	return n + m.fakeLine.count(call)
}

// A thousand rooms in which nothing happens cost a pulse a second each, and ten short
// reads for all together, and twice a span a word of who is there; nobody is left in silence, and no goroutine waits for a room.
func TestQuietRoomsCostAPulse(t *testing.T) {
	const n, seconds = 1000, 15 // a span of the grace
	synctest.Test(t, func(t *testing.T) {
		m := newManyLines(n)
		rooms := directory.New(m, zap.NewNop())
		h := New(Config{}, "node", m, rooms, fakeSigner{}, "", zap.NewNop(), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		var loops sync.WaitGroup // end with cancel below
		loops.Go(func() { _ = h.Run(ctx) })
		loops.Go(func() { _ = rooms.Run(ctx) })
		<-rooms.Contact()
		sinks := map[room.Name]*fakeSink{}
		for _, name := range m.names {
			sinks[name] = &fakeSink{}
			if _, err := h.Join(t.Context(), name, sinks[name]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * moves)
		synctest.Wait()
		calls := []string{"pulse", "busy", "snapshot", "turn", "stands", "join", "rejoin", "mark", "rooms", "present"}
		before := map[string]int{}
		for _, call := range calls {
			before[call] = m.count(call)
		}
		for _, s := range sinks {
			s.take()
		}
		began := time.Now()
		time.Sleep(seconds * time.Second)
		synctest.Wait()
		for _, call := range calls {
			got, most := m.count(call)-before[call], 0
			switch call {
			case "pulse":
				most = n * seconds
			case "present":
				most = 2 * n
			case "busy":
				most = 10 * seconds
			case "rooms":
				most = seconds
			}
			if got > most || got < most-most/seconds {
				t.Errorf("%s: got %d calls in %d s of %d quiet rooms, want %d", call, got, seconds, n, most)
			}
		}
		for name, s := range sinks {
			last := began
			for _, m := range append(s.take(), message{At: time.Now()}) {
				if gap := m.At.Sub(last); gap > cadence.BeatLeast {
					t.Fatalf("%s: got a silence of %s, want at most %s", name, gap, cadence.BeatLeast)
				}
				last = m.At
			}
		}
		if got := runtime.NumGoroutine(); got > 30 {
			t.Errorf("got %d goroutines for %d quiet rooms, want a few for all", got, n)
		}
		cancel()
		loops.Wait()
	})
}

// The first turn after a rest is told within a quarter of a second, by the mark of who
// admits; a mark that is lost costs a second and nothing else.
func TestTheFirstTurnAfterARest(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(40)
		for i := range 20 {
			unmarked := i%2 == 1
			b.line.set(func() { b.line.unmarked = unmarked })
			b.pass(3*moves + time.Duration(i)*37*time.Millisecond)
			turns := b.line.count("turn")
			b.pass(time.Second)
			if got := b.line.count("turn"); got != turns {
				b.Errorf("round %d: got %d looks for turns at rest, want none", i, got-turns)
			}
			sinks[i].take()
			admitted := time.Now()
			b.line.admit(1)
			b.pass(1500 * time.Millisecond)
			heard := sinks[i].take()
			at := slices.IndexFunc(heard, func(m message) bool { return m.Type == wire.Admitted })
			if at < 0 {
				b.Fatalf("round %d: got %v, want the turn", i, types(heard))
			}
			most := 250 * time.Millisecond
			if unmarked {
				most += PositionTick
			}
			if took := heard[at].At.Sub(admitted); took > most {
				b.Errorf("round %d, mark lost %t: told after %s, want %s at most", i, unmarked, took, most)
			}
		}
	})
}

// Whoever comes to an empty room marks it, at once and without waiting; whoever comes
// to one in which people wait does not.
func TestTheFirstVisitorMarksTheRoom(t *testing.T) {
	inBubble(t, func(b *bench) {
		start := time.Now()
		b.join(1)
		b.pass(10 * time.Millisecond)
		if got := b.line.count("mark"); got != 1 {
			b.Errorf("got %d marks of the first visitor after %s, want one", got, time.Since(start))
		}
		b.join(20)
		b.pass(time.Second)
		if got := b.line.count("mark"); got != 1 {
			b.Errorf("got %d marks, want none for those behind", got-1)
		}
	})
	inBubble(t, func(b *bench) {
		l := &slowMarks{fakeLine: b.line, hold: make(chan struct{})}
		b.hub.line = l
		for range 50 {
			start := time.Now()
			b.join(1)
			if took := time.Since(start); took > 10*time.Millisecond {
				b.Errorf("a join while marks hang took %s", took)
			}
			b.line.admit(1)
		}
		close(l.hold)
		b.pass(time.Second)
		if got := b.line.count("mark"); got < 1 || got > 2 {
			b.Errorf("got %d calls for 50 visitors of one room, want those under way coalesced", got)
		}
	})
}

// slowMarks holds back every mark.
type slowMarks struct {
	*fakeLine
	hold chan struct{}
}

func (s *slowMarks) MarkBusy(ctx context.Context, names ...room.Name) error {
	<-s.hold
	return s.fakeLine.MarkBusy(ctx, names...)
}

// That the line is away is told 2.5 s after the last good read, in a room that rests
// and in one that moves, whether calls hang or fail.
func TestStalledIsToldInTime(t *testing.T) {
	for _, rest := range []time.Duration{3 * PositionTick, 4 * moves} {
		for _, hangs := range []bool{false, true} {
			for phase := range 5 {
				inBubble(t, func(b *bench) {
					_, sinks := b.join(3)
					b.pass(rest + time.Duration(phase)*230*time.Millisecond)
					sinks[1].take()
					good := b.hub.Signs()[0].StaleMS
					last := time.Now().Add(-time.Duration(good) * time.Millisecond)
					b.line.set(func() {
						if hangs {
							b.line.hangs = time.Minute
						} else {
							b.line.away = true
						}
					})
					b.pass(5 * time.Second)
					heard := sinks[1].take()
					at := slices.IndexFunc(heard, func(m message) bool { return m.State == room.ShownStalled })
					if at < 0 {
						b.Fatalf("after %s, hangs %t: got %v, want stalled", rest, hangs, types(heard))
					}
					if took := heard[at].At.Sub(last); took < stalledAfter || took > stalledAfter+2*TurnTick {
						b.Errorf("after %s, hangs %t: told after %s, want %s", rest, hangs, took, stalledAfter)
					}
					b.line.set(func() { b.line.hangs, b.line.away = 0, false })
					b.pass(3 * time.Second)
					if got := types(sinks[1].take()); !slices.Contains(got, "room open") {
						b.Errorf("after %s, hangs %t: got %v once it is back, want open", rest, hangs, got)
					}
				})
			}
		}
	}
}

// A room that rests opens at its time, and a change in it is shown within a second.
func TestWhatChangesWhileARoomRests(t *testing.T) {
	inBubble(t, func(b *bench) {
		opens := time.Now().Add(time.Minute)
		b.line.set(func() { b.line.conf.State, b.line.conf.OpensAt = room.Opening, opens })
		sessions, sinks := b.join(3)
		b.pass(time.Until(opens) - time.Second)
		snapshots := b.line.count("snapshot")
		sinks[2].take()
		b.pass(2*time.Second + 2*TurnTick)
		heard := sinks[2].take()
		at := slices.IndexFunc(heard, func(m message) bool { return m.State == room.ShownOpen })
		if at < 0 || heard[at].At.Sub(opens) > PositionTick+TurnTick {
			b.Errorf("got %v, want it open within a tick of its time", heard)
		}
		if got := b.line.count("snapshot") - snapshots; got > 2 {
			b.Errorf("got %d reads around its time, want one or two", got)
		}
		b.pass(3 * moves)
		sinks[2].take()
		b.line.set(func() { b.line.remove(sessions[1].place) }) // on another node
		b.pass(PositionTick + TurnTick)
		if heard := sinks[2].take(); len(heard) == 0 || heard[len(heard)-1].Position != 2 {
			b.Errorf("a leave elsewhere: got %+v, want position 2 within a second", heard)
		}
	})
}

// While a line waits for those whom it lost, its visitors hear that it recovers, and
// their positions all the same.
func TestRecoveringIsShownWhileTheLineWaits(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(3)
		b.pass(3 * moves)
		sinks[2].take()
		until := time.Now().Add(10 * time.Second)
		b.line.set(func() { b.line.life = room.Life{ID: "b", HoldUntil: until}; b.line.conf.Rev++ })
		b.pass(8 * time.Second)
		if got := types(sinks[2].take()); !slices.Contains(got, "room recovering") || !slices.Contains(got, "position") {
			b.Errorf("got %v, want recovering and positions", got)
		}
		b.pass(4 * time.Second)
		if got := types(sinks[2].take()); !slices.Contains(got, "room open") {
			b.Errorf("once it goes on: got %v, want open", got)
		}
	})
}
