package hub

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/room"
)

// A visitor who claims and buys on another node has missed nothing; one who lets the
// time pass has. A node that could not look for the last second can't tell.
func TestFinishedElsewhereIsNotMissed(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.conf.Claim = 10 * time.Second })
		sessions, sinks := b.join(3)
		b.line.admit(3)
		b.pass(2 * TurnTick)
		elsewhere := sessions[0].place.Visitor
		b.pass(2 * time.Second)
		b.line.set(func() { delete(b.line.pending, elsewhere); b.line.active[elsewhere] = time.Now().Add(time.Minute) })
		b.pass(2 * time.Second)
		b.line.set(func() { delete(b.line.active, elsewhere) })
		b.pass(10 * time.Second)
		if got := types(sinks[0].take()); slices.Contains(got, "missed") || !slices.Contains(got, "spent") {
			b.Errorf("who bought on another node: got %v, want spent and not missed", got)
		}
		if got := types(sinks[1].take()); !slices.Contains(got, "missed") {
			b.Errorf("who let the time pass: got %v, want missed", got)
		}
	})
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.conf.Claim = 10 * time.Second })
		_, sinks := b.join(1)
		b.line.admit(1)
		b.pass(5 * time.Second)
		b.line.set(func() { b.line.away = true })
		b.pass(6 * time.Second)
		b.line.set(func() { b.line.away = false })
		b.pass(time.Second)
		if got := types(sinks[0].take()); slices.Contains(got, "missed") || !slices.Contains(got, "spent") {
			b.Errorf("after a last second in the dark: got %v, want spent, which says both", got)
		}
	})
}

// late is a line whose answer to one return is held back, as on a slow connection.
type late struct {
	*fakeLine
	mu    sync.Mutex
	hold  bool
	holds chan struct{}
}

func (l *late) Rejoin(ctx context.Context, name room.Name, by room.Caller, places []room.Place) ([]room.Stand, error) {
	stands, err := l.fakeLine.Rejoin(ctx, name, by, places)
	l.mu.Lock()
	hold := l.hold
	l.hold = false
	l.mu.Unlock()
	if hold {
		<-l.holds
	}
	return stands, err
}

// A tab whose answer was on its way while another tab claimed hears the pass too;
// one whose answer is older than the admission hears of its turn.
func TestReturnWithAStaleAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(b *bench)             // the answer is made after this,
		behind func(b *bench, s *Session) // and arrives after this
		want   string
	}{
		{"another tab claims", func(b *bench) { b.line.admit(1); b.pass(2 * TurnTick) },
			func(b *bench, s *Session) { _ = s.Claim(b.Context()) }, "pass"},
		{"it is admitted", func(*bench) {}, func(b *bench, _ *Session) { b.line.admit(1); b.pass(2 * TurnTick) }, "admitted"},
		{"it is admitted and another tab claims", func(*bench) {},
			func(b *bench, s *Session) { b.line.admit(1); b.pass(2 * TurnTick); _ = s.Claim(b.Context()) }, "pass"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				l := &late{fakeLine: b.line, holds: make(chan struct{})}
				b.hub.line = l
				sessions, sinks := b.join(1)
				b.pass(PositionTick)
				c.before(b)
				l.mu.Lock()
				l.hold = true
				l.mu.Unlock()
				tab := &fakeSink{}
				done := make(chan error, 1)
				go func() {
					_, err := b.hub.Return(b.Context(), show, sessions[0].epoch, sessions[0].place, tab)
					done <- err
				}()
				b.pass(5 * time.Millisecond) // the line has answered; the answer is held
				c.behind(b, sessions[0])
				sinks[0].take()
				close(l.holds)
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				b.pass(3 * TurnTick)
				if got := types(tab.take()); !slices.Contains(got, c.want) {
					b.Errorf("the late tab: got %v, want %s", got, c.want)
				}
				if got := types(sinks[0].take()); slices.Contains(got, c.want) {
					b.Errorf("the other tab: got %v, want %s not told twice", got, c.want)
				}
			})
		})
	}
}

