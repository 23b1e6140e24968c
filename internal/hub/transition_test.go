package hub

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"waitroom/internal/wire"
)

// Every cell: where a session stands, what happens to it, who asked, and what else
// decides.
func TestTransition(t *testing.T) {
	type cell struct {
		from standing
		ev   event
		c    circumstances
	}
	table := map[cell]step{}
	for _, leaving := range []bool{false, true} {
		for i := range 8 {
			lastCall, ended, later := i&1 > 0, i&2 > 0, i&4 > 0
			for _, asker := range []audience{nobody, one, everyone} {
				row := func(from standing, ev event, want step) {
					table[cell{from, ev, circumstances{asker: asker, leaving: leaving, lastCall: lastCall, ended: ended, later: later}}] = want
				}
				asked := func(s step) step { s.whom = asker; return s } // told to who asked
				all := func(s step) step { s.whom = everyone; return s }
				// Nothing wakes the dead.
				for ev := isGone; ev <= hasLeft; ev++ {
					row(detached, ev, step{to: detached})
				}
				// A place that the line lost stands where it was told last.
				for _, from := range []standing{waiting, admitted, inside, over} {
					row(from, isUnseen, step{to: from})
				}
				// What took effect is told from everywhere, once more from over: a second leave
				// was answered in the same words.
				for _, from := range []standing{waiting, admitted, inside, over} {
					row(from, hasLeft, all(step{to: over, say: sayLeft}))
				}
				// Who is over and asks hears it; a look-up has nothing to say.
				for _, ev := range []event{isGone, isWaiting, isUnclaimed, isActive, isAway} {
					row(over, ev, step{to: over})
					if asker != nobody {
						row(over, ev, asked(step{to: over, say: saySpent}))
					}
				}
				if asker != nobody {
					row(over, isAway, asked(step{to: over, say: sayAway}))
				}
				// Whose place was given up hears so, also who was told of a turn that the line
				// lost: it waited again, and was not seen.
				for _, from := range []standing{waiting, admitted, inside} {
					row(from, isAway, all(step{to: over, say: sayAway}))
				}
				row(waiting, isGone, all(step{to: over, say: saySpent}))
				row(inside, isGone, all(step{to: over, say: saySpent}))
				row(admitted, isGone, all(step{to: over, say: saySpent}))
				if lastCall {
					row(admitted, isGone, all(step{to: over, say: sayMissed}))
				}
				if leaving {
					for _, from := range []standing{waiting, admitted, inside} {
						row(from, isGone, step{to: from}) // the leave's own answer tells
						row(from, isAway, step{to: from})
					}
				}
				// An answer that somebody asked for may be older than what was told.
				stale := asker != nobody
				row(waiting, isWaiting, step{to: waiting, anew: true})
				row(admitted, isWaiting, step{to: waiting, anew: true})
				if stale {
					row(admitted, isWaiting, step{to: admitted, stale: true})
				}
				row(inside, isWaiting, step{to: inside, stale: stale})
				row(inside, isUnclaimed, step{to: inside, stale: stale})
				// A pass whose time is over goes by what a look-up says.
				if ended && !stale {
					row(inside, isWaiting, step{to: waiting, anew: true})
					row(inside, isUnclaimed, all(step{to: admitted, say: sayAdmitted, timed: true}))
					row(inside, isUnseen, all(step{to: over, say: saySpent}))
				}
				row(waiting, isUnclaimed, all(step{to: admitted, say: sayAdmitted, timed: true}))
				row(admitted, isUnclaimed, asked(step{to: admitted, say: sayAdmitted, timed: true}))
				if later { // the page's clock would run out
					row(admitted, isUnclaimed, all(step{to: admitted, say: sayAdmitted, timed: true}))
				}
				row(waiting, isActive, all(step{to: inside, say: sayPass, timed: true}))
				row(admitted, isActive, all(step{to: inside, say: sayPass, timed: true}))
				row(inside, isActive, asked(step{to: inside, say: sayPass, timed: true}))
			}
		}
	}
	if want := 5 * 7 * 3 * 2 * 2 * 2 * 2; len(table) != want {
		t.Fatalf("got %d cells, want all %d", len(table), want)
	}
	for c, want := range table {
		if got := transition(c.from, c.ev, c.c); got != want {
			t.Errorf("from %d, event %d, %+v: got %+v, want %+v", c.from, c.ev, c.c, got, want)
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
