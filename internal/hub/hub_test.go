package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/cadence"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// Promise 3: every position sent is the rank at the one read of its tick, while
// people join, leave from anywhere, are admitted, part and come back.
func TestEveryPositionIsTheRankAtItsRead(t *testing.T) {
	for _, mode := range []cadence.Mode{cadence.Exact, cadence.Near} {
		t.Run(string(mode), func(t *testing.T) { everyPositionIsTheRank(t, mode) })
	}
}

func everyPositionIsTheRank(t *testing.T, mode cadence.Mode) {
	inBubbleWith(t, Config{Cadence: mode}, func(b *bench) {
		rng := rand.New(rand.NewPCG(1, 2))
		sessions, sinks := b.join(300)
		heard := 0
		for range 40 {
			more, sunk := b.join(rng.IntN(20))
			sessions, sinks = append(sessions, more...), append(sinks, sunk...)
			for range 5 {
				v := sessions[rng.IntN(len(sessions))]
				if v.standing() == waiting {
					if err := v.Leave(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
			i := rng.IntN(len(sessions))
			if v := sessions[i]; v.standing() == waiting {
				v.Detach(sinks[i])
				again, err := b.hub.Return(b.Context(), show, v.epoch, v.place, sinks[i])
				if err != nil {
					b.Fatal(err)
				}
				sessions[i] = again
			}
			b.line.admit(rng.IntN(8))
			b.pass(time.Duration(rng.IntN(1500)) * time.Millisecond)
		}
		b.pass(2 * PositionTick)
		for _, s := range sinks {
			for _, w := range s.wrong {
				b.Error(w)
			}
			heard += len(s.heard)
		}
		if heard < 5000 {
			b.Errorf("got %d messages: too few to prove anything", heard)
		}
	})
}

// An unchanged position is silence, but for the beat.
func TestUnchangedIsSilentButForTheBeat(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(2)
		b.pass(PositionTick + PositionTick/2)
		sinks[1].take()
		b.pass(10 * PositionTick)
		if got := types(sinks[1].take()); !slices.Equal(got, []string{"position", "position"}) {
			b.Errorf("got %v in 10 ticks, want the beat twice", got)
		}
		b.line.admit(1)
		b.pass(PositionTick)
		heard := sinks[1].take()
		if len(heard) != 1 || heard[0].Position != 1 || heard[0].Waiting != 1 {
			b.Errorf("got %+v, want position 1 of 1", heard)
		}
	})
}

// A big crowd is told evenly over the tick, in order of number.
func TestFramesAreSpreadOverTheTick(t *testing.T) {
	inBubble(t, func(b *bench) {
		const n = 2000
		_, sinks := b.join(n)
		b.pass(2*PositionTick + PositionTick/2)
		for _, s := range sinks {
			s.take()
		}
		b.line.admit(1)
		b.pass(2 * PositionTick)
		perTenth := map[int64]int{}
		var first time.Time
		for _, s := range sinks[1:] {
			heard := s.take()
			if len(heard) != 1 {
				b.Fatalf("got %v, want one position", types(heard))
			}
			if first.IsZero() {
				first = heard[0].At
			}
			perTenth[heard[0].At.Sub(first).Milliseconds()/100]++
		}
		for at, count := range perTenth {
			if count > n/7 || at < 0 || at > 9 {
				b.Errorf("got %d frames in tenth %d of the tick, want about %d in each: %v", count, at, n/9, perTenth)
			}
		}
	})
}

// Promise 7: the line is asked as often for many as for few, in a room that moves and in
// one that does not.
func TestReadsDoNotGrowWithVisitors(t *testing.T) {
	counts := map[int][2][3]int{}
	for _, n := range []int{50, 3000} {
		inBubble(t, func(b *bench) {
			_, sinks := b.join(n)
			b.pass(PositionTick)
			reads := func(each func()) (r [3]int) {
				for i, call := range []string{"snapshot", "turn", "stands"} {
					r[i] = -b.line.count(call)
				}
				for range 10 {
					each()
					b.pass(PositionTick)
				}
				for i, call := range []string{"snapshot", "turn", "stands"} {
					r[i] += b.line.count(call)
				}
				return r
			}
			moving := reads(func() { b.line.admit(1) })
			for _, s := range sinks[:10] {
				if got := types(s.take()); !slices.Contains(got, "admitted") {
					b.Errorf("got %v, want the turn told", got)
				}
			}
			b.pass(2 * moves)
			counts[n] = [2][3]int{moving, reads(func() {})}
		})
	}
	for n, got := range counts {
		if m := got[0]; m[0] < 10 || m[0] > 12 || m[1] < 100 || m[1] > 120 || m[2] < 10 || m[2] > 12 || got[1] != [3]int{} {
			t.Errorf("%d visitors: got %v snapshots, turns and look-ups in 10 s, want 10, 100 and 10 while it moves, and none after", n, got)
		}
	}
}

// Who is admitted is told within two turn ticks, once, and the deadline is waited
// out with two looks: whether somebody claimed elsewhere, and then.
func TestTurnIsToldOnceAndMissedOnce(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.conf.Claim = 3 * time.Second })
		sessions, sinks := b.join(5)
		b.pass(PositionTick)
		for _, s := range sinks {
			s.take()
		}
		b.line.admit(2)
		b.pass(2 * TurnTick)
		for i, s := range sinks {
			want := []string{"admitted"}
			if i >= 2 {
				want = nil
			}
			got := slices.DeleteFunc(types(s.take()), func(t string) bool { return t == "position" })
			if !slices.Equal(got, want) {
				b.Errorf("visitor %d: got %v, want %v", i, got, want)
			}
		}
		looks := b.line.count("stands")
		if err := sessions[0].Claim(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.pass(1700 * time.Millisecond)
		if got := b.line.count("stands"); got != looks {
			b.Errorf("got %d look-ups before the last second of the claim, want none", got-looks)
		}
		b.pass(1800 * time.Millisecond)
		if got := b.line.count("stands"); got != looks+2 {
			b.Errorf("got %d look-ups, want one in the last second and one at the deadline", got-looks)
		}
		if got := types(sinks[0].take()); !slices.Equal(got, []string{"pass"}) && !slices.Equal(got, []string{"pass", "room open"}) {
			b.Errorf("who claimed: got %v, want the pass", got)
		}
		if got := types(sinks[1].take()); !slices.Contains(got, "missed") {
			b.Errorf("who did not: got %v, want missed", got)
		}
		b.pass(b.line.conf.Pass)
		if got := types(sinks[0].take()); !slices.Contains(got, "spent") {
			b.Errorf("once the pass is over: got %v, want spent", got)
		}
	})
}