// A claim before its time costs the line nothing while the turn ticks are good; what
// they can't know goes to the line.
func TestEarlyClaimIsAnsweredHere(t *testing.T) {
	inBubble(t, func(b *bench) {
		sessions, sinks := b.join(3)
		b.pass(PositionTick + PositionTick/2)
		sinks[1].take()
		for range 20 {
			if err := sessions[1].Claim(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		if got := b.line.count("claim"); got != 0 {
			b.Errorf("got %d scripts for claims before their time, want none", got)
		}
		b.pass(PositionTick)
		if got := types(sinks[1].take()); !slices.Equal(got, []string{"position"}) {
			b.Errorf("got %v, want the position again", got)
		}
		b.line.admit(1)
		b.pass(2 * TurnTick)
		if err := sessions[0].Claim(b.Context()); err != nil || b.line.count("claim") != 1 {
			b.Errorf("a claim in its time: got %v and %d scripts, want one", err, b.line.count("claim"))
		}
		// The line is away: nobody knows who is admitted, so the line is asked.
		b.line.set(func() { b.line.away = true })
		b.pass(turnGood + TurnTick)
		go func() { time.Sleep(time.Second); b.line.set(func() { b.line.away = false }) }()
		b.line.admit(1)
		if err := sessions[1].Claim(b.Context()); err != nil {
			b.Fatal(err)
		}
		if got := types(sinks[1].take()); !slices.Contains(got, "pass") {
			b.Errorf("a claim while turns could not be read: got %v, want the pass", got)
		}
	})
}

// Places of an older line come with a crowd once a room is made anew. They cost no
// read each, and one of a line that is newer than our last read is let in.
func TestStrangersCostNoReads(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.join(1)
		b.pass(3 * PositionTick)
		before := b.line.count("snapshot")
		start := time.Now()
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				_, err := b.hub.Return(b.Context(), show, "older234", room.Place{Visitor: room.NewVisitorID(), Number: 1}, &fakeSink{})
				if !errors.Is(err, room.ErrEpoch) {
					b.Errorf("got %v, want %v", err, room.ErrEpoch)
				}
			})
			b.pass(time.Millisecond)
		}
		wg.Wait()
		if took := time.Since(start); took > 3*PositionTick {
			b.Errorf("got the last answer after %s, want it by the tick after it came", took)
		}
		if got := b.line.count("snapshot") - before; got > 3 {
			b.Errorf("got %d reads for 500 places of another line, want those of the ticks", got)
		}
		// The line is made anew, and a place of it comes before we have read it.
		var fresh room.Place
		b.line.set(func() {
			fresh = room.Place{Visitor: room.NewVisitorID(), Number: 1}
			b.line.conf.Epoch, b.line.seq, b.line.queue, b.line.gone = "newer234", 1, []room.Place{fresh}, nil
		})
		if s, err := b.hub.Return(b.Context(), show, "newer234", fresh, &fakeSink{}); err != nil || s.place != fresh {
			b.Errorf("a place of a line made anew: got %v, want it let in", err)
		}
	})
}

// slowReads answers the first read late, with what was so when it was asked.
type slowReads struct {
	mu    sync.Mutex
	calls int
	hold  chan struct{}
	epoch room.Epoch
}

func (s *slowReads) Snapshot(context.Context, room.Name, int64) (room.Snapshot, error) {
	s.mu.Lock()
	s.calls++
	first, conf := s.calls == 1, room.DefaultConf()
	conf.Epoch = s.epoch
	s.mu.Unlock()
	if first {
		<-s.hold
	}
	return room.Snapshot{Conf: conf, Head: 1}, nil
}

func (s *slowReads) Turn(context.Context, room.Name, int64) (room.Turn, error) {
	return room.Turn{}, nil
}
func (s *slowReads) Stands(context.Context, room.Name, []room.Place) ([]room.Stand, error) {
	return nil, nil
}

// A read of the older line that comes late does not bring it back.
func TestLateReadDoesNotTurnTheEpochBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &slowReads{epoch: "older234", hold: make(chan struct{})}
		v := newView(show, "", line, func(context.Context, string, error) {})
		var wg sync.WaitGroup
		wg.Go(func() { _, _, _ = v.read(t.Context()) })
		synctest.Wait()
		line.mu.Lock()
		line.epoch = "newer234"
		line.mu.Unlock()
		wg.Go(func() { _, _, _ = v.read(t.Context()) })
		synctest.Wait()
		close(line.hold)
		wg.Wait()
		if got := v.caller().Epoch; got != "newer234" {
			t.Errorf("got epoch %s, want the newer one", got)
		}
		// A read that waited too long for another one is an error, and changes nothing.
		line.mu.Lock()
		line.calls, line.hold = 0, make(chan struct{})
		line.mu.Unlock()
		wg.Go(func() { _, _, _ = v.read(t.Context()) })
		synctest.Wait()
		start := time.Now()
		if _, _, err := v.read(t.Context()); err == nil || time.Since(start) > readLimit {
			t.Errorf("got %v after %s behind a read that hangs, want an error within %s", err, time.Since(start), readLimit)
		}
		close(line.hold)
		wg.Wait()
	})
}

