package linetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"waitroom/internal/room"
)

// Node is what a node asks of the line. It is hub.Line, as a test of the hub holds.
type Node interface {
	Join(context.Context, room.Name, room.Caller, room.Lane, []room.VisitorID) (room.Joined, error)
	Rejoin(context.Context, room.Name, room.Caller, []room.Place) ([]room.Stand, error)
	Claim(context.Context, room.Name, room.Caller, room.Place) (room.Stand, error)
	Leave(context.Context, room.Name, room.Caller, room.Place) error
	Report(context.Context, room.Name, room.Caller) (last room.Number, asking bool, err error)
	Recreate(context.Context, room.Name, room.Caller, room.Saved) error
	Present(_ context.Context, _ room.Name, _ room.Caller, from int64, bits []byte) (last room.Number, asking bool, err error)
	GiveBack(_ context.Context, _ room.Name, _ room.Caller, _ room.Lane, told bool) (given int, err error)
	Snapshot(ctx context.Context, name room.Name, from int64) (room.Snapshot, error)
	Turn(ctx context.Context, name room.Name, from int64) (room.Turn, error)
	Stands(context.Context, room.Name, []room.Place) ([]room.Stand, error)
	Marks
}

// NodeStage is a room as a node meets it.
type NodeStage struct {
	Hands
	Line Node
	// Reap takes somebody out whom nobody saw for the room's grace.
	Reap func(room.Place)
}

// node is a node on its stage. Its process is "node": whoever counts callers without a
// name finds none.
type node struct {
	*NodeStage
	t     *testing.T
	ctx   context.Context
	mark  room.Number
	batch int64
}

// Nodes runs the node's part of the contract. on sets a stage with a room of that conf,
// calls play, and clears it.
func Nodes(t *testing.T, on func(t *testing.T, conf room.Conf, play func(*testing.T, *NodeStage))) {
	for _, story := range []struct {
		name string
		conf func(*room.Conf) // nil: usual
		tell func(*node)
	}{
		{"numbers in the order of a batch", nil, (*node).numbers},
		{"the same batch again", nil, (*node).again},
		{"a visitor who is in line", nil, (*node).known},
		{"a full room", func(c *room.Conf) { c.MaxWaiting = 5 }, (*node).full},
		{"a closed room", nil, (*node).closed},
		{"a room that is sold out", nil, (*node).soldOut},
		{"a room not open yet", func(c *room.Conf) { c.State = room.Opening }, (*node).opening},
		{"standings", nil, (*node).standings},
		{"claims", nil, (*node).claims},
		{"leaving", nil, (*node).leaving},
		{"somebody nobody saw", nil, (*node).reaped},
		{"reads", nil, (*node).reads},
		{"another epoch", nil, (*node).epochs},
		{"no such room", nil, (*node).nowhere},
		{"a batch that nobody heard of", nil, (*node).unheard},
		{"a batch that somebody heard of", nil, (*node).heard},
		{"presence tells the mark", nil, (*node).present},
		{"a place above the line", nil, (*node).above},
		{"a mark above the line", nil, (*node).markAbove},
		{"others are asked for their marks", nil, (*node).asking},
		{"a line brought back", nil, (*node).recreated},
		{"a line brought back by who knows more", nil, (*node).recreatedNewer},
		{"a line that was ended", nil, (*node).ended},
		{"a line that is not listed", nil, (*node).unlisted},
		{"marks of busy rooms", nil, func(n *node) { marks(n.t, n.Line, n.Name) }},
	} {
		t.Run(story.name, func(t *testing.T) {
			conf := usual()
			if story.conf != nil {
				story.conf(&conf)
			}
			on(t, conf, func(t *testing.T, s *NodeStage) {
				story.tell(&node{NodeStage: s, t: t, ctx: background()})
			})
		})
	}
}

func (n *node) by() room.Caller {
	return room.Caller{Epoch: n.Conf.Epoch, Mark: n.mark, Process: "node"}
}

func (n *node) lane() room.Lane { return room.Lane{Name: "node-0", Batch: n.batch} }

// join takes the next batch of the node's lane, and raises its mark by the answer.
func (n *node) join(count int) []room.Place {
	n.t.Helper()
	n.batch++
	visitors := ids(count)
	joined, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
	if err != nil || joined.Granted != count || joined.Repeated {
		n.t.Fatalf("join of %d: got %+v, %v", count, joined, err)
	}
	n.mark = max(n.mark, joined.Mark())
	places := make([]room.Place, count)
	for i := range places {
		places[i] = room.Place{Visitor: visitors[i], Number: joined.Number(i)}
	}
	return places
}

