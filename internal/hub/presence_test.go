package hub

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"waitroom/internal/room"
	"waitroom/internal/wire"
)

const halfSpan = room.DefaultGrace / (spans * perSpan)

// hear returns what the line was told of who is here since the last time.
func (f *fakeLine) hear() []fakePresent {
	f.mu.Lock()
	defer f.mu.Unlock()
	said := f.said
	f.said = nil
	return said
}

// Who waits with a connection or a lease is said twice a span, and nobody else is; a
// room that nobody is in any more goes on saying so, and one that is deleted does not.
func TestWhoIsHereIsSaidTwiceASpan(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.hub.lease = 2*halfSpan + time.Second
		sessions, sinks := b.join(40)
		b.line.admit(5)
		b.pass(halfSpan / 2)
		if said := b.line.hear(); len(said) != 1 || said[0].mark != 40 {
			b.Fatalf("got %+v, want it said once, with the mark 40", said)
		}
		for i := range 10 {
			sessions[10+i].Detach(sinks[10+i])
		}
		for i := range 3 {
			b.pass(halfSpan)
			said := b.line.hear()
			want := 35
			if i == 2 {
				want = 25 // their leases are over
			}
			if len(said) != 1 || len(said[0].numbers()) != want {
				b.Fatalf("half span %d: got %+v, want %d said once", i, said, want)
			}
		}
		var here []room.Number
		for _, s := range sessions[5:] {
			if s.standing() == waiting {
				here = append(here, s.place.Number)
			}
		}
		b.pass(halfSpan)
		if got := b.line.hear(); len(got) != 1 || !slices.Equal(got[0].numbers(), here) {
			b.Errorf("got %+v, want %v", got, here)
		}
		b.line.set(func() { b.line.blind = true })
		b.pass(halfSpan)
		b.line.set(func() { b.line.blind = false })
		b.pass(halfSpan)
		if got := b.line.hear(); len(got) != 1 || len(got[0].numbers()) != 25 {
			b.Errorf("after a call that failed: got %+v, want it said at the next half span", got)
		}
		for i, s := range sessions {
			s.Detach(sinks[i])
		}
		b.pass(b.hub.lease + halfSpan)
		b.line.hear()
		b.line.set(func() { b.line.seq = 50 }) // by other nodes
		b.pass(4 * halfSpan)
		said := b.line.hear()
		if len(said) != 4 {
			b.Errorf("nobody is here: got %+v, want it said 4 times", said)
		}
		for i, p := range said {
			if len(p.bits) > 0 || i > 0 && p.mark != 50 {
				b.Errorf("nobody is here: got %v with the mark %d, want none with 50", p.numbers(), p.mark)
			}
		}
		b.line.set(func() { b.line.unlisted = true })
		b.pass(2 * time.Second)
		b.line.hear()
		b.pass(2 * halfSpan)
		if got := b.line.hear(); len(got) > 0 {
			b.Errorf("the registry lost the room: got %+v, want nothing said", got)
		}
		b.line.set(func() { b.line.unlisted = false })
		b.line.delete()
		b.pass(2 * time.Second)
		b.line.hear()
		calls := b.line.count("present")
		b.pass(4 * halfSpan)
		if got := b.line.count("present"); got != calls {
			b.Errorf("deleted: got %d more calls, want none", got-calls)
		}
	})
}

// A room in which somebody waits and that nobody came to since this node began, as after
// a restart of all nodes, is spoken for too: else nobody would ever be found away there.
func TestARoomNobodyCameToIsSpokenFor(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(4 * halfSpan)
		if said := b.line.hear(); len(said) > 0 {
			b.Errorf("nobody ever joined: got %+v, want nothing said", said)
		}
		b.line.set(func() { b.line.seq = 50 }) // by another node, which is gone
		b.pass(halfSpan)
		b.line.hear()
		b.pass(4 * halfSpan)
		said := b.line.hear()
		if len(said) != 4 || said[0].mark != 50 || len(said[0].bits) > 0 {
			b.Errorf("got %+v, want it said 4 times that nobody is here, with the mark 50", said)
		}
		if reads := b.line.count("snapshot"); reads > 2 {
			b.Errorf("got %d reads of the line, want one, and one more when its conf changed", reads)
		}
	})
}

// A grace that was made shorter is followed at once, in a room with somebody and in one
// without: its spans must not go by unsaid.
func TestShorterGraceIsFollowed(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1)
		b.line.set(func() { b.line.conf.Grace = time.Hour })
		b.pass(2 * time.Minute)
		b.line.hear()
		b.pass(10 * time.Minute)
		// It is a sign of life too, and who gave none for 30 s before a loss is not asked.
		if got := len(b.line.hear()); got < 58 || got > 62 {
			b.Errorf("a grace of an hour: got %d calls in 10 minutes, want one each 10 s", got)
		}
		b.line.set(func() { b.line.conf.Grace = room.MinGrace })
		b.pass(room.MinGrace / spans)
		if got := len(b.line.hear()); got < 1 {
			b.Errorf("got %d calls in the first span of a grace of 30 s, want one", got)
		}
		if got := types(sinks[0].take()); slices.Contains(got, string(wire.Drain)) {
			b.Errorf("got %v: sent away by a grace that began just now", got)
		}
		sessions[0].Detach(sinks[0])
		b.pass(room.MinGrace)
		b.line.set(func() { b.line.conf.Grace = 4 * room.MinGrace })
		b.pass(4 * room.MinGrace)
		b.line.hear()
		b.pass(4 * room.MinGrace)
		if got := len(b.line.hear()); got != spans*perSpan {
			b.Errorf("nobody here, the grace changed: got %d calls in a grace, want %d", got, spans*perSpan)
		}
	})
}

