package linetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"waitroom/internal/room"
)

// line holds that those numbers wait, as both reads tell it, and nobody else.
func (n *node) line(want ...room.Number) {
	n.t.Helper()
	snap := n.snapshot()
	var waiting []room.Number
	for at := room.Number(1); at <= snap.Seq; at++ {
		if !bit(n.t, snap.Gone, snap.GoneFrom, at) {
			waiting = append(waiting, at)
		}
	}
	if fmt.Sprint(waiting) != fmt.Sprint(want) || snap.Waiting != int64(len(want)) {
		n.t.Errorf("snapshot: got %v, %d waiting, want %v", waiting, snap.Waiting, want)
	}
	head := snap.Seq + 1
	if len(want) > 0 {
		head = want[0]
	}
	turn, err := n.Line.Turn(n.ctx, n.Name, int64(head)>>3)
	if err != nil || turn.Seq != snap.Seq || turn.Head != head || snap.Head != head || turn.GoneFrom != int64(head)>>3 {
		n.t.Fatalf("turn: got %+v, %v, want head %d of %d; the snapshot has %d", turn, err, head, snap.Seq, snap.Head)
	}
	for at := head; at <= snap.Seq; at++ {
		if bit(n.t, turn.Gone, turn.GoneFrom, at) == slices.Contains(want, at) {
			n.t.Errorf("turn: number %d is gone: got %v", at, !slices.Contains(want, at))
		}
	}
}

// bit reads one number of a window: before it all are gone, behind it none.
func bit(t *testing.T, window []byte, from int64, n room.Number) bool {
	t.Helper()
	at := int64(n)>>3 - from
	switch {
	case at < 0:
		return true
	case at >= int64(len(window)):
		return false
	}
	return window[at]&(0x80>>(n&7)) != 0
}

// reads follow what happens: head, counts and bitmap are of one moment.
func (n *node) reads() {
	t := n.t
	n.line()
	if snap := n.snapshot(); snap.Seq != 0 || snap.Head != 1 || snap.Conf.Epoch != n.Conf.Epoch || snap.Conf.Rate != n.Conf.Rate ||
		snap.Conf.Claim != n.Conf.Claim || snap.Saved.Epoch() != n.Conf.Epoch || !near(n.Now().Sub(snap.Now), 0) {
		t.Errorf("an empty room: got %+v", snap)
	}
	p := n.join(40)
	n.Leave(p[20])
	n.Admit(18)
	var left []room.Number
	for _, at := range numbersOf(p[18:]) {
		if at != 21 {
			left = append(left, at)
		}
	}
	n.line(left...)
	snap := n.snapshot()
	if snap.Admitted != 18 || snap.Head != 19 || snap.Seq != 40 || snap.Waiting != 21 {
		t.Errorf("got %+v, want 18 let in, 21 waiting from 19 to 40", snap)
	}
	// A window begins where the caller says, and at the head where that is before it.
	for from, begins := range map[int64]int64{0: 0, 1: 1, 2: 2} {
		got, err := n.Line.Snapshot(n.ctx, n.Name, from)
		if err != nil || got.GoneFrom != begins || !bit(t, got.Gone, got.GoneFrom, 21) || bit(t, got.Gone, got.GoneFrom, 22) {
			t.Errorf("from byte %d: got a window from %d, %v", from, got.GoneFrom, err)
		}
	}
	got, err := n.Line.Snapshot(n.ctx, n.Name, 5)
	if err != nil || got.GoneFrom > 2 || bit(t, got.Gone, got.GoneFrom, 19) {
		t.Errorf("from behind the head: got a window from %d, %v, want one with number 19 in line", got.GoneFrom, err)
	}
	for _, from := range []int64{0, 2, 5} {
		turn, err := n.Line.Turn(n.ctx, n.Name, from)
		if err != nil || turn.Head != 19 || turn.GoneFrom != 2 || bit(t, turn.Gone, turn.GoneFrom, 20) || !bit(t, turn.Gone, turn.GoneFrom, 18) {
			t.Errorf("turn from byte %d: got %+v, %v, want the head's byte", from, turn, err)
		}
	}
	rev := snap.Conf.Rev
	n.Set(room.Change{Actor: "ann", Notice: ptr("doors at eight")})
	if got := n.snapshot().Conf; got.Notice != "doors at eight" || got.Rev <= rev {
		t.Errorf("after an act: got %+v, want its notice and a rev above %d", got, rev)
	}
	n.Admit(21)
	n.line()
}

