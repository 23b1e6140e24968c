package admission

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

// many are a thousand rooms, all that a registry holds.
func many() []room.Name {
	names := make([]room.Name, room.MaxRooms)
	for i := range names {
		names[i] = room.Name(fmt.Sprintf("quiet-%d", i))
	}
	return names
}

// A quiet room costs one command a second, whatever keeps it quiet: nobody waits, or
// an operator has stopped it.
func TestQuietRoomsCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(many()[:quietRooms]...)
		for i := range quietRooms / 5 {
			name := many()[i]
			w.join(name, 10) // a crowd that waits
			w.let(name, []room.State{room.Paused, room.Opening}[i%2], time.Time{})
		}
		s, _, _ := serve(t, Config{}, w, w)
		time.Sleep(5*time.Second + watchEvery/2)
		w.calls()
		const seconds = 20
		time.Sleep(seconds * time.Second)
		counts := w.calls()
		// In place of some pulses there are full rounds.
		if got := counts["pulse"] + counts["admit"] + counts["status"] + counts["event rev"] + counts["read"] + counts["lanes"] + counts["keep"]; got > seconds*quietRooms {
			t.Errorf("got %d commands in %d s for %d quiet rooms, want one a second and room at most: %v", got, seconds, quietRooms, counts)
		}
		if got := counts["admit"]; got < seconds/10*quietRooms || got > seconds/5*quietRooms {
			t.Errorf("got %d rounds, want one for each room in 5 to 10 s", got)
		}
		if got := counts["busy"] + counts["expire"] + counts["mark"]; got > seconds*21 {
			t.Errorf("got %d commands in %d s for all rooms together, want 20 a second and one a minute: %v", got, seconds, counts)
		}
		for _, sign := range s.Signs() {
			if sign.RoundMS < 0 || sign.RoundMS > 2*pulseEvery.Milliseconds() || sign.CauseMS < 24_000 {
				t.Fatalf("got %+v, want a look within two seconds, and since when it is quiet", sign)
			}
		}
	})
}

// The first visitor of a quiet room is let in within 100 ms if the room is marked,
// and within a second and a round if the mark is lost. The nodes are told.
func TestFirstVisitor(t *testing.T) {
	for _, marked := range []bool{true, false} {
		t.Run(fmt.Sprintf("marked %t", marked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(sale, "other")
				serve(t, Config{}, w, w)
				within := 100 * time.Millisecond
				if !marked {
					within = pulseEvery + watchEvery + minRound
				}
				for i := range 40 {
					time.Sleep(5*time.Second + time.Duration(i)*time.Millisecond*7)
					began := time.Now()
					w.join(sale, 1)
					said := len(w.said())
					if marked {
						w.MarkBusy(t.Context(), sale)
						said++
					}
					time.Sleep(within)
					synctest.Wait()
					if got := w.letIn(sale); got != i+1 {
						t.Errorf("visitor %d: got %d let in %s after the join, want all", i, got, time.Since(began))
					}
					if got := w.said(); len(got) != said+1 || got[len(got)-1] != sale {
						t.Errorf("visitor %d: got the marks %v, want one for %s", i, got[said:], sale)
					}
				}
			})
		})
	}
}

// letIn is how many of a room were admitted.
func (w *world) letIn(name room.Name) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.lines[name].admitted)
}

// said are the marks so far.
func (w *world) said() []room.Name {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.marks
}

// What is joined while a room is being put to rest is not overlooked, whenever that
// is: it is let in within 100 ms of a mark, though calls are slow, and within a second
// and a round if the mark is lost.
func TestJoinedWhileComingToRest(t *testing.T) {
	const slow = watchEvery + 10*time.Millisecond // a mark is heard meanwhile
	for _, marked := range []bool{true, false} {
		for _, call := range []string{"pulses", "admit"} {
			for n := 1; n <= 14; n++ {
				for _, f := range []moment{before, after} {
					t.Run(fmt.Sprintf("marked %t/%s/%d/%d", marked, call, n, f), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							w := newWorld(sale)
							var joined atomic.Pointer[time.Time]
							within, want := slow+100*time.Millisecond, 1
							if marked {
								w.join(sale, 1) // the room was busy before
								want = 2
							} else {
								within += pulseEvery
							}
							c := &interrupted{world: w, at: func(is string, i int, m moment) {
								if is != call || i != n || m != f {
									return
								}
								w.join(sale, 1)
								now := time.Now()
								joined.Store(&now)
								if marked {
									w.MarkBusy(t.Context(), sale)
								}
								if m == after {
									time.Sleep(slow)
								}
							}}
							_, _, stop := serve(t, Config{}, c, c)
							eventually(t, "the last has joined", func() bool { return joined.Load() != nil })
							time.Sleep(time.Until(joined.Load().Add(within)))
							synctest.Wait()
							if got := w.letIn(sale); got != want {
								t.Errorf("got %d let in %s after the last joined, want %d", got, within, want)
							}
							stop()
						})
					})
				}
			}
		}
	}
}

type moment int

const (
	before moment = iota
	after
)

// interrupted is a world in which something happens right before or after a call.
type interrupted struct {
	*world
	at func(call string, n int, m moment)

	mu     sync.Mutex
	counts map[string]int
}

func (c *interrupted) around(call string, do func()) {
	c.mu.Lock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[call]++
	n := c.counts[call]
	c.mu.Unlock()
	c.at(call, n, before)
	do()
	c.at(call, n, after)
}