// An operator reads that the line is away, once with its cause while it lasts and
// once when it is back; and of a fault, which no visitor's patience cures.
func TestOutagesAreLogged(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.join(3)
		b.pass(PositionTick)
		lines := func() (l []string) {
			for _, e := range b.logs.TakeAll() {
				l = append(l, e.Level.String()+" "+strings.Fields(e.Message)[2])
			}
			return l
		}
		b.line.set(func() { b.line.away = true })
		b.pass(time.Second)
		b.line.set(func() { b.line.away = false })
		b.pass(10 * time.Second)
		if got := lines(); got != nil {
			b.Errorf("a blip: got %v", got)
		}
		b.line.set(func() { b.line.away = true })
		b.pass(45 * time.Second) // short of what has visitors sent away
		if got := lines(); !slices.Equal(got, []string{"warn does"}) {
			b.Errorf("away for 45 s: got %v, want one warning", got)
		}
		b.line.set(func() { b.line.away = false })
		b.pass(10 * time.Second)
		if got := lines(); !slices.Equal(got, []string{"info answers"}) {
			b.Errorf("back: got %v, want one line", got)
		}
		b.line.set(func() { b.line.fault = errors.New("NOAUTH Authentication required") })
		start := time.Now()
		if _, err := b.hub.Join(b.Context(), show, &fakeSink{}); !errors.Is(err, room.ErrAway) || time.Since(start) > time.Second {
			b.Errorf("a join that meets a fault: got %v after %s, want away at once: trying again is no cure", err, time.Since(start))
		}
		b.pass(10 * time.Second)
		// Of the join or its read, of both ticks, of pulses, marks and who is present.
		calls := slices.Repeat([]string{"error answers"}, 6)
		if got := lines(); len(got) > len(calls) || !slices.Equal(got, calls[:len(got)]) || len(got) == 0 {
			b.Errorf("a fault: got %v, want one error for each call that met it", got)
		}
	})
}

// lateClaim holds back the answer to one claim.
type lateClaim struct {
	*fakeLine
	mu    sync.Mutex
	hold  bool
	holds chan struct{}
}

func (l *lateClaim) Claim(ctx context.Context, n room.Name, by room.Caller, p room.Place) (room.Stand, error) {
	s, err := l.fakeLine.Claim(ctx, n, by, p)
	l.mu.Lock()
	h := l.hold
	l.hold = false
	l.mu.Unlock()
	if h {
		<-l.holds
	}
	return s, err
}

// A claim whose answer was under way while the turn was told does not take it back.
func TestLateClaimTakesTheTurnBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		l := &lateClaim{fakeLine: b.line, holds: make(chan struct{}), hold: true}
		b.hub.line = l
		sessions, sinks := b.join(1)
		b.pass(PositionTick)
		b.hub.mu.Lock()
		r := b.hub.rooms[show]
		b.hub.mu.Unlock()
		r.turns.good.Store(0) // the last turn tick was not good just now
		done := make(chan error, 1)
		go func() { done <- sessions[0].Claim(b.Context()) }()
		b.pass(time.Millisecond)
		b.line.admit(1)
		b.pass(2 * TurnTick)
		sinks[0].take()
		close(l.holds)
		<-done
		// the visitor has heard admitted and claims at once
		_ = sessions[0].Claim(b.Context())
		b.pass(3 * TurnTick)
		got := types(sinks[0].take())
		if !slices.Contains(got, "pass") || slices.Contains(got, "admitted") {
			b.Errorf("after admitted, a claim: got %v, want the pass and admitted not again", got)
		}
	})
}