// A turn tick looks up at most 2,000; the others come with the next ticks, and
// nobody is left out.
func TestTurnIsBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		const n = 4500
		_, sinks := b.join(n)
		b.pass(PositionTick)
		b.line.admit(n)
		b.pass(4 * TurnTick)
		for _, asked := range b.line.asked {
			if asked > room.MaxBatch {
				b.Errorf("got %d places in one call, want at most %d", asked, room.MaxBatch)
			}
		}
		told := 0
		for _, s := range sinks {
			for _, m := range s.take() {
				if m.Type == wire.Admitted {
					told++
				}
			}
		}
		if told != n {
			b.Errorf("got %d told, want %d", told, n)
		}
	})
}

// Somebody who left from another node, far behind the window of the turn tick,
// is found by the position tick.
func TestFarGoneIsFound(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1000)
		b.pass(PositionTick)
		b.line.set(func() { b.line.remove(sessions[900].place) })
		b.pass(2 * PositionTick)
		if got := types(sinks[900].take()); !slices.Contains(got, "spent") {
			b.Errorf("got %v, want spent", got)
		}
		if got := sinks[901].take(); got[len(got)-1].Position != 901 {
			b.Errorf("the one behind: got %+v, want position 901", got[len(got)-1])
		}
	})
}

// Somebody who left from another node, near the head, is told by the turn tick.
func TestNearGoneIsFound(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(5)
		b.pass(PositionTick + TurnTick/2)
		b.line.set(func() { b.line.remove(sessions[2].place) })
		b.pass(2 * TurnTick)
		if got := types(sinks[2].take()); !slices.Contains(got, "spent") {
			b.Errorf("got %v, want spent", got)
		}
	})
}

