package linetest

import (
	"maps"
	"time"

	"waitroom/internal/room"
)

// settled is longer than a line asks its processes and holds anybody back, if nobody
// comes back meanwhile.
const settled = 40 * time.Second

// heard is as long as a line waits for marks where everybody whom it asks has answered.
const heard = 2500 * time.Millisecond

// above: a number that the line never gave is proof of a loss. Who shows it comes back
// to it, and so does everybody whose number lies between.
func (n *node) above() {
	t, p := n.t, n.join(3)
	lost := room.Place{Visitor: room.NewVisitorID(), Number: 20}
	stands, err := n.Line.Stands(n.ctx, n.Name, []room.Place{lost})
	must(t, "stands", err)
	same(t, "before it is shown", standings(stands), []room.Standing{room.Unseen})
	_, err = n.Line.Claim(n.ctx, n.Name, n.by(), lost)
	want(t, "a claim of it", err, room.ErrRecovering)
	stands, err = n.Line.Rejoin(n.ctx, n.Name, n.by(), []room.Place{p[0], lost})
	must(t, "rejoin", err)
	same(t, "as it comes back", standings(stands), []room.Standing{room.Waiting, room.Waiting})
	between := room.Place{Visitor: room.NewVisitorID(), Number: 12}
	stands, err = n.Line.Rejoin(n.ctx, n.Name, n.by(), []room.Place{between, p[1]})
	must(t, "rejoin", err)
	same(t, "as one between comes back", standings(stands), []room.Standing{room.Waiting, room.Waiting})
	n.line(1, 2, 3, 12, 20)
	n.Pass(heard)
	if next := n.join(1); next[0].Number != 21 {
		t.Errorf("got number %d, want 21", next[0].Number)
	}
}

// markAbove: the same by the mark of a process, which heard the number from the line.
func (n *node) markAbove() {
	t, p := n.t, n.join(3)
	before := n.snapshot().Life
	n.mark = 20
	last, _, err := n.Line.Report(n.ctx, n.Name, n.by())
	if err != nil || last != 20 {
		t.Errorf("report: got %d, %v, want 20", last, err)
	}
	life := n.snapshot().Life
	if life.ID == before.ID || life.Fences != before.Fences+1 || life.Lost != 17 || life.LostAt.IsZero() || !life.HoldUntil.After(n.Now()) {
		t.Errorf("got %+v after %+v, want another life that lost 17 numbers and holds who is behind", life, before)
	}
	n.line(1, 2, 3)
	if last, _, err = n.Line.Report(n.ctx, n.Name, n.by()); err != nil || last != 20 || n.snapshot().Life.ID != life.ID {
		t.Errorf("report again: got %d, %v, want 20 in the same life", last, err)
	}
	n.Pass(heard)
	next := n.join(1)
	if next[0].Number != 21 {
		t.Errorf("got number %d, want 21", next[0].Number)
	}
	lost := room.Place{Visitor: room.NewVisitorID(), Number: 9}
	n.stand("everybody", []room.Place{p[0], next[0]}, room.Waiting, room.Waiting)
	if stands, err := n.Line.Rejoin(n.ctx, n.Name, n.by(), []room.Place{lost}); err != nil || stands[0].Standing != room.Waiting {
		t.Errorf("who is between: got %v, %v, want it waiting", stands, err)
	}
	if got := n.snapshot().Life; got.Restored != 1 {
		t.Errorf("got %+v, want one who came back", got)
	}
	n.line(1, 2, 3, 9, 21)
	thief := room.Place{Visitor: room.NewVisitorID(), Number: 9}
	n.stand("somebody else with that number", []room.Place{thief}, room.Gone)
	left := room.Place{Visitor: room.NewVisitorID(), Number: 10}
	want(t, "who leaves instead", n.Line.Leave(n.ctx, n.Name, n.by(), left), nil)
	n.stand("who left instead", []room.Place{left}, room.Gone)
}

