package admission

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

// node adds a node's sign, and a lane of it with the next joins of the room.
func (w *world) node(id string, name room.Name, joins int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signs = append(w.signs, room.Sign{ID: id, Role: room.RoleNode, At: time.Now()})
	l := w.lines[name]
	l.lanes = append(l.lanes, room.LaneState{Lane: room.Lane{Name: id + "-0", Batch: 3}, Epoch: l.epoch,
		First: l.seq + 1, Granted: joins, At: time.Now()})
	for range joins {
		l.seq++
		l.stats.Joined++
		l.queue = append(l.queue, l.seq)
	}
}

// sign has the named nodes sign each second until the test ends the context.
func (w *world) sign(ctx context.Context, ids ...string) {
	for sleep(ctx, time.Second) {
		w.mu.Lock()
		for i := range w.signs {
			if slices.Contains(ids, w.signs[i].ID) {
				w.signs[i].At = time.Now()
			}
		}
		w.mu.Unlock()
	}
}

func (w *world) givenBack() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.given)
}

// The last batch of a node that died is out of the line before its turn; those of the
// living and of the stopped are left alone, and nothing is asked while all live.
func TestReaper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale, "other")
		w.lines[sale].rate = 10
		w.join(sale, 250) // 25 s in front
		w.node("dead", sale, 75)
		w.node("alive", sale, 40)
		w.node("stopped", sale, 40)
		w.signs[2].Stopped = true
		ctx, end := context.WithCancel(t.Context())
		defer end()
		go w.sign(ctx, "alive", "dead")
		_, logs, stop := serve(t, Config{}, w, w)
		time.Sleep(9*time.Second + 500*time.Millisecond)
		if got := w.calls()["lanes"]; got != 0 {
			t.Errorf("got %d reads of lanes while all live, want none", got)
		}
		end()
		go w.sign(t.Context(), "alive") // "dead" is, from now on
		time.Sleep(deadAfter - time.Second)
		if got := w.givenBack(); len(got) != 0 {
			t.Errorf("got %v given back before the node was dead", got)
		}
		time.Sleep(reapEvery + 2*time.Second)
		if got := w.givenBack(); !slices.Equal(got, []string{"dead-0"}) {
			t.Errorf("got %v given back, want the dead node's lane, once", got)
		}
		time.Sleep(time.Minute)
		if got := w.givenBack(); len(got) != 1 {
			t.Errorf("got %v given back, want it once", got)
		}
		wantSaid(t, logs, "a node died", 1)
		stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, n := range w.lines[sale].admitted {
			if n > 250 && n <= 325 {
				t.Fatalf("number %d of the dead node was admitted", n)
			}
		}
		if got := len(w.lines[sale].admitted); got != 330 {
			t.Errorf("got %d admitted, want the 330 others", got)
		}
	})
}

// A lane whose turn is far is left alone for a minute: those who were told come back
// meanwhile, and nobody waits for the others.
func TestReaperWaitsWhileTheTurnIsFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.lines[sale].rate = 1
		w.join(sale, 1000)
		w.node("dead", sale, 75)
		serve(t, Config{}, w, w)
		time.Sleep(returning - time.Second)
		if got := w.givenBack(); len(got) != 0 {
			t.Errorf("got %v given back within a minute, with 1,000 s to go", got)
		}
		time.Sleep(reapEvery + time.Second)
		if got := w.givenBack(); len(got) != 1 {
			t.Errorf("got %v given back after a minute, want the lane", got)
		}
	})
}

// After an outage every sign is old: nobody is called dead before this process heard
// from the line for as long as the dead must be silent.
func TestReaperAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.join(sale, 100)
		w.let(sale, room.Paused, time.Time{})
		w.node("slow", sale, 75)
		away := &unsigned{world: w}
		serve(t, Config{}, away, away)
		ctx, end := context.WithCancel(t.Context())
		go w.sign(ctx, "slow")
		time.Sleep(20 * time.Second)
		end()
		away.set(true)
		time.Sleep(5 * time.Minute)
		away.set(false)
		time.Sleep(8 * time.Second) // the node is slower than others to come back
		go w.sign(t.Context(), "slow")
		time.Sleep(5 * time.Minute)
		if got := w.givenBack(); len(got) != 0 {
			t.Errorf("got %v given back of a node that lives", got)
		}
	})
}

// unsigned is a world whose signs can't be read now and then.
type unsigned struct {
	*world
	away bool // guarded by the world's mu
}

func (u *unsigned) set(away bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.away = away
}

func (u *unsigned) Signs(ctx context.Context) (time.Time, []room.Sign, error) {
	u.mu.Lock()
	away := u.away
	u.mu.Unlock()
	if away {
		return time.Time{}, nil, errLost
	}
	return u.world.Signs(ctx)
}

// Two admitters reap at once, and nothing is lost by it.
func TestTwoReapers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.lines[sale].rate = 10
		w.join(sale, 200)
		w.node("dead", sale, 75)
		for range 2 {
			c := &client{world: w, at: func(string, int) fault { return none }}
			_, _, stop := serve(t, Config{}, c, c)
			defer stop()
		}
		time.Sleep(2 * time.Minute)
		if got := w.letIn(sale); got != 200 {
			t.Errorf("got %d admitted, want the 200 in front of the dead", got)
		}
	})
}
