package linetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"waitroom/internal/room"
)

// Marks tell which rooms move again: of nodes and of admitters.
type Marks interface {
	MarkBusy(context.Context, ...room.Name) error
	Busy(ctx context.Context, since string) (names []room.Name, next string, err error)
}

// Rooms is what a process follows all rooms by.
type Rooms interface {
	Rooms(context.Context) ([]room.Name, error)
	Deleted(context.Context, room.Name) (bool, error)
	Pulses(context.Context, []room.Name) ([]room.Pulse, []error)
	Shards(context.Context, []room.Name) [][]room.Name
	EventRevs(context.Context, []room.Name) (map[room.Name]room.EventRev, error)
	Event(context.Context, room.Name) (room.Event, error)
}

// RoomsStage is a room among all that there are.
type RoomsStage struct {
	Hands
	Line Rooms
}

type rooms struct {
	*RoomsStage
	t   *testing.T
	ctx context.Context
}

// Registry runs the part of the contract by which rooms are followed. on sets a stage
// with a room of that conf, calls play, and clears it.
func Registry(t *testing.T, on func(t *testing.T, conf room.Conf, play func(*testing.T, *RoomsStage))) {
	for _, story := range []struct {
		name string
		tell func(*rooms)
	}{
		{"which rooms there are", (*rooms).listed},
		{"a room that was lost", (*rooms).lost},
		{"pulses", (*rooms).pulses},
		{"shards", (*rooms).shards},
		{"events", (*rooms).events},
	} {
		t.Run(story.name, func(t *testing.T) {
			on(t, usual(), func(t *testing.T, s *RoomsStage) { story.tell(&rooms{s, t, background()}) })
		})
	}
}

func (r *rooms) there(what string, listed, deleted bool) {
	r.t.Helper()
	names, err := r.Line.Rooms(r.ctx)
	if err != nil || slices.Contains(names, r.Name) != listed {
		r.t.Errorf("%s: got rooms %v, %v, want it listed: %v", what, names, err, listed)
	}
	if got, err := r.Line.Deleted(r.ctx, r.Name); err != nil || got != deleted {
		r.t.Errorf("%s: deleted: got %v, %v, want %v", what, got, err, deleted)
	}
}

func (r *rooms) listed() {
	r.there("a new room", true, false)
	r.Delete()
	r.there("a deleted room", false, true)
	if got, err := r.Line.Deleted(r.ctx, stranger); err != nil || got {
		r.t.Errorf("a room of nobody: deleted: got %v, %v, want no tombstone", got, err)
	}
}

// lost: nothing but a tombstone ends a room.
func (r *rooms) lost() {
	r.Join(1)
	r.Lose()
	r.there("a lost room", false, false)
}

func (r *rooms) pulse() room.Pulse {
	r.t.Helper()
	pulses, errs := r.Line.Pulses(r.ctx, []room.Name{r.Name})
	if len(pulses) != 1 || len(errs) != 1 || errs[0] != nil {
		r.t.Fatalf("pulses: got %v, %v, want one", pulses, errs)
	}
	return pulses[0]
}

// pulses are equal while nothing happens, and of what happens none leaves them so.
func (r *rooms) pulses() {
	t := r.t
	var p []room.Place
	for _, act := range []struct {
		what string
		do   func()
	}{
		{"joins", func() { p = r.Join(5) }},
		{"admissions", func() { r.Admit(3) }},
		{"a claim", func() { r.Claim(p[0]) }},
		{"who leaves", func() { r.Leave(p[4]) }},
		{"who leaves with a turn", func() { r.Leave(p[1]) }},
		{"who is done", func() { r.Finish(p[0]) }},
		{"an act", func() { r.Set(room.Change{Actor: "ann", Notice: ptr("doors at eight")}) }},
		{"an event", func() { r.Set(room.Change{Actor: "ann", Event: room.EventChange{Title: ptr("Gala")}}) }},
		{"being sold out", func() { r.SoldOut() }},
	} {
		before := r.pulse()
		if again := r.pulse(); again != before {
			t.Errorf("before %s: got %+v, then %+v, want them equal", act.what, before, again)
		}
		act.do()
		if after := r.pulse(); after == before {
			t.Errorf("%s: the pulse is %+v as before", act.what, after)
		}
	}
	pulses, errs := r.Line.Pulses(r.ctx, []room.Name{stranger, r.Name})
	if len(pulses) != 2 || errs[0] != nil || errs[1] != nil || pulses[0] != (room.Pulse{}) || pulses[1] != r.pulse() {
		t.Errorf("with a room of nobody: got %+v, %v, want an empty one before ours", pulses, errs)
	}
}

func (r *rooms) shards() {
	names := []room.Name{"b", r.Name, "a", "c"}
	groups := r.Line.Shards(r.ctx, names)
	all := slices.Concat(groups...)
	slices.Sort(all)
	want := slices.Sorted(slices.Values(names))
	if !slices.Equal(all, want) {
		r.t.Errorf("got %v, want each of %v in one group", groups, names)
	}
	for _, group := range groups {
		if !slices.IsSortedFunc(group, func(a, b room.Name) int { return slices.Index(names, a) - slices.Index(names, b) }) {
			r.t.Errorf("got group %v, want the order of %v", group, names)
		}
	}
	if got := r.Line.Shards(r.ctx, nil); len(got) != 0 {
		r.t.Errorf("of no rooms: got %v, want no group", got)
	}
}

func (r *rooms) events() {
	t := r.t
	check := func(what string, rev int64, title string) {
		t.Helper()
		revs, err := r.Line.EventRevs(r.ctx, []room.Name{stranger, r.Name})
		got, has := revs[r.Name]
		if err != nil || !has || len(revs) != 1 || got.Rev != rev || got.Epoch != r.Conf.Epoch || got.CreatedMS == 0 {
			t.Errorf("%s: got %+v, %v, want rev %d of our room alone", what, revs, err, rev)
		}
		event, err := r.Line.Event(r.ctx, r.Name)
		if err != nil || event.Title != title || event.Rev != rev {
			t.Errorf("%s: got %+v, %v, want %q of rev %d", what, event, err, title, rev)
		}
	}
	check("nothing was set", 0, "")
	for i, title := range []string{"Gala", "Ball", "Ball"} {
		r.Set(room.Change{Actor: "ann", Event: room.EventChange{Title: &title}})
		check(fmt.Sprintf("set %d times", i+1), min(int64(i+1), 2), title)
	}
	_, err := r.Line.Event(r.ctx, stranger)
	want(t, "the event of a room of nobody", err, room.ErrUnknown)
}
