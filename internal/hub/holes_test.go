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

	"waitroom/internal/room"
)

// A visitor who claims and buys on another node has missed nothing; one who lets the
// time pass has. A node that could not look for the last second can't tell.
func TestFinishedElsewhereIsNotMissed(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.line.conf.Claim = 10 * time.Second
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
		b.line.conf.Claim = 10 * time.Second
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
				time.Sleep(time.Duration(len(b.line.joins)) * time.Millisecond)
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
		v := newView(show, line, func(context.Context, string, error) {})
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
		b.pass(time.Minute)
		if got := lines(); !slices.Equal(got, []string{"warn does"}) {
			b.Errorf("away for a minute: got %v, want one warning", got)
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
		calls := []string{"error answers", "error answers", "error answers"} // of the join or its read, and of both ticks
		if got := lines(); len(got) > len(calls) || !slices.Equal(got, calls[:len(got)]) || len(got) == 0 {
			b.Errorf("a fault: got %v, want one error for each call that met it", got)
		}
	})
}