// calls makes every call of a node about a room, and holds that each is refused so.
func (n *node) refused(name room.Name, by room.Caller, p room.Place, why error, look error) {
	t := n.t
	_, err := n.Line.Join(n.ctx, name, by, room.Lane{Name: "node-9", Batch: 1}, ids(2))
	want(t, "join", err, why)
	_, err = n.Line.Rejoin(n.ctx, name, by, []room.Place{p})
	want(t, "rejoin", err, why)
	_, err = n.Line.Claim(n.ctx, name, by, p)
	want(t, "claim", err, why)
	want(t, "leave", n.Line.Leave(n.ctx, name, by, p), why)
	_, _, err = n.Line.Report(n.ctx, name, by)
	want(t, "report", err, why)
	_, _, err = n.Line.Present(n.ctx, name, by, 0, []byte{0x40})
	want(t, "present", err, why)
	_, err = n.Line.GiveBack(n.ctx, name, by, room.Lane{Name: "node-0", Batch: 1}, false)
	want(t, "give back", err, why)
	if look == nil {
		return
	}
	_, err1 := n.Line.Snapshot(n.ctx, name, 0)
	_, err2 := n.Line.Turn(n.ctx, name, 0)
	_, err3 := n.Line.Stands(n.ctx, name, []room.Place{p})
	for i, err := range []error{err1, err2, err3} {
		want(t, []string{"snapshot", "turn", "stands"}[i], err, look)
	}
}

// epochs: a caller of another epoch changes nothing, whatever mark it shows.
func (n *node) epochs() {
	p := n.join(3)
	n.refused(n.Name, room.Caller{Epoch: foreign, Mark: 900, Process: "node"}, p[1], room.ErrEpoch, nil)
	n.stand("afterwards", p, room.Waiting, room.Waiting, room.Waiting)
	n.line(1, 2, 3)
}

func (n *node) nowhere() {
	p := room.Place{Visitor: room.NewVisitorID(), Number: 1}
	n.refused(stranger, n.by(), p, room.ErrUnknown, room.ErrUnknown)
	p = n.join(1)[0]
	n.Delete()
	n.refused(n.Name, n.by(), p, room.ErrUnknown, room.ErrUnknown)
}

// unlisted: the list of rooms is not the line.
func (n *node) unlisted() {
	p := n.join(2)
	n.Unlist()
	n.stand("a line that nobody lists", p, room.Waiting, room.Waiting)
	n.join(1)
	n.line(1, 2, 3)
}

func (n *node) unheard() {
	t := n.t
	n.join(2)
	n.batch++
	visitors := ids(3)
	lost, err := n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
	must(t, "join", err)
	n.Admit(3) // one of the batch is let in
	given, err := n.Line.GiveBack(n.ctx, n.Name, n.by(), n.lane(), false)
	if err != nil || given != 2 {
		t.Errorf("got %d, %v, want the two who wait", given, err)
	}
	for range 2 {
		_, err = n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), visitors)
		want(t, "the batch, should it come after all", err, room.ErrStaleBatch)
	}
	given, err = n.Line.GiveBack(n.ctx, n.Name, n.by(), n.lane(), false)
	if err != nil || given != 0 {
		t.Errorf("again: got %d, %v, want nobody", given, err)
	}
	places := make([]room.Place, 3)
	for i := range places {
		places[i] = room.Place{Visitor: visitors[i], Number: lost.Number(i)}
	}
	n.stand("its visitors", places, room.Unclaimed, room.Gone, room.Gone)
	if next := n.join(1); next[0].Number != 6 {
		t.Errorf("the next batch: got number %d, want 6", next[0].Number)
	}
	// A batch that the line never saw is refused when it comes; a lane that has gone on
	// is left alone.
	n.batch++
	given, err = n.Line.GiveBack(n.ctx, n.Name, n.by(), n.lane(), false)
	if err != nil || given != 0 {
		t.Errorf("a batch that is under way: got %d, %v, want nobody", given, err)
	}
	_, err = n.Line.Join(n.ctx, n.Name, n.by(), n.lane(), ids(1))
	want(t, "that batch", err, room.ErrStaleBatch)
	kept := n.join(2)
	older := n.lane()
	older.Batch--
	if given, err = n.Line.GiveBack(n.ctx, n.Name, n.by(), older, false); err != nil || given != 0 {
		t.Errorf("a batch before the last: got %d, %v, want nobody", given, err)
	}
	n.stand("the lane's last batch", kept, room.Waiting, room.Waiting)
	n.line(6, kept[0].Number, kept[1].Number)
}