// A number that was given after the read waits for the next one, and is not taken
// for one that left.
func TestNumberAboveTheReadWaits(t *testing.T) {
	r, s := full(20)
	s.Seq = 10
	r.positions.compile(&r.roster, s, true)
	for _, p := range r.positions.plan {
		if told := p.position > 0; told != (p.session.place.Number <= 10) {
			t.Errorf("number %d of a read up to 10: got position %d", p.session.place.Number, p.position)
		}
	}
	if len(r.roster.suspects) > 0 {
		t.Errorf("got %d to look up, want none", len(r.roster.suspects))
	}
}

// A leave whose replies are lost for a while ends as left, though the turn tick
// sees the place gone before.
func TestLeaveIsNotCalledSpent(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(2)
		b.pass(PositionTick)
		sinks[0].take()
		b.line.set(func() { b.line.lose = 1 })
		b.line.set(func() { b.line.slow = time.Second })
		if err := sessions[0].Leave(b.Context()); err != nil {
			b.Fatal(err)
		}
		if got := types(sinks[0].take()); !slices.Equal(got, []string{"left"}) {
			b.Errorf("got %v, want left only", got)
		}
	})
}

// A reply that is lost costs nobody a place and gives nobody two, for every act.
func TestLostReplies(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.lose = 3 })
		sessions, sinks := b.join(50)
		for i, v := range sessions {
			if v.place.Number != room.Number(i+1) {
				b.Errorf("got number %d, want %d", v.place.Number, i+1)
			}
		}
		for _, lane := range b.line.joins {
			if lane != b.line.joins[0] {
				b.Errorf("got batch %+v after %+v, want the same sent again", lane, b.line.joins[0])
			}
		}
		b.line.set(func() { b.line.lose = 1 })
		if err := sessions[7].Leave(b.Context()); err != nil {
			b.Error(err)
		}
		if got := types(sinks[7].take()); !slices.Contains(got, "left") {
			b.Errorf("leave: got %v, want left", got)
		}
		b.line.admit(1)
		b.pass(2 * TurnTick)
		b.line.set(func() { b.line.lose = 1 })
		if err := sessions[0].Claim(b.Context()); err != nil {
			b.Error(err)
		}
		if got := types(sinks[0].take()); !slices.Contains(got, "pass") {
			b.Errorf("claim: got %v, want the pass", got)
		}
	})
}

// A batch that is never answered is given up with its lane.
func TestLaneIsGivenUp(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.join(1)
		b.line.set(func() { b.line.away = true })
		start := time.Now()
		_, err := b.hub.Join(b.Context(), show, &fakeSink{})
		if took := time.Since(start); !errors.Is(err, room.ErrAway) || took < Patience-time.Second || took > Patience+time.Second {
			b.Errorf("got %v after %s, want %v after %s", err, took, room.ErrAway, Patience)
		}
		b.line.set(func() { b.line.away = false })
		_, err = b.hub.Join(b.Context(), show, &fakeSink{})
		if err != nil {
			b.Fatal(err)
		}
		joins := b.line.joins
		if first, last := joins[0], joins[len(joins)-1]; last.Name == first.Name || last.Batch != 1 {
			b.Errorf("got batch %+v after the lane %s was given up, want the first of another", last, first.Name)
		}
	})
}

func TestRefusedJoins(t *testing.T) {
	for _, want := range []error{room.ErrClosed, room.ErrSoldOut, room.ErrMemory} {
		inBubble(t, func(b *bench) {
			b.line.set(func() { b.line.denied = want })
			start := time.Now()
			if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); !errors.Is(err, want) || time.Since(start) > time.Second {
				b.Errorf("got %v after %s, want %v at once", err, time.Since(start), want)
			}
		})
	}
	inBubble(t, func(b *bench) {
		if _, err := b.hub.Join(b.Context(), "other", &fakeSink{}); !errors.Is(err, room.ErrUnknown) {
			b.Errorf("got %v, want %v", err, room.ErrUnknown)
		}
		if _, err := b.hub.Return(b.Context(), show, "bbbbbbbb", room.Place{Visitor: room.NewVisitorID(), Number: 1}, &fakeSink{}); !errors.Is(err, room.ErrEpoch) {
			b.Errorf("got %v, want %v", err, room.ErrEpoch)
		}
	})
}