// stand asks twice, by the act and by the look, which answer the same.
func (n *node) stand(what string, places []room.Place, want ...room.Standing) {
	n.t.Helper()
	looked, err1 := n.Line.Stands(n.ctx, n.Name, places)
	acted, err2 := n.Line.Rejoin(n.ctx, n.Name, n.by(), places)
	must(n.t, what, errors.Join(err1, err2))
	same(n.t, what+", by Stands", standings(looked), want)
	same(n.t, what+", by Rejoin", standings(acted), want)
}

func (n *node) snapshot() room.Snapshot {
	n.t.Helper()
	snap, err := n.Line.Snapshot(n.ctx, n.Name, 0)
	must(n.t, "snapshot", err)
	return snap
}

func (n *node) numbers() {
	t := n.t
	for i, want := range []room.Joined{{First: 1, Granted: 3, WasEmpty: true}, {First: 4, Granted: 2}} {
		n.batch++
		got, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), ids(want.Granted))
		if err != nil || got.First != want.First || got.Granted != want.Granted || got.WasEmpty != want.WasEmpty || got.Known != nil || got.Repeated {
			t.Errorf("batch %d: got %+v, %v, want %+v", i+1, got, err, want)
		}
	}
	other, err := n.Line.Join(n.ctx, n.Name, n.by(), room.Lane{Name: "node-1", Batch: 1}, ids(1))
	if err != nil || other.First != 6 || other.Repeated {
		t.Errorf("the first batch of another lane: got %+v, %v, want number 6", other, err)
	}
	n.Admit(6)
	if last := n.join(1); last[0].Number != 7 {
		t.Errorf("once all are let in: got number %d, want 7", last[0].Number)
	}
	n.batch++
	if got, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), ids(1)); err != nil || got.WasEmpty {
		t.Errorf("behind somebody: got %+v, %v, want a line that was not empty", got, err)
	}
}

func (n *node) again() {
	t, visitors := n.t, ids(3)
	lane := room.Lane{Name: "node-0", Batch: 7}
	first, err := n.Line.Join(n.ctx, n.Name, n.by(), lane, visitors)
	must(t, "join", err)
	n.Join(2)
	n.Admit(1)
	for range 2 {
		got, err := n.Line.Join(n.ctx, n.Name, n.by(), lane, visitors)
		if err != nil || got.First != first.First || got.Granted != 3 || !got.Repeated || got.WasEmpty {
			t.Errorf("again: got %+v, %v, want as before %+v, and that it is a repeat", got, err, first)
		}
	}
	lane.Batch = 6
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), lane, ids(1))
	want(t, "an older batch", err, room.ErrStaleBatch)
	if snap := n.snapshot(); snap.Seq != 5 || snap.Waiting != 4 {
		t.Errorf("got seq %d, %d waiting, want 5 and 4: a repeat gives nothing", snap.Seq, snap.Waiting)
	}
	// Where it was refused there is nothing to repeat.
	n.Set(room.Change{Actor: "ann", State: ptr(room.Closed)})
	got, err := n.Line.Join(n.ctx, n.Name, n.by(), room.Lane{Name: "node-0", Batch: 7}, visitors)
	if err != nil || !got.Repeated || got.First != first.First {
		t.Errorf("again in a closed room: got %+v, %v, want %+v", got, err, first)
	}
	lane.Batch = 8
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), lane, visitors)
	want(t, "a batch of a closed room", err, room.ErrClosed)
	n.Set(room.Change{Actor: "ann", State: ptr(room.Open)})
	if got, err = n.Line.Join(n.ctx, n.Name, n.by(), lane, ids(1)); err != nil || got.Repeated || got.First != 6 {
		t.Errorf("the refused batch, once the room is open: got %+v, %v, want number 6", got, err)
	}
}

