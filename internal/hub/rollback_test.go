package hub

import (
	"slices"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// rollBack is a line that lost the admission of a place: it waits in front again, in
// another life. The line that noticed that counts one loss more.
func (f *fakeLine) rollBack(p room.Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pending, p.Visitor)
	delete(f.active, p.Visitor)
	f.gone[p.Number>>3] &^= 0x80 >> (p.Number & 7)
	f.queue = slices.Insert(f.queue, 0, p)
	f.admitted--
	f.life = room.Life{ID: "b"}
	f.conf.Rev++
}

// loseWhole is a line that lost a place whole: it does not know who has the number.
func (f *fakeLine) loseWhole(p room.Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pending, p.Visitor)
	delete(f.active, p.Visitor)
	f.back[p.Number] = true
	f.life = room.Life{ID: "b"}
	f.conf.Rev++
}

// Who is inside and whose admission the line lost keeps the pass, which the shop honours,
// until its time is over: then it waits again where the line has it, or is done where the
// line does not know it. Nobody brings it back, and it costs a look-up and no more.
func TestInsideOfALostAdmission(t *testing.T) {
	const pass = 2 * time.Minute
	for _, c := range []struct {
		name string
		lose func(*fakeLine, room.Place)
		then string
	}{
		{"it waits in the line again", (*fakeLine).rollBack, "position"},
		{"the line does not know it", (*fakeLine).loseWhole, "spent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.line.set(func() { b.line.conf.Claim, b.line.conf.Pass = time.Minute, pass })
				sessions, sinks := b.join(3)
				b.pass(2 * PositionTick)
				b.line.admit(1)
				b.pass(2 * TurnTick)
				if err := sessions[0].Claim(b.Context()); err != nil {
					b.Fatal(err)
				}
				if got := types(sinks[0].take()); !slices.Contains(got, "pass") {
					b.Fatalf("got %v, want a pass", got)
				}
				c.lose(b.line, sessions[0].place)
				b.pass(pass - 5*time.Second)
				if got := types(sinks[0].take()); slices.ContainsFunc(got, func(s string) bool { return s != "room open" }) {
					b.Errorf("while the pass is good: got %v, want nothing of it", got)
				}
				if got := b.line.count("rejoin"); got > 0 {
					b.Errorf("got %d calls that bring a visitor back who is inside", got)
				}
				before := b.line.count("stands")
				b.pass(time.Minute)
				if got := types(sinks[0].take()); !slices.Contains(got, c.then) {
					b.Errorf("once its time is over: got %v, want %s", got, c.then)
				}
				if got := b.line.count("stands") - before; got > 3 {
					b.Errorf("got %d look-ups in the minute of the pass's end, want one", got)
				}
			})
		})
	}
}

// Whoever was told of a turn is looked up once a read shows another life of the line, and
// not at the end of the time for it: who waits again hears the position, and whom the line
// does not know is brought back. Turns that are still good cost one look-up.
func TestTurnsToldBeforeALossAreLookedUp(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(*fakeLine, room.Place)
	}{
		{"it waits in the line again", (*fakeLine).rollBack},
		{"the line does not know it", (*fakeLine).loseWhole},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.line.set(func() { b.line.conf.Claim = 10 * time.Minute })
				sessions, sinks := b.join(4)
				b.pass(2 * PositionTick)
				b.line.admit(2)
				b.pass(2*moves + 2*TurnTick)
				for _, s := range sinks[:2] {
					if got := types(s.take()); !slices.Contains(got, "admitted") {
						b.Fatalf("got %v, want the turn", got)
					}
				}
				before := b.line.count("stands")
				c.lose(b.line, sessions[0].place)
				b.pass(4 * PositionTick)
				if got := types(sinks[0].take()); !slices.Contains(got, "position") || slices.Contains(got, "spent") {
					b.Errorf("who was admitted: got %v, want the position", got)
				}
				if got := types(sinks[1].take()); slices.ContainsFunc(got, func(s string) bool { return s != "room open" }) {
					b.Errorf("whose admission the line kept: got %v, want nothing of it", got)
				}
				if got := b.line.count("stands") - before; got > 2 {
					b.Errorf("got %d look-ups, want one", got)
				}
				b.line.admit(1)
				b.pass(3 * TurnTick)
				if got := types(sinks[0].take()); !slices.Contains(got, "admitted") {
					b.Errorf("its turn again: got %v, want admitted", got)
				}
			})
		})
	}
}