// heard: who was told a number and shows it comes back to it, before those behind.
func (n *node) heard() {
	t, p := n.t, n.join(3)
	given, err := n.Line.GiveBack(n.ctx, n.Name, n.by(), n.lane(), true)
	if err != nil || given != 3 {
		t.Errorf("got %d, %v, want all three", given, err)
	}
	n.line()
	last := n.join(1)
	stands, err := n.Line.Stands(n.ctx, n.Name, p[:2])
	must(t, "stands", err)
	same(t, "before they come back", standings(stands), []room.Standing{room.Unseen, room.Unseen})
	stands, err = n.Line.Rejoin(n.ctx, n.Name, n.by(), p[:2])
	must(t, "rejoin", err)
	same(t, "as they come back", standings(stands), []room.Standing{room.Waiting, room.Waiting})
	n.line(1, 2, last[0].Number)
	_, err = n.Line.Claim(n.ctx, n.Name, n.by(), p[2])
	want(t, "a claim of who did not come back", err, room.ErrRecovering)
	want(t, "leaving instead", n.Line.Leave(n.ctx, n.Name, n.by(), p[2]), nil)
	n.stand("who left instead", p[2:], room.Gone)
}

func (n *node) present() {
	t := n.t
	p := n.join(3)
	last, asking, err := n.Line.Present(n.ctx, n.Name, n.by(), 0, []byte{0x70})
	if err != nil || last != 3 || asking {
		t.Errorf("got %d, %v, %v, want the last number and nobody asked", last, asking, err)
	}
	if last, asking, err = n.Line.Present(n.ctx, n.Name, n.by(), 0, nil); err != nil || last != 3 || asking {
		t.Errorf("of nobody: got %d, %v, %v", last, asking, err)
	}
	n.stand("afterwards", p, room.Waiting, room.Waiting, room.Waiting)
	n.mark = 30
	if last, _, err = n.Line.Present(n.ctx, n.Name, n.by(), 0, []byte{0x70}); err != nil || last != 30 {
		t.Errorf("with a mark above the line: got %d, %v, want 30", last, err)
	}
}

// marks are read from a cursor on, each room once.
func marks(t *testing.T, line Marks, name room.Name) {
	ctx, other := background(), name+"-2"
	_, since, err := line.Busy(ctx, "")
	must(t, "the cursor of now", err)
	must(t, "mark", errors.Join(line.MarkBusy(ctx, name), line.MarkBusy(ctx, other, name)))
	for range 2 { // the same cursor again
		names, next, err := line.Busy(ctx, since)
		must(t, "read", err)
		// On a server that others use there may be rooms of theirs.
		names = slices.DeleteFunc(slices.Clone(names), func(n room.Name) bool { return n != name && n != other })
		if !slices.Equal(names, []room.Name{name, other}) {
			t.Errorf("got %v, want %s and %s once each", names, name, other)
		}
		if rest, _, err := line.Busy(ctx, next); err != nil || slices.Contains(rest, name) {
			t.Errorf("from the next cursor: got %v, %v, want nothing new", rest, err)
		}
	}
	must(t, "mark nobody", line.MarkBusy(ctx))
}