func (c *interrupted) Pulses(ctx context.Context, names []room.Name) (pulses []room.Pulse, errs []error) {
	c.around("pulses", func() { pulses, errs = c.world.Pulses(ctx, names) })
	return pulses, errs
}

func (c *interrupted) Admit(ctx context.Context, name room.Name, caller room.Caller, limit int) (round room.Round, err error) {
	c.around("admit", func() { round, err = c.world.Admit(ctx, name, caller, limit) })
	return round, err
}

// An operator's word is heard within a second and a round in a room that rests.
func TestOperatorWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.join(sale, 3)
		w.let(sale, room.Paused, time.Time{})
		serve(t, Config{}, w, w)
		time.Sleep(5 * time.Second)
		w.calls()
		for range 4 {
			w.join(sale, 3) // wakes nobody: the room is paused
			time.Sleep(time.Second)
		}
		if got := w.calls()["admit"]; got > 1 {
			t.Errorf("got %d rounds after joins to a paused room, want none but for the deadlines'", got)
		}
		w.let(sale, room.Open, time.Time{})
		time.Sleep(pulseEvery + watchEvery + 100*time.Millisecond)
		synctest.Wait()
		if !w.settled(sale) {
			t.Error("nobody was let in a second after the room was opened")
		}
	})
}

// A room opens by itself when its time has come, which its line writes nowhere.
func TestOpensByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.join(sale, 3)
		opens := time.Now().Add(time.Hour)
		w.let(sale, room.Opening, opens)
		serve(t, Config{}, w, w)
		time.Sleep(10 * time.Minute)
		opens = time.Now().Add(47*time.Second + 13*time.Millisecond) // put forward
		w.let(sale, room.Opening, opens)
		time.Sleep(time.Until(opens) - time.Millisecond)
		synctest.Wait()
		if got := w.letIn(sale); got != 0 {
			t.Errorf("got %d let in before the room opened", got)
		}
		time.Sleep(minRound + 2*time.Millisecond + 15*time.Millisecond) // three at 200/s
		synctest.Wait()
		if !w.settled(sale) {
			t.Error("nobody was let in when the room opened")
		}
	})
}

// Redis away: a room that rests is asked once a second, its sign says why it stands
// still, and it is served again when Redis is back.
func TestQuietRoomsWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rooms = 100
		w := newWorld(many()[:rooms]...)
		s, _, _ := serve(t, Config{}, w, w)
		time.Sleep(15*time.Second + watchEvery/2)
		w.mu.Lock()
		w.ill = errLost
		w.admit = nil
		w.mu.Unlock()
		w.calls()
		time.Sleep(30 * time.Second)
		counts := w.calls()
		if got := counts["pulse"]; got > 31*rooms {
			t.Errorf("got %v in 30 s, want a look a second and room", counts)
		}
		for _, sign := range s.Signs() {
			if sign.Cause != room.StopAway || sign.CauseMS < 15_000 {
				t.Fatalf("got %+v, want away", sign)
			}
		}
		w.mu.Lock()
		w.ill = nil
		w.mu.Unlock()
		time.Sleep(3 * time.Second)
		for _, sign := range s.Signs() {
			if sign.Cause != room.StopEmpty || sign.RoundMS > 2000 {
				t.Fatalf("got %+v, want it quiet again", sign)
			}
		}
		w.join("quiet-7", 2)
		time.Sleep(2 * time.Second)
		if !w.settled("quiet-7") {
			t.Error("a room is not served after Redis came back")
		}
	})
}

// A server that hangs holds up the rooms that it holds, and no others.
func TestShardHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("here", "there")
		h := &halves{world: w, hangs: "there"}
		s, _, _ := serve(t, Config{}, h, h)
		time.Sleep(time.Minute)
		for i := range 5 {
			w.join("here", 1)
			time.Sleep(pulseEvery + watchEvery + minRound)
			synctest.Wait()
			if got := w.letIn("here"); got != i+1 {
				t.Errorf("visitor %d of the other server's room was not let in", i)
			}
		}
		for _, sign := range s.Signs() {
			if sign.Room == "there" && (sign.Cause != room.StopAway || sign.RoundMS < 50_000) {
				t.Errorf("got %+v, want it away", sign)
			}
		}
	})
}

// halves is a world on two servers, one of which answers no look.
type halves struct {
	*world
	hangs room.Name
}

func (h *halves) Shards(_ context.Context, names []room.Name) (groups [][]room.Name) {
	for _, name := range names {
		groups = append(groups, []room.Name{name})
	}
	return groups
}

func (h *halves) Pulses(ctx context.Context, names []room.Name) ([]room.Pulse, []error) {
	if names[0] != h.hangs {
		return h.world.Pulses(ctx, names)
	}
	<-ctx.Done()
	return make([]room.Pulse, 1), []error{ctx.Err()}
}

// While Kafka is away a room with nobody waiting has a round a second, not ten, and
// its outbox is relayed when Kafka is back.
func TestQuietRoomWithAnOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.join(sale, 3)
		w.away = errSick
		serve(t, Config{}, w, w)
		time.Sleep(10 * time.Second)
		w.calls()
		time.Sleep(60 * time.Second)
		if counts := w.calls(); counts["admit"] > 61 || counts["read"] > 61 {
			t.Errorf("got %v in a minute, want a round and a read a second at most", counts)
		}
		w.mu.Lock()
		w.away = nil
		w.mu.Unlock()
		time.Sleep(retryMost + time.Second)
		if !w.settled(sale) {
			t.Error("the outbox is not empty after Kafka came back")
		}
		w.balance(t, sale, 3)
	})
}