func TestJoinsAreBounded(t *testing.T) {
	j := &joins{}
	for range MaxJoins {
		if _, _, err := j.put(&request{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := j.put(&request{}); !errors.Is(err, room.ErrOverloaded) {
		t.Errorf("got %v, want %v", err, room.ErrOverloaded)
	}
	if got := len(j.take(newcomers)); got != room.MaxBatch {
		t.Errorf("got a batch of %d, want %d", got, room.MaxBatch)
	}
	if _, _, err := j.put(&request{}); err != nil {
		t.Errorf("got %v once there is room", err)
	}
}

func TestNinthConnectionClosesTheOldest(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(1)
		all := []*fakeSink{sinks[0]}
		for range MaxSinks {
			s := &fakeSink{line: b.line}
			if v, err := b.hub.Return(b.Context(), show, sessions[0].epoch, sessions[0].place, s); err != nil || v != sessions[0] {
				b.Fatalf("got %v, %v, want the same session", v, err)
			}
			all = append(all, s)
		}
		if got := types(all[0].take()); !slices.Equal(got[len(got)-2:], []string{"error too_many_tabs", "close 4500"}) {
			b.Errorf("the oldest: got %v", got)
		}
		sessions[0].Detach(all[0])
		b.pass(PositionTick)
		for i, s := range all[1:] {
			if got := types(s.take()); !slices.Contains(got, "position") || slices.Contains(got, "close 4500") {
				b.Errorf("connection %d: got %v", i+1, got)
			}
			sessions[0].Detach(s)
		}
		if !b.hub.empty(show) {
			b.Error("got a session kept without a connection")
		}
	})
}

func (c *Hub) empty(name room.Name) bool {
	r, _ := c.find(name)
	r.roster.mu.Lock()
	defer r.roster.mu.Unlock()
	return len(r.roster.sessions) == 0 && r.roster.people == 0 && r.roster.due.Len() == 0
}

// Nobody here: nothing is read.
func TestEmptyRoomRests(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(3)
		b.pass(PositionTick)
		for i, v := range sessions {
			v.Detach(sinks[i])
		}
		b.pass(2 * PositionTick)
		before := b.line.count("snapshot") + b.line.count("turn")
		b.pass(time.Minute)
		if got := b.line.count("snapshot") + b.line.count("turn"); got != before {
			b.Errorf("got %d reads of an empty room", got-before)
		}
	})
}

// A busy connection gets the newest position once it is free, never an old one.
func TestBusyGetsTheLatest(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(20)
		b.pass(PositionTick)
		s := sinks[19]
		s.take()
		s.mu.Lock()
		s.busy = true
		s.mu.Unlock()
		for range 5 {
			b.line.admit(2)
			b.pass(PositionTick)
		}
		s.mu.Lock()
		s.busy = false
		s.mu.Unlock()
		b.pass(PositionTick)
		heard := s.take()
		if len(heard) != 1 || heard[0].Position != 10 {
			b.Errorf("got %+v, want position 10 only", heard)
		}
	})
}

// While the line is away connections stay and hear stalled; then it goes on.
func TestAwayAndBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(3)
		b.pass(3 * PositionTick)
		sinks[2].take()
		b.line.set(func() { b.line.away = true })
		b.pass(PositionTick + PositionTick/2)
		if got := types(sinks[2].take()); slices.Contains(got, "room stalled") {
			b.Errorf("got %v after a second and a half: a blip is nobody's business", got)
		}
		b.pass(13 * PositionTick)
		got := types(sinks[2].take())
		if len(got) < 3 || slices.ContainsFunc(got, func(t string) bool { return t != "room stalled" }) {
			b.Errorf("got %v, want stalled as the beat", got)
		}
		b.line.set(func() { b.line.away = false })
		b.line.admit(1)
		b.pass(2 * PositionTick)
		heard := sinks[2].take()
		if got := types(heard); !slices.Equal(got, []string{"room open", "position"}) || heard[1].Position != 2 {
			b.Errorf("got %v, want open and position 2", heard)
		}
	})
}