// A line made anew while nobody is here is spoken to as the one it is.
func TestPresenceInALineMadeAnew(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1)
		b.pass(halfSpan)
		sessions[0].Detach(sinks[0])
		b.line.set(func() {
			b.line.conf.Epoch = "bbbbbbbb"
			b.line.revised, b.line.rev = b.line.conf, 1 // its count begins anew
		})
		b.pass(2 * halfSpan)
		b.line.hear()
		b.pass(2 * halfSpan)
		if got := len(b.line.hear()); got != 2 {
			b.Errorf("got %d calls that the new line took, want 2", got)
		}
	})
}

// Windows tell every number once, and no more; none is longer than a call may be.
func TestWindows(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, numbers := range [][]room.Number{nil, {1}, {7, 8}, {1, 1 << 30}, {1, maxWindow<<3 - 1, maxWindow << 3, maxWindow<<3 + 1}} {
		windowsTell(t, numbers)
	}
	for range 50 {
		set := map[room.Number]bool{}
		for range rng.IntN(300) {
			set[1+room.Number(rng.Int64N(1<<(3+rng.IntN(24))))] = true
		}
		var numbers []room.Number
		for n := range set {
			numbers = append(numbers, n)
		}
		windowsTell(t, numbers)
	}
}

func windowsTell(t *testing.T, numbers []room.Number) {
	t.Helper()
	r := newRoster()
	for _, n := range numbers {
		r.fresh = append(r.fresh, item{n, &Session{}})
	}
	var w windows
	w.fill(&r)
	slices.Sort(numbers)
	var got []room.Number
	for more := true; more; more = len(w.rest) > 0 {
		from, bits := w.next()
		if len(bits) > maxWindow {
			t.Errorf("got a window of %d bytes, want at most %d", len(bits), maxWindow)
		}
		got = append(got, fakePresent{from: from, bits: bits}.numbers()...)
	}
	if !slices.Equal(got, numbers) {
		t.Errorf("got %v, want %v", got, numbers)
	}
}

// BenchmarkPresent is what one room of 10,000 visitors costs twice a span: the roster's
// lock is held for the first half of it.
func BenchmarkPresent(b *testing.B) {
	r, _ := full(10_000)
	b.Run("locked", func(b *testing.B) {
		var w windows
		b.ReportAllocs()
		for b.Loop() {
			w.numbers = r.roster.present(w.numbers[:0])
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var w windows
			w.fill(&r.roster)
			w.next()
		}
	})
}

// ends are the reasons of the ends that somebody heard.
func ends(heard []message) (reasons []string) {
	for _, m := range heard {
		if m.Type == wire.Spent {
			reasons = append(reasons, m.Reason)
		}
	}
	return reasons
}

// Whose place was given up because nobody saw him hears why: who comes back to it, who
// was connected all the same, and who claims it.
func TestAPlaceGivenUpIsSpentForBeingAway(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(3)
		b.pass(2 * PositionTick)
		sessions[2].Detach(sinks[2])
		for _, s := range sessions {
			b.line.reap(s.place)
		}
		b.pass(2 * PositionTick)
		back := &fakeSink{}
		s, err := b.hub.Return(b.Context(), show, sessions[2].epoch, sessions[2].place, back)
		if err != nil || !s.Over() {
			b.Fatalf("comes back: got %+v, %v, want a session that is over", s, err)
		}
		for i, sink := range []*fakeSink{sinks[0], sinks[1], back} {
			if got := ends(sink.take()); !slices.Equal(got, []string{"away"}) {
				b.Errorf("visitor %d: got spent for %q, want away once", i, got)
			}
		}
	})
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1)
		b.pass(2 * PositionTick)
		b.line.admit(1)
		b.pass(2 * TurnTick)
		b.line.set(func() { clear(b.line.pending) })
		b.line.reap(sessions[0].place)
		if err := sessions[0].Claim(b.Context()); err != nil {
			b.Fatal(err)
		}
		if got := ends(sinks[0].take()); !slices.Equal(got, []string{"away"}) {
			b.Errorf("who claims: got spent for %q, want away", got)
		}
	})
}

// A line that noticed a loss waits some seconds for the marks of those who were alive before
// it. A node tells it within a second, of rooms that everybody has left and of those that
// nobody came to here too; and not of one in which nothing was lost.
func TestTheMarkAfterALossOfARoomThatNobodyIsIn(t *testing.T) {
	for _, came := range []int{0, 3} {
		t.Run(strconv.Itoa(came), func(t *testing.T) {
			var losses atomic.Int64
			inBubbleOver(t, Config{}, func(f *fakeLine) followed { return lossLine{f, &losses} }, func(b *bench) {
				losses.Store(4) // before this node began
				sessions, sinks := b.join(came)
				b.line.set(func() { b.line.seq = 5 }) // by other nodes too
				for i, s := range sessions {
					s.Detach(sinks[i])
				}
				b.pass(2 * halfSpan)
				if got := b.line.count("report"); got > 0 {
					b.Errorf("got %d reports of a line that lost nothing", got)
				}
				losses.Add(1)
				b.pass(PositionTick + TurnTick)
				if got := b.line.reported; !slices.Equal(got, []room.Number{5}) {
					b.Errorf("got marks %v within a second, want 5 once", got)
				}
				b.pass(10 * PositionTick)
				if got := len(b.line.reported); got != 1 {
					b.Errorf("got %d reports of one loss, want one", got)
				}
			})
		})
	}
}