// A look-up that was under way while the line was lost says nothing of the life after it.
func TestALookUpOfTheLifeBefore(t *testing.T) {
	var held *slowStands
	inBubbleOver(t, Config{}, func(f *fakeLine) followed {
		held = &slowStands{fakeLine: f, ask: make(chan struct{}), answer: make(chan struct{})}
		return held
	}, func(b *bench) {
		b.line.set(func() { b.line.conf.Claim = 10 * time.Minute })
		sessions, sinks := b.join(3)
		b.pass(2 * PositionTick)
		b.line.admit(1)
		<-held.ask
		b.line.rollBack(sessions[0].place)
		b.pass(2 * PositionTick) // a read shows the other life
		close(held.answer)       // and only then comes the turn
		b.pass(4 * PositionTick)
		if got := types(sinks[0].take()); !slices.Contains(got, "admitted") || got[len(got)-1] != "position" {
			b.Errorf("got %v, want the turn of before, and then the position", got)
		}
	})
}

// Whose admission the line lost waits again and has a connection: every word of who is here
// after the first tick names the number, so that nobody calls the visitor away.
func TestWhoseTurnWasLostIsSaidToBeHere(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.conf.Claim = 10 * time.Minute })
		sessions, sinks := b.join(3)
		b.pass(2 * PositionTick)
		b.line.admit(1)
		b.pass(2*TurnTick + halfSpan)
		if got := types(sinks[0].take()); !slices.Contains(got, "admitted") {
			b.Fatalf("got %v, want the turn", got)
		}
		b.line.rollBack(sessions[0].place)
		b.pass(PositionTick + 2*TurnTick)
		b.line.hear()
		b.pass(2 * room.DefaultGrace)
		said := b.line.hear()
		if len(said) < 2*spans*perSpan-1 {
			b.Errorf("got %d words of who is here in two graces, want %d", len(said), 2*spans*perSpan)
		}
		for _, s := range said {
			if !slices.Contains(s.numbers(), sessions[0].place.Number) {
				b.Fatalf("got %v said to be here, want number %d among them", s.numbers(), sessions[0].place.Number)
			}
		}
	})
}

// A claim that the line put off, as it does after a loss, is told once more with the time
// that is left now; one that it did not put off is not.
func TestALongerClaimIsTold(t *testing.T) {
	const claim = time.Minute
	for _, c := range []struct {
		later time.Duration // than what was told
		want  int
	}{{0, 0}, {claimSlack / 2, 0}, {claimSlack + TurnTick, 1}, {30 * time.Second, 1}} {
		t.Run(c.later.String(), func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.line.set(func() { b.line.conf.Claim = claim })
				sessions, sinks := b.join(1)
				b.pass(2 * PositionTick)
				b.line.admit(1)
				b.pass(2 * TurnTick)
				if got := types(sinks[0].take()); !slices.Contains(got, "admitted") {
					b.Fatalf("got %v, want the turn", got)
				}
				b.pass(30 * time.Second)
				b.line.set(func() {
					b.line.pending[sessions[0].place.Visitor] = b.line.pending[sessions[0].place.Visitor].Add(c.later)
					b.line.life, b.line.conf.Rev = room.Life{ID: "b"}, b.line.conf.Rev+1
				})
				b.pass(20 * time.Second)
				told := slices.DeleteFunc(sinks[0].take(), func(m message) bool { return m.Type != wire.Admitted })
				if len(told) != c.want {
					b.Fatalf("got %d times admitted before the first claim is over, want %d", len(told), c.want)
				}
				if c.want == 0 {
					return
				}
				left := claim - 30*time.Second + c.later
				if got := time.Duration(told[0].ClaimMS) * time.Millisecond; got > left || got < left-3*time.Second {
					b.Errorf("got %s left, want %s less what it took to tell", got, left)
				}
			})
		})
	}
}