// A line that knows less than we do is not believed: no position, nobody spent.
func TestLostWritesAreNotBelieved(t *testing.T) {
	inBubble(t, func(b *bench) {
		_, sinks := b.join(10)
		b.pass(PositionTick)
		for _, s := range sinks {
			s.take()
		}
		var lost []room.Place
		b.line.set(func() {
			b.line.seq, b.line.queue, lost, b.line.fences = 4, b.line.queue[:4:4], b.line.queue[4:], false
		})
		b.pass(3 * PositionTick)
		for i, s := range sinks {
			if got := types(s.take()); !slices.Equal(got, []string{"room recovering"}) {
				b.Errorf("visitor %d: got %v, want recovering only", i, got)
			}
		}
		b.line.set(func() { b.line.seq, b.line.queue = 10, append(b.line.queue, lost...) })
		b.pass(6 * PositionTick)
		for i, s := range sinks {
			heard := s.take()
			if got := types(heard); len(got) < 2 || got[0] != "room open" || heard[1].Position != room.Position(i+1) {
				b.Errorf("visitor %d: got %v, want open and its position", i, heard)
			}
		}
	})
}

func TestRoomMessages(t *testing.T) {
	inBubble(t, func(b *bench) {
		opens := time.Now().Add(10 * time.Second)
		b.line.set(func() { b.line.conf.State, b.line.conf.OpensAt = room.Opening, opens })
		_, sinks := b.join(1)
		b.pass(PositionTick)
		if got := types(sinks[0].take()); !slices.Equal(got, []string{"room opening", "position"}) {
			b.Errorf("got %v", got)
		}
		b.pass(10 * PositionTick)
		if got := types(sinks[0].take()); !slices.Contains(got, "room open") {
			b.Errorf("at its time: got %v, want open", got)
		}
		for _, c := range []struct {
			change func()
			want   string
		}{
			{func() { b.line.conf.State = room.Paused }, "room paused"},
			{func() { b.line.conf.State, b.line.conf.MaxWaiting = room.Open, 1 }, "room full"},
			{func() { b.line.conf.SoldOut = true }, "room sold_out"},
			{func() { b.line.conf.State = room.Closed }, "room closed"},
		} {
			b.line.set(c.change)
			b.pass(PositionTick + TurnTick)
			if got := types(sinks[0].take()); !slices.Contains(got, c.want) {
				b.Errorf("got %v, want %s", got, c.want)
			}
		}
	})
}

func TestAnotherEpochAndDeletion(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(3)
		b.pass(PositionTick)
		sinks[0].take()
		b.line.set(func() { b.line.conf.Epoch, b.line.seq, b.line.queue, b.line.gone = "bbbbbbbb", 0, nil, nil })
		b.pass(2 * PositionTick)
		if got := types(sinks[0].take()); !slices.Equal(got, []string{"error place_other_epoch", "close 4502"}) {
			b.Errorf("got %v", got)
		}
		for i, v := range sessions {
			v.Detach(sinks[i])
		}
		anew, sunk := b.join(2)
		if anew[0].place.Number != 1 || anew[0].epoch != "bbbbbbbb" {
			b.Errorf("got %+v of %s, want number 1 of the new line", anew[0].place, anew[0].epoch)
		}
		b.line.delete()
		b.pass(2 * PositionTick)
		if got := types(sunk[0].take()); !slices.Contains(got, "error room_deleted") || got[len(got)-1] != "close 4501" {
			b.Errorf("got %v, want room_deleted", got)
		}
		if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrDeleted) {
			b.Errorf("got %v, want %v", err, room.ErrDeleted)
		}
		b.line.set(func() { b.line.listed, b.line.deleted = true, false })
		b.pass(PositionTick)
		b.join(1)
	})
}

// Tabs come and go while ticks run and acts are under way; the race detector
// looks on.
func TestManyAtOnce(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(50)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i, v := range sessions {
			wg.Go(func() {
				<-start
				for range 10 {
					s := &fakeSink{}
					w, err := b.hub.Return(b.Context(), show, v.epoch, v.place, s)
					if err != nil {
						b.Errorf("return: %v", err)
						return
					}
					time.Sleep(time.Duration(i) * time.Millisecond)
					if i%3 == 0 {
						_ = w.Claim(b.Context()) // too early, or its turn
					}
					w.Detach(s)
				}
				if i%5 == 0 {
					_ = v.Leave(b.Context()) // or it was admitted and claimed
				}
				v.Detach(sinks[i])
			})
		}
		wg.Go(func() {
			<-start
			for range 20 {
				b.line.admit(1)
				time.Sleep(50 * time.Millisecond)
			}
		})
		close(start)
		wg.Wait()
		b.pass(PositionTick)
		if !b.hub.empty(show) {
			b.Error("got sessions kept without a connection")
		}
	})
}

