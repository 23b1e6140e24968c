package admission

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

// slow is a line whose lanes take their time to be read.
type slow struct {
	*world
	each time.Duration
}

func (s slow) Lanes(ctx context.Context, name room.Name) ([]room.LaneState, error) {
	if !sleep(ctx, s.each) {
		return nil, errLost
	}
	return s.world.Lanes(ctx, name)
}

// As many rooms as there may be are looked through for what a dead node left, over
// several looks where one is too short.
func TestADeadNodesLanesInManyRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(many()...)
		first := many()[0]
		w.lines[first].rate = 10
		w.join(first, 250)
		w.node("dead", first, 75)
		_, logs, stop := serve(t, Config{}, slow{w, 6 * time.Millisecond}, w)
		time.Sleep(time.Minute)
		if got := w.givenBack(); len(got) != 1 {
			t.Errorf("got %v given back a minute after the node died, want its lane", got)
		}
		if got, most := w.calls()["lanes"], len(many())+10; got > most {
			t.Errorf("got %d reads of lanes, want %d at most: a room is read once", got, most)
		}
		wantSaid(t, logs, "a node died", 1)
		stop()
	})
}

// partial is a line of which some rooms can't be reached, or hang.
type partial struct {
	*world
	away func(room.Name) bool
	hang bool

	mu    sync.Mutex
	looks map[room.Name]int // for who is absent; guarded by mu
}

func (p *partial) refuse(ctx context.Context, name room.Name) error {
	switch {
	case !p.away(name):
		return nil
	case p.hang:
		<-ctx.Done()
	}
	return errLost
}

func (p *partial) Shards(_ context.Context, names []room.Name) [][]room.Name {
	shards := make([][]room.Name, 2)
	for _, name := range names {
		i := 0
		if !p.away(name) {
			i = 1
		}
		shards[i] = append(shards[i], name)
	}
	return shards
}

func (p *partial) Lanes(ctx context.Context, name room.Name) ([]room.LaneState, error) {
	if err := p.refuse(ctx, name); err != nil {
		return nil, err
	}
	return p.world.Lanes(ctx, name)
}

func (p *partial) Away(ctx context.Context, name room.Name, limit int) ([]room.Number, error) {
	p.mu.Lock()
	p.looks[name]++
	p.mu.Unlock()
	if err := p.refuse(ctx, name); err != nil {
		return nil, err
	}
	return p.world.Away(ctx, name, limit)
}

// third says that a room is one of those on the master that is down.
func third(name room.Name) bool { return name[len(name)-1]%3 == 0 }

// One master that is down keeps the reaper from its own rooms only: in the others dead
// nodes' joins and absent visitors leave, though a call of the dead one may hang.
func TestReaperBesideAMasterThatIsDown(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			names := many()[:60]
			w := newWorld(names...)
			w.signs = []room.Sign{{ID: "alive", Role: room.RoleNode, At: time.Now()}}
			for _, name := range names {
				w.lines[name].state, w.lines[name].absent = room.Paused, map[room.Number]bool{1: true}
				w.join(name, 2)
			}
			well := names[1]
			if third(well) {
				well = names[2]
			}
			w.node("dead", well, 5)
			ctx, end := context.WithCancel(t.Context())
			defer end()
			go w.sign(ctx, "alive")
			p := &partial{world: w, away: third, hang: hang, looks: map[room.Name]int{}}
			_, logs, stop := serve(t, Config{}, p, w)
			time.Sleep(90 * time.Second)
			if got := w.givenBack(); len(got) != 1 {
				t.Errorf("hang %t: got %v given back, want the dead node's lane", hang, got)
			}
			time.Sleep(room.DefaultGrace + 5*time.Minute)
			left := 0
			w.mu.Lock()
			for _, name := range names {
				if !third(name) && len(w.lines[name].queue) > 1 && name != well {
					left++
				}
			}
			w.mu.Unlock()
			if left > 0 {
				t.Errorf("hang %t: got %d well rooms in which somebody waits whom nobody sees", hang, left)
			}
			for _, what := range []string{"what dead nodes have left in the line can't be looked for, trying again",
				"visitors whom nobody sees can't be looked for in every room, trying again"} {
				if n := logs.FilterMessage(what).Len(); n == 0 {
					t.Errorf("hang %t: got no line %q", hang, what)
				}
			}
			p.mu.Lock()
			for name, n := range p.looks {
				if most := 8*60/15 + 2; n > most && !third(name) {
					t.Errorf("hang %t: room %s was asked %d times who is away, want %d at most: once a span", hang, name, n, most)
				}
			}
			p.mu.Unlock()
			stop()
		})
	}
}

// What is found is not lost by a look that ends early.
func TestALookGoesOnWhereItEnded(t *testing.T) {
	w := newWorld("a", "b", "c")
	w.node("dead", "c", 5)
	reads := map[room.Name]int{}
	c := &counted{world: w, reads: reads}
	r := newReaper(c, func() []*worker { return []*worker{{name: "a"}, {name: "b"}, {name: "c"}} }, "p", nil, zap.NewNop())
	d := &dead{since: time.Now()}
	if err := r.find(t.Context(), "dead", d); err == nil || d.found {
		t.Errorf("got %v, found %t, want the error of one room", err, d.found)
	}
	if len(d.lanes) != 1 {
		t.Errorf("got %d lanes, want those of the rooms that answered", len(d.lanes))
	}
	c.well = true
	if err := r.find(t.Context(), "dead", d); err != nil || !d.found || len(d.lanes) != 1 {
		t.Errorf("got %v, found %t, %d lanes, want it complete", err, d.found, len(d.lanes))
	}
	if reads["a"] != 1 || reads["b"] != 2 || reads["c"] != 1 {
		t.Errorf("got reads %v, want only the bad room read again", reads)
	}
}

type counted struct {
	*world
	reads map[room.Name]int
	well  bool
}

func (c *counted) Lanes(ctx context.Context, name room.Name) ([]room.LaneState, error) {
	c.reads[name]++
	if name == "b" && !c.well {
		return nil, errAny
	}
	return c.world.Lanes(ctx, name)
}