// A claim in the moment the turn is told: the turn stays, and is told once.
func TestClaimInTheMomentOfTheTurn(t *testing.T) {
	bad, twice := 0, 0
	for range 300 {
		inBubble(t, func(b *bench) {
			sessions, sinks := b.join(1)
			b.pass(PositionTick)
			s := sessions[0]
			b.line.admit(1)
			st := room.Stand{Standing: room.Unclaimed, Left: time.Minute}
			start := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() { <-start; _ = s.Claim(b.Context()) })
			wg.Go(func() { <-start; s.apply(isUnclaimed, st, nobody, nil) })
			close(start)
			wg.Wait()
			if s.standing() == waiting {
				bad++
			}
			b.pass(2 * TurnTick)
			n := 0
			for _, x := range types(sinks[0].take()) {
				if x == "admitted" {
					n++
				}
			}
			if n > 1 {
				twice++
			}
		})
	}
	if bad > 0 {
		t.Errorf("%d of 300 were put back to waiting after `admitted`, %d told twice", bad, twice)
	}
}

// An admission that the line lost is told as a position again, and not looked up for
// ever.
func TestLostAdmissionIsTold(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.set(func() { b.line.conf.Claim = 10 * time.Second })
		sessions, sinks := b.join(2)
		b.pass(PositionTick)
		b.line.admit(1)
		b.pass(2 * TurnTick)
		p := sessions[0].place
		b.line.set(func() { // the line lost its last second of writes
			delete(b.line.pending, p.Visitor)
			b.line.queue = append([]room.Place{p}, b.line.queue...)
			b.line.gone = nil
			b.line.admitted--
		})
		sinks[0].take()
		b.pass(20 * time.Second)
		before := b.line.count("stands")
		b.pass(10 * time.Second)
		if got := types(sinks[0].take()); !slices.Contains(got, "position") {
			b.Errorf("lost admission, 20 s after its deadline: got %v, want its position", got)
		}
		if n := b.line.count("stands") - before; n > 2 {
			b.Errorf("got %d look-ups in 10 s for it, for ever", n)
		}
	})
}

// A tab with a stale answer hears of its turn even if the second question fails.
func TestStaleThenAway(t *testing.T) {
	inBubble(t, func(b *bench) {
		l := &late{fakeLine: b.line, holds: make(chan struct{})}
		b.hub.line = l
		sessions, _ := b.join(1)
		b.pass(PositionTick)
		l.hold = true
		tab := &fakeSink{}
		done := make(chan error, 1)
		go func() {
			_, err := b.hub.Return(b.Context(), show, sessions[0].epoch, sessions[0].place, tab)
			done <- err
		}()
		b.pass(5 * time.Millisecond)
		b.line.admit(1)
		b.pass(2 * TurnTick)
		b.line.set(func() { b.line.away = true })
		close(l.holds)
		err := <-done
		b.line.set(func() { b.line.away = false })
		b.pass(10 * time.Second)
		got := types(tab.take())
		if !slices.Contains(got, "admitted") {
			b.Errorf("late tab after an outage: got %v (%v), want admitted", got, err)
		}
	})
}

// The series of a room go with it, and do not come back with what was under way.
func TestSeriesOfAGoneRoom(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.others = []room.Name{"other"}
		b.join(3000)
		b.pass(3*PositionTick + PositionTick/2)
		b.line.delete()
		b.pass(5 * PositionTick)
		if n := series(b.hub.metrics.positions); n != 0 {
			b.Errorf("got %d series of positions_sent_total after the only room was deleted, want 0", n)
		}
		if n := series(b.hub.metrics.joins); n != 0 {
			b.Errorf("got %d series of joins_total, want 0", n)
		}
		if n := series(b.hub.metrics.turns); n != 0 {
			b.Errorf("got %d series of turns, want 0", n)
		}
	})
}

// A join that is held or under way when its room goes.
func TestJoinUnderWayWhenTheRoomGoes(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.others = []room.Name{"other"}
		b.join(1)
		b.pass(PositionTick + PositionTick/2)
		got := make(chan error, 1)
		go func() {
			_, err := b.hub.Return(b.Context(), show, "newer234", room.Place{Visitor: room.NewVisitorID(), Number: 1}, &fakeSink{})
			got <- err
		}()
		b.pass(10 * time.Millisecond)
		b.line.delete()
		if err := <-got; !errors.Is(err, room.ErrDeleted) {
			b.Errorf("a return held while its room is deleted: got %v, want deleted", err)
		}
		b.pass(5 * PositionTick)
		if n := series(b.hub.metrics.joins); n != 0 {
			b.Errorf("got %d series of joins_total, want 0", n)
		}
	})
}

// series counts what is kept of the room, and deletes it.
func series(c interface{ DeletePartialMatch(prometheus.Labels) int }) int {
	return c.DeletePartialMatch(prometheus.Labels{"room": string(show)})
}