func TestETA(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	snap := func(s int, admitted int64, change func(*room.Snapshot)) room.Snapshot {
		conf := room.DefaultConf()
		conf.State, conf.Rate = room.Open, 10_000
		r := room.Snapshot{Conf: conf, Now: start.Add(time.Duration(s) * time.Second), Waiting: 100, Admitted: admitted}
		if change != nil {
			change(&r)
		}
		return r
	}
	for _, c := range []struct {
		name     string
		speed    int64 // admitted per second
		change   func(*room.Snapshot)
		seconds  int
		unknown  bool
		low, hig int64 // at position 100
	}{
		{"nothing measured yet", 10, nil, 4, true, 0, 0},
		{"at the set rate", 10, nil, 20, false, 10, 13},
		{"half of it: the shop is slow", 5, nil, 20, false, 18, 25},
		{"nobody moves", 0, nil, 20, true, 0, 0},
		{"paused", 10, func(s *room.Snapshot) { s.Conf.State = room.Paused }, 20, true, 0, 0},
		{"the line ran empty", 10, func(s *room.Snapshot) {
			if s.Now.Equal(start.Add(18 * time.Second)) {
				s.Waiting = 0
			}
		}, 20, true, 0, 0},
		{"the rate was changed", 10, func(s *room.Snapshot) {
			if s.Now.After(start.Add(18 * time.Second)) {
				s.Conf.Rate = 20_000
			}
		}, 20, true, 0, 0},
	} {
		var o outflow
		var f flow
		for i := range c.seconds + 1 {
			f = o.add(snap(i, int64(i)*c.speed, c.change))
		}
		low, high := f.eta(100)
		if (low < 0) != c.unknown || (!c.unknown && (low != c.low || high != c.hig)) {
			t.Errorf("%s: got %d to %d s, want %d to %d, unknown %t", c.name, low, high, c.low, c.hig, c.unknown)
		}
	}
}

type nothing struct{}

func (nothing) TrySend([]byte) bool { return true }
func (nothing) Send(...[]byte)      {}
func (nothing) Close(wire.Code)     {}

var exactRule = cadence.NewController(cadence.Exact).Plan().Rule(0, 0)

// full is a room with n waiting sessions, every third place before them gone.
func full(n int) (*roomHub, room.Snapshot) {
	r := newRoomHub(&Hub{began: time.Now()}, show)
	s := room.Snapshot{Seq: room.Number(n * 3 / 2), Head: 1, Waiting: int64(n), Gone: make([]byte, n*3/2/8+1)}
	for i := room.Number(1); i <= s.Seq; i++ {
		if i%3 == 0 {
			s.Gone[i>>3] |= 0x80 >> (i & 7)
			continue
		}
		v := &Session{room: r, place: room.Place{Number: i}, sinks: []Sink{nothing{}}, beat: 6000}
		r.roster.waiting = append(r.roster.waiting, item{i, v})
	}
	return r, s
}

func TestPositionsDoNotAllocate(t *testing.T) {
	r, s := full(2000)
	tick := &r.positions
	tick.compile(&r.roster, s, true)
	var out sender
	out.walk(t.Context(), tick.plan[:1], 0, 1, time.Now(), 0, &news{exact: true, rule: exactRule, hub: r.hub})
	n := news{exact: true, rule: exactRule, waiting: 2000, flow: flow{fast: 2, slow: 1}, hub: r.hub}
	if got := testing.AllocsPerRun(20, func() {
		tick.compile(&r.roster, s, true)
		for i := range tick.plan {
			tick.plan[i].session.last = 0
		}
		out.sent = 0
		out.walk(t.Context(), tick.plan, 0, 1, time.Now(), 0, &n)
	}); got != 0 {
		t.Errorf("got %v allocations for 2,000 positions, want 0", got)
	}
	if want := len(tick.plan); out.sent != want {
		t.Errorf("got %d positions sent, want %d", out.sent, want)
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, s := full(n)
			b.ReportAllocs()
			for b.Loop() {
				r.positions.compile(&r.roster, s, true)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/visitor")
		})
	}
}

