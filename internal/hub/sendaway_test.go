package hub

import (
	"context"
	"slices"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// sentAwayAt is when a connection was sent away; times is how often.
func sentAwayAt(heard []message) (at time.Time, times int) {
	for i, m := range heard {
		if m.Type == wire.Drain && i+1 < len(heard) && heard[i+1].Closed == wire.Codes[wire.Draining].Close {
			at = m.At
			times++
		}
	}
	return at, times
}

// A node that the line has not heard for half of the grace sends its visitors away, over
// a quarter of it and those in front first, once an outage.
func TestAnUnheardNodeSendsItsVisitorsAway(t *testing.T) {
	inBubble(t, func(b *bench) {
		const n = 100
		b.line.set(func() { b.line.conf.Claim = time.Hour })
		_, sinks := b.join(n)
		b.line.admit(1)
		b.pass(2 * room.DefaultGrace)
		began := time.Now()
		b.line.set(func() { b.line.away = true })
		b.pass(room.DefaultGrace/2 - TurnTick)
		for i, s := range sinks {
			if _, times := sentAwayAt(s.take()); times > 0 {
				b.Fatalf("visitor %d was sent away before half of the grace was over", i)
			}
		}
		b.pass(3 * room.DefaultGrace)
		last := began
		for i, s := range sinks {
			at, times := sentAwayAt(s.take())
			if times != 1 || at.Before(last) {
				b.Fatalf("visitor %d was sent away %d times, at %s of the outage, want once, after %s", i, times, at.Sub(began), last.Sub(began))
			}
			last = at
		}
		least, most := room.DefaultGrace*6/8-halfSpan, room.DefaultGrace*6/8+halfSpan
		if took := last.Sub(began); took < least || took > most {
			b.Errorf("the last one was sent away after %s, want %s to %s", took, least, most)
		}
		b.line.set(func() { b.line.away = false })
		b.pass(2 * halfSpan)
		b.line.set(func() { b.line.away = true })
		b.pass(room.DefaultGrace)
		if _, times := sentAwayAt(sinks[n-1].take()); times != 1 {
			b.Errorf("in the next outage: got %d, want once more", times)
		}
	})
}

// It is the same for a node that the line never heard: its first word is said soon after
// the first visitor came.
func TestANodeThatWasNeverHeardSendsAway(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.blind = true })
		_, sinks := b.join(1)
		b.pass(room.DefaultGrace/2 - time.Second)
		if _, times := sentAwayAt(sinks[0].take()); times != 0 {
			b.Fatal("sent away before half of the grace was over")
		}
		b.pass(sayEvery(room.MinGrace) + time.Second)
		if _, times := sentAwayAt(sinks[0].take()); times != 1 {
			b.Errorf("half of the grace after the join: got %d, want sent away once", times)
		}
	})
}

// Who comes back to the same node stays, and once the line hears it again nobody more
// is sent.
func TestWhoComesBackStays(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(10)
		b.pass(halfSpan)
		b.line.set(func() { b.line.blind = true })
		b.pass(room.DefaultGrace/2 + time.Second)
		sent := 0
		for i, s := range sinks {
			if _, times := sentAwayAt(s.take()); times > 0 {
				sent++
				sessions[i].Detach(s)
			}
		}
		if sent < 1 || sent > 5 {
			b.Fatalf("got %d sent away soon after it began, want the first few of 10", sent)
		}
		back := &fakeSink{}
		if _, err := b.hub.Return(context.Background(), show, sessions[0].epoch, sessions[0].place, back); err != nil {
			b.Fatal(err)
		}
		b.pass(TurnTick)
		b.line.set(func() { b.line.blind = false })
		b.pass(2 * room.DefaultGrace)
		for i, s := range sinks[8:] {
			if _, times := sentAwayAt(s.take()); times > 0 {
				b.Errorf("visitor %d was sent away after the line heard of him", 8+i)
			}
		}
		if _, times := sentAwayAt(back.take()); times > 0 {
			b.Error("who came back was sent away again")
		}
	})
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1)
		b.pass(halfSpan)
		b.line.set(func() { b.line.blind = true })
		b.pass(room.DefaultGrace)
		if _, times := sentAwayAt(sinks[0].take()); times != 1 {
			b.Fatalf("sent away: got %d times, want once", times)
		}
		sessions[0].Detach(sinks[0])
		back := &fakeSink{}
		if _, err := b.hub.Return(context.Background(), show, sessions[0].epoch, sessions[0].place, back); err != nil {
			b.Fatal(err)
		}
		b.pass(3 * room.DefaultGrace)
		if got := types(back.take()); slices.Contains(got, string(wire.Drain)) {
			b.Errorf("back, while the line still hears nothing: got %v, want him kept", got)
		}
	})
}

// A line that is full, or whose room is lost, has been reached: nobody is sent away, as
// nobody is reaped there.
func TestAnAnswerKeepsVisitors(t *testing.T) {
	for name, change := range map[string]func(*fakeLine){
		"full": func(f *fakeLine) { f.refused = room.ErrMemory },
		"lost": func(f *fakeLine) { f.refused, f.unlisted = room.ErrUnknown, true },
	} {
		inBubble(t, func(b *bench) {
			_, sinks := b.join(3)
			b.pass(halfSpan)
			b.line.set(func() { change(b.line) })
			b.pass(2 * room.DefaultGrace)
			for _, s := range sinks {
				if got := types(s.take()); slices.Contains(got, string(wire.Drain)) {
					b.Errorf("%s: got %v, want nobody sent away", name, got)
				}
			}
		})
	}
}
