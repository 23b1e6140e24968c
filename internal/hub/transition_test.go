package hub

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"waitroom/internal/wire"
)

// Every cell: where a session stands, what happens to it, and who asked.
func TestTransition(t *testing.T) {
	type cell struct {
		from    standing
		ev      event
		asker   audience
		leaving bool
		want    step
	}
	var table []cell
	row := func(from standing, ev event, leaving bool, want map[audience]step) {
		for asker, w := range want {
			table = append(table, cell{from, ev, asker, leaving, w})
		}
	}
	all := func(s step) map[audience]step { return map[audience]step{nobody: s, one: s, everyone: s} }
	to := func(s step) map[audience]step { // told to who asked
		m := map[audience]step{}
		for _, a := range []audience{nobody, one, everyone} {
			s.whom = a
			m[a] = s
		}
		return m
	}
	for _, leaving := range []bool{false, true} {
		// Nothing wakes the dead.
		for ev := isGone; ev <= hasLeft; ev++ {
			row(detached, ev, leaving, all(step{to: detached}))
		}
		// What took effect is told from everywhere, once more from over: a second leave
		// was answered in the same words.
		for _, from := range []standing{waiting, admitted, inside, over} {
			row(from, hasLeft, leaving, all(step{to: over, say: sayLeft, whom: everyone}))
		}
		// Who is over and asks hears it; a look-up has nothing to say.
		for _, ev := range []event{isGone, isWaiting, isUnclaimed, isActive} {
			row(over, ev, leaving, map[audience]step{nobody: {to: over}, one: {to: over, say: saySpent, whom: one}, everyone: {to: over, say: saySpent, whom: everyone}})
		}
		row(waiting, isWaiting, leaving, all(step{to: waiting, anew: true}))
		row(admitted, isWaiting, leaving, all(step{to: waiting, anew: true}))
		row(inside, isWaiting, leaving, all(step{to: inside}))
		row(waiting, isUnclaimed, leaving, all(step{to: admitted, say: sayAdmitted, whom: everyone, timed: true}))
		row(admitted, isUnclaimed, leaving, to(step{to: admitted, say: sayAdmitted, timed: true}))
		row(inside, isUnclaimed, leaving, all(step{to: inside}))
		row(waiting, isActive, leaving, all(step{to: inside, say: sayPass, whom: everyone, timed: true}))
		row(admitted, isActive, leaving, all(step{to: inside, say: sayPass, whom: everyone, timed: true}))
		row(inside, isActive, leaving, to(step{to: inside, say: sayPass, timed: true}))
	}
	for from, say := range map[standing]saying{waiting: saySpent, admitted: sayMissed, inside: saySpent} {
		row(from, isGone, false, all(step{to: over, say: say, whom: everyone}))
		row(from, isGone, true, all(step{to: from})) // the leave's own answer tells
	}
	if want := 5 * 5 * 3 * 2; len(table) != want {
		t.Fatalf("got %d cells, want all %d", len(table), want)
	}
	for _, c := range table {
		if got := transition(c.from, c.ev, c.asker, c.leaving); got != c.want {
			t.Errorf("from %d, event %d, asked by %d, leaving %t: got %+v, want %+v", c.from, c.ev, c.asker, c.leaving, got, c.want)
		}
	}
}

// The heap gives every session at its last moment, in order, and none that was
// taken out.
func TestDeadlines(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var d deadlines
	sessions := make([]*Session, 200)
	want := map[*Session]time.Duration{}
	for i := range sessions {
		sessions[i] = &Session{}
	}
	for range 5000 {
		s := sessions[rng.IntN(len(sessions))]
		at := time.Duration(rng.IntN(1000))
		d.set(s, at)
		if delete(want, s); at > 0 {
			want[s] = at
		}
	}
	if d.Len() != len(want) {
		t.Fatalf("got %d sessions, want %d", d.Len(), len(want))
	}
	if d.first(0) != nil {
		t.Error("got a session before its moment")
	}
	var order []time.Duration
	for s := d.first(1000); s != nil; s = d.first(1000) {
		if s.at != want[s] {
			t.Errorf("got %d, want %d", s.at, want[s])
		}
		order = append(order, s.at)
		d.set(s, 0)
	}
	if len(order) != len(want) || !slices.IsSorted(order) {
		t.Errorf("got %d sessions, in order %t, want %d in order", len(order), slices.IsSorted(order), len(want))
	}
}

// With a lease a session outlives its last connection, goes on where it was when
// one comes back, and ends when none does.
func TestLease(t *testing.T) {
	inBubble(t, func(b *bench) {
		const lease = 5 * time.Second
		b.hub.lease = lease
		sessions, sinks := b.join(2)
		b.pass(PositionTick)
		sessions[0].Detach(sinks[0])
		b.pass(lease / 2)
		back := &fakeSink{}
		s, err := b.hub.Return(context.Background(), show, sessions[0].epoch, sessions[0].place, back)
		if err != nil || s != sessions[0] {
			b.Fatalf("got %p, %v, want the same session", s, err)
		}
		b.pass(2 * lease)
		if n := b.line.count("stands"); n > 0 {
			b.Errorf("got %d look-ups of who waits and is shown, want none", n)
		}
		if got := types(back.take()); !slices.Contains(got, string(wire.Position)) {
			b.Errorf("got %v, want positions after the lease that was taken up", got)
		}
		s.Detach(back)
		sessions[1].Detach(sinks[1])
		b.pass(lease - TurnTick)
		if b.hub.empty(show) {
			b.Error("got the sessions ended before their lease")
		}
		b.pass(3 * TurnTick)
		if !b.hub.empty(show) {
			b.Error("got the sessions kept after their lease")
		}
	})
}

// A lease ends beside a deadline: who was admitted and has nobody to tell goes.
func TestLeaseOfTheAdmitted(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.hub.lease = 2 * time.Second
		sessions, sinks := b.join(1)
		b.line.admit(1)
		b.pass(2 * TurnTick)
		sessions[0].Detach(sinks[0])
		b.pass(b.hub.lease + 2*TurnTick)
		if !b.hub.empty(show) {
			b.Error("got a session kept until its claim's end, want until its lease's")
		}
	})
}