func (n *node) known() {
	t, first := n.t, n.join(3)
	visitors := ids(3)
	visitors[1] = first[2].Visitor
	n.batch++
	for try := range 2 {
		got, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
		if err != nil || got.Granted != 3 || got.Number(0) != 4 || got.Number(1) != 3 || got.Number(2) != 6 || got.Mark() != 6 || got.Repeated != (try == 1) {
			t.Fatalf("try %d: got %+v, %v, want numbers 4, 3, 6", try, got, err)
		}
	}
	n.stand("the number kept, and the one it got", []room.Place{first[2], {Visitor: visitors[1], Number: 5}}, room.Waiting, room.Gone)
	if snap := n.snapshot(); snap.Seq != 6 || snap.Waiting != 5 {
		t.Errorf("got seq %d, %d waiting, want 6 and 5", snap.Seq, snap.Waiting)
	}
	n.line(1, 2, 3, 4, 6)
}

func (n *node) full() {
	t := n.t
	n.join(3)
	n.batch++
	visitors := ids(4)
	for try := range 2 {
		got, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
		if err != nil || got.First != 4 || got.Granted != 2 || got.Repeated != (try == 1) {
			t.Errorf("try %d: got %+v, %v, want room for two of four", try, got, err)
		}
	}
	n.batch++
	if got, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), ids(1)); err != nil || got.Granted != 0 {
		t.Errorf("behind them: got %+v, %v, want room for nobody", got, err)
	}
	n.Admit(1)
	if got := n.join(1); got[0].Number != 6 {
		t.Errorf("once somebody was let in: got number %d, want 6", got[0].Number)
	}
}

func (n *node) closed() {
	t, places := n.t, n.join(2)
	n.Admit(1)
	n.Set(room.Change{Actor: "ann", State: ptr(room.Closed)})
	_, err := n.Line.Join(n.ctx, n.Name, n.by(), room.Lane{Name: "node-1", Batch: 1}, ids(1))
	want(t, "join", err, room.ErrClosed)
	if got, err := n.Line.Claim(n.ctx, n.Name, n.by(), places[0]); err != nil || got.Standing != room.Active {
		t.Errorf("a claim of who was let in before: got %+v, %v", got, err)
	}
	n.stand("who waits", places[1:], room.Waiting)
	want(t, "leave", n.Line.Leave(n.ctx, n.Name, n.by(), places[1]), nil)
	if snap := n.snapshot(); snap.Conf.State != room.Closed {
		t.Errorf("got %s, want closed", snap.Conf.State)
	}
}

func (n *node) soldOut() {
	t, places := n.t, n.join(3)
	n.Admit(2)
	_, err := n.Line.Claim(n.ctx, n.Name, n.by(), places[0])
	must(t, "claim", err)
	n.SoldOut()
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), room.Lane{Name: "node-1", Batch: 1}, ids(1))
	want(t, "join", err, room.ErrSoldOut)
	_, err = n.Line.Claim(n.ctx, n.Name, n.by(), places[1])
	want(t, "a claim", err, room.ErrSoldOut)
	if got, err := n.Line.Claim(n.ctx, n.Name, n.by(), places[0]); err != nil || got.Standing != room.Active {
		t.Errorf("a claim again: got %+v, %v, want the pass that there is", got, err)
	}
	if got, err := n.Line.Claim(n.ctx, n.Name, n.by(), places[2]); err != nil || got.Standing != room.Waiting {
		t.Errorf("a claim of who waits: got %+v, %v, want waiting", got, err)
	}
	n.stand("all of them", places, room.Active, room.Unclaimed, room.Waiting)
	if snap := n.snapshot(); !snap.Conf.SoldOut {
		t.Errorf("got %+v, want it sold out", snap.Conf)
	}
	n.Set(room.Change{Actor: "ann", State: ptr(room.Closed)})
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), room.Lane{Name: "node-1", Batch: 1}, ids(1))
	want(t, "join of a closed room that is sold out", err, room.ErrClosed)
}

func (n *node) opening() {
	n.join(2)
	if snap := n.snapshot(); snap.Conf.State != room.Opening || snap.Waiting != 2 || !snap.Conf.OpensAt.IsZero() {
		n.t.Errorf("got %+v, want two who wait for the opening", snap)
	}
}