// asking: after a loss nobody gets a number until those who were alive were heard.
func (n *node) asking() {
	t := n.t
	p := n.join(3)
	other := room.Caller{Epoch: n.Conf.Epoch, Process: "other"}
	_, _, err := n.Line.Report(n.ctx, n.Name, other)
	must(t, "report", err)
	n.mark = 9
	last, asking, err := n.Line.Report(n.ctx, n.Name, n.by())
	if err != nil || last != 9 || !asking || !n.snapshot().Life.Asking {
		t.Errorf("the one who noticed: got %d, %v, %v, want others asked", last, asking, err)
	}
	n.batch++
	visitors := ids(2)
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
	want(t, "join meanwhile", err, room.ErrRecovering)
	n.stand("who comes back meanwhile", p, room.Waiting, room.Waiting, room.Waiting)
	other.Mark = 12
	if last, _, err = n.Line.Present(n.ctx, n.Name, other, 0, nil); err != nil || last != 12 {
		t.Errorf("the other: got %d, %v, want 12", last, err)
	}
	n.Pass(heard)
	if last, asking, err = n.Line.Report(n.ctx, n.Name, n.by()); err != nil || last != 12 || asking {
		t.Errorf("once all were heard: got %d, %v, %v, want nobody asked any more", last, asking, err)
	}
	joined, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
	if err != nil || joined.First != 13 || joined.Repeated {
		t.Errorf("the same batch then: got %+v, %v, want number 13", joined, err)
	}
	n.mark = 30
	_, _, err = n.Line.Report(n.ctx, n.Name, n.by())
	must(t, "report", err)
	n.batch++
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
	want(t, "join after a second loss", err, room.ErrRecovering)
	n.Pass(4 * time.Second) // the other is silent, and may have given numbers
	visitors = ids(1)
	joined, err = n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
	if err != nil || joined.First <= 31 {
		t.Errorf("without the other: got %+v, %v, want a number with room for those that it gave", joined, err)
	}
	between := room.Place{Visitor: room.NewVisitorID(), Number: 31}
	if stands, err := n.Line.Rejoin(n.ctx, n.Name, n.by(), []room.Place{between}); err != nil || stands[0].Standing != room.Waiting {
		t.Errorf("whom the other gave one: got %v, %v, want it waiting", stands, err)
	}
}

// recreated: a line that Redis lost whole comes back as its processes remember it.
func (n *node) recreated() {
	t, p := n.t, n.join(5)
	n.Admit(1)
	snap := n.snapshot()
	n.Lose()
	n.refused(n.Name, n.by(), p[0], room.ErrUnknown, room.ErrUnknown)
	must(t, "recreate", n.Line.Recreate(n.ctx, n.Name, n.by(), snap.Saved))
	now := n.snapshot()
	if now.Life.ID == snap.Life.ID || now.Conf.Epoch != snap.Conf.Epoch || now.Conf.Rate != snap.Conf.Rate || now.Conf.State != snap.Conf.State || now.Seq < n.mark || now.Waiting != 0 {
		t.Errorf("got %+v, want another life of the same room without a visitor, from %d on", now, n.mark)
	}
	stands, err := n.Line.Stands(n.ctx, n.Name, p)
	must(t, "stands", err)
	same(t, "before they come back", standings(stands), []room.Standing{room.Unseen, room.Unseen, room.Unseen, room.Unseen, room.Unseen})
	stands, err = n.Line.Rejoin(n.ctx, n.Name, n.by(), p[1:])
	must(t, "rejoin", err)
	same(t, "as they come back", standings(stands), []room.Standing{room.Waiting, room.Waiting, room.Waiting, room.Waiting})
	n.batch++
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), ids(1))
	want(t, "join while others may know more", err, room.ErrRecovering)
	// By another process as well, which changes nothing.
	other := room.Caller{Epoch: n.Conf.Epoch, Mark: 2, Process: "other"}
	must(t, "recreate by another", n.Line.Recreate(n.ctx, n.Name, other, snap.Saved))
	n.stand("still", p[1:3], room.Waiting, room.Waiting)
	n.Pass(settled)
	if next := n.join(1); next[0].Number <= 5 {
		t.Errorf("got number %d, which somebody has", next[0].Number)
	}
	foreigner := room.Saved{Conf: maps.Clone(snap.Saved.Conf), Life: snap.Saved.Life}
	foreigner.Conf["epoch"] = string(foreign)
	by := n.by()
	by.Epoch = foreign
	want(t, "recreate of another epoch", n.Line.Recreate(n.ctx, n.Name, by, foreigner), room.ErrEpoch)
}

// recreatedNewer: of two processes the one that read the later act of an operator counts,
// whichever comes first; of a line that is there, too.
func (n *node) recreatedNewer() {
	t := n.t
	n.join(1)
	open := n.snapshot().Saved
	n.Set(room.Change{Actor: "ann", State: ptr(room.Paused)})
	paused := n.snapshot().Saved
	n.Lose()
	for i, step := range []struct {
		saved room.Saved
		want  room.State
	}{{open, room.Open}, {paused, room.Paused}, {open, room.Paused}} {
		must(t, "recreate", n.Line.Recreate(n.ctx, n.Name, n.by(), step.saved))
		if got := n.snapshot().Conf; got.State != step.want {
			t.Errorf("step %d: got %s, want %s", i+1, got.State, step.want)
		}
	}
}

// ended: nobody brings back what an operator ended.
func (n *node) ended() {
	n.join(1)
	saved := n.snapshot().Saved
	n.Delete()
	want(n.t, "recreate", n.Line.Recreate(n.ctx, n.Name, n.by(), saved), room.ErrDeleted)
	_, err := n.Line.Snapshot(n.ctx, n.Name, 0)
	want(n.t, "snapshot", err, room.ErrUnknown)
}