func BenchmarkTell(b *testing.B) {
	r, s := full(1000)
	r.positions.compile(&r.roster, s, true)
	n := news{exact: true, rule: exactRule, waiting: 1000, flow: flow{fast: 2, slow: 1}, hub: r.hub}
	out := sender{buf: make([]byte, 0, 160)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := r.positions.plan[i%len(r.positions.plan)]
		p.session.last = 0
		out.tell(p, &n)
	}
}

// The order of numbers survives every merge.
func TestCompactKeepsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	c := newRoomHub(&Hub{began: time.Now()}, show)
	r := &c.roster
	want := map[room.Number]bool{}
	for range 200 {
		for range rng.IntN(10) {
			n := room.Number(rng.IntN(5000) + 1)
			if want[n] {
				continue
			}
			want[n] = true
			r.moved(&Session{room: c, place: room.Place{Number: n}})
		}
		if len(r.waiting) > 0 && rng.IntN(2) == 0 {
			s := r.waiting[rng.IntN(len(r.waiting))].session
			s.state.Store(over)
			r.moved(s)
			delete(want, s.place.Number)
		}
		r.compact()
		var got []string
		for i, it := range r.waiting {
			if i > 0 && r.waiting[i-1].number >= it.number {
				t.Fatalf("got %d after %d", it.number, r.waiting[i-1].number)
			}
			if !want[it.number] {
				got = append(got, fmt.Sprint(it.number))
			}
		}
		if len(got) > 0 || len(r.waiting) != len(want) {
			t.Fatalf("got %d waiting, want %d; too many: %s", len(r.waiting), len(want), strings.Join(got, " "))
		}
	}
}

// overSink notes when its visitor hears that the place is used up while a join
// that follows at once would still be refused.
type overSink struct {
	*fakeSink
	session *Session
	early   []string
}

func (s *overSink) Send(texts ...[]byte) {
	for _, text := range texts {
		s.send(text)
	}
}

func (s *overSink) send(text []byte) {
	s.fakeSink.Send(text)
	for _, typ := range []string{"missed", "spent", "left"} {
		if string(text) == `{"type":"`+typ+`"}` && !s.session.Over() {
			s.early = append(s.early, typ)
		}
	}
}

func TestWhoHearsTheEndMayJoinAgainAtOnce(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.conf.Claim = time.Second })
		var sinks []*overSink
		for range 3 { // one misses, one is in the shop until the pass ends, one leaves
			s := &overSink{fakeSink: &fakeSink{line: b.line}}
			v, err := b.hub.Join(b.Context(), show, s)
			if err != nil {
				b.Fatal(err)
			}
			s.session = v
			sinks = append(sinks, s)
		}
		b.pass(PositionTick)
		b.line.admit(2)
		b.pass(2 * TurnTick)
		if err := sinks[1].session.Claim(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := sinks[2].session.Leave(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.pass(2*time.Second + b.line.conf.Pass)
		for i, want := range []string{"missed", "spent", "left"} {
			if got := types(sinks[i].take()); !slices.Contains(got, want) {
				b.Errorf("visitor %d: got %v, want %s among them", i, got, want)
			}
			if len(sinks[i].early) > 0 {
				b.Errorf("visitor %d heard %v before it was over", i, sinks[i].early)
			}
		}
	})
}

// A newcomer may have gone or been admitted before the first compact sees it.
func TestCompactFiltersNewcomers(t *testing.T) {
	r := newRoomHub(&Hub{process: "test"}, show)
	for n, state := range []standing{waiting, detached, admitted} {
		s := &Session{room: r, place: room.Place{Number: room.Number(n + 1)}, inWaiting: true}
		s.state.Store(state)
		r.roster.fresh = append(r.roster.fresh, item{s.place.Number, s})
	}
	r.roster.dirty = true
	r.roster.compact()
	if w := r.roster.waiting; len(w) != 1 || w[0].number != 1 {
		t.Errorf("got %d waiting, want number 1 alone", len(w))
	}
}