// standings is where everybody stands whom a node may ask for.
func (n *node) standings() {
	t, p := n.t, n.join(6)
	n.Admit(4)
	n.Claim(p[1])
	n.Claim(p[2])
	n.Finish(p[2])
	n.Leave(p[3])
	n.Leave(p[5])
	n.stand("in order", p, room.Unclaimed, room.Active, room.Gone, room.Gone, room.Waiting, room.Gone)
	n.stand("in another order", []room.Place{p[4], p[0], p[4]}, room.Waiting, room.Unclaimed, room.Waiting)
	n.stand("somebody else's number", []room.Place{{Visitor: room.NewVisitorID(), Number: p[4].Number}}, room.Gone)
	n.stand("somebody else's number of one who waits", []room.Place{{Visitor: p[4].Visitor, Number: p[0].Number}}, room.Gone)
	n.stand("nobody", nil)
	stands, err := n.Line.Stands(n.ctx, n.Name, p)
	must(t, "stands", err)
	for i, left := range map[int]time.Duration{0: n.Conf.Claim, 1: n.Conf.Pass, 4: 0} {
		s := stands[i]
		if left == 0 && (s.Left != 0 || !s.Deadline.IsZero()) || left > 0 && (!near(s.Left, left) || !near(s.Deadline.Sub(n.Now()), left)) {
			t.Errorf("place %d: got %+v, want %v left", i+1, s, left)
		}
	}
	n.Pass(n.Conf.Claim + time.Second)
	n.stand("after the time to claim", p[:2], room.Gone, room.Active)
	n.Pass(n.Conf.Pass)
	n.stand("after the pass", p[:2], room.Gone, room.Gone)
}

func (n *node) claims() {
	t, p := n.t, n.join(4)
	claim := func(p room.Place) (room.Stand, error) { return n.Line.Claim(n.ctx, n.Name, n.by(), p) }
	if got, err := claim(p[0]); err != nil || got.Standing != room.Waiting {
		t.Errorf("before its turn: got %+v, %v, want waiting and no error", got, err)
	}
	n.Admit(2)
	n.Pass(n.Conf.Claim - time.Second)
	first, err := claim(p[0])
	if err != nil || first.Standing != room.Active || !near(first.Left, n.Conf.Pass) || !near(first.Deadline.Sub(n.Now()), n.Conf.Pass) {
		t.Errorf("in time: got %+v, %v, want a pass of %v", first, err, n.Conf.Pass)
	}
	n.Pass(2 * time.Second)
	if again, err := claim(p[0]); err != nil || again.Standing != room.Active || !again.Deadline.Equal(first.Deadline) {
		t.Errorf("again: got %+v, %v, want the same deadline as %+v", again, err, first)
	}
	late, err := claim(p[1])
	if want(t, "late", err, room.ErrSpent); late.Standing != room.Gone {
		t.Errorf("late: got %+v, want it gone", late)
	}
	n.Pass(n.Conf.Pass)
	_, err = claim(p[0])
	want(t, "after the pass", err, room.ErrSpent)
	n.Leave(p[2])
	_, err = claim(p[2])
	want(t, "after leaving", err, room.ErrSpent)
	_, err = claim(room.Place{Visitor: room.NewVisitorID(), Number: p[3].Number})
	want(t, "of a stranger", err, room.ErrSpent)
}

func (n *node) leaving() {
	t, p := n.t, n.join(4)
	n.Admit(2)
	n.Claim(p[1])
	for i, wanted := range []error{nil, room.ErrActive, nil} {
		want(t, "leave", n.Line.Leave(n.ctx, n.Name, n.by(), p[i]), wanted)
		if wanted == nil {
			wanted = room.ErrSpent
		}
		want(t, "leave again", n.Line.Leave(n.ctx, n.Name, n.by(), p[i]), wanted)
	}
	n.stand("afterwards", p, room.Gone, room.Active, room.Gone, room.Waiting)
	want(t, "a stranger", n.Line.Leave(n.ctx, n.Name, n.by(), room.Place{Visitor: room.NewVisitorID(), Number: p[3].Number}), room.ErrSpent)
	n.line(4)
}

func (n *node) reaped() {
	t, p := n.t, n.join(4)
	n.Reap(p[1])
	n.stand("afterwards", p, room.Waiting, room.Away, room.Waiting, room.Waiting)
	got, err := n.Line.Claim(n.ctx, n.Name, n.by(), p[1])
	if want(t, "claim", err, room.ErrSpent); got.Standing != room.Away {
		t.Errorf("claim: got %+v, want to hear that it is away", got)
	}
	want(t, "leave", n.Line.Leave(n.ctx, n.Name, n.by(), p[1]), room.ErrSpent)
	n.stand("a stranger with its number", []room.Place{{Visitor: room.NewVisitorID(), Number: p[1].Number}}, room.Away)
	n.line(1, 3, 4)
}
