package line

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// saved remembers the line as it is; back makes it that again, as a loss does.
func saved(t *testing.T, rdb redis.UniversalClient, name room.Name) (back func()) {
	t.Helper()
	ctx := background()
	copied := func(from, to string) {
		t.Helper()
		if err := errors.Join(rdb.Del(ctx, to).Err(), rdb.Copy(ctx, from, to, 0, true).Err()); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range presenceKeysOf(name) {
		copied(key, key+":saved")
		t.Cleanup(func() { rdb.Del(ctx, key+":saved") })
	}
	return func() {
		t.Helper()
		for _, key := range presenceKeysOf(name) {
			copied(key+":saved", key)
		}
		restarted(t, rdb, name)
	}
}

// All that the line knows to be alive have told their marks, and somebody else gave
// numbers: whom it did not know, or took for dead, or whose mark was told by a call from
// before. They have two seconds to find out and to tell.
func TestMarksOfWhomNobodyAsks(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, c := range []struct {
			what   string
			before func(report func(process string), pass func(time.Duration))
			after  func(report func(process string))
		}{
			{what: "its first call in the room is lost"},
			{what: "it spoke last 40 s before the others", before: func(report func(string), pass func(time.Duration)) {
				report("q")
				pass(40 * time.Second)
			}},
			{what: "the client sends a call of before again",
				before: func(report func(string), _ func(time.Duration)) { report("q") },
				after:  func(report func(string)) { report("q") }},
		} {
			clock := newHand()
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			by := func(process string, mark room.Number) room.Caller {
				return room.Caller{Epoch: conf.Epoch, Process: process, Mark: mark}
			}
			report := func(process string) {
				t.Helper()
				if _, _, err := l.Report(ctx, name, by(process, 0)); err != nil {
					t.Fatal(err)
				}
			}
			if c.before != nil {
				c.before(report, clock.pass)
			}
			report("p")
			back := saved(t, rdb, name)
			ids := visitors(3)
			clock.pass(500 * time.Millisecond)
			lost, err := l.Join(ctx, name, by("q", 0), room.Lane{Name: "q-1", Batch: 1}, ids)
			if err != nil {
				t.Fatal(err)
			}
			back()
			if c.after != nil {
				c.after(report)
			}
			join := func() (room.Joined, error) {
				return l.Join(ctx, name, by("p", 0), room.Lane{Name: "p-1", Batch: 1}, visitors(2))
			}
			if joined, err := join(); !errors.Is(err, room.ErrRecovering) {
				t.Errorf("%s: a join at once: got %+v, %v, want %v", c.what, joined, err, room.ErrRecovering)
			}
			clock.pass(1500 * time.Millisecond)
			if _, asking, err := l.Report(ctx, name, by("q", lost.Mark())); err != nil || !asking {
				t.Errorf("%s: its mark: got asking %v, %v, want it heard", c.what, asking, err)
			}
			clock.pass(time.Second)
			joined, err := join()
			if err != nil || joined.First != lost.Mark()+1 {
				t.Errorf("%s: a join then: got %+v, %v, want number %d", c.what, joined, err, lost.Mark()+1)
			}
			stands, err := l.Rejoin(ctx, name, by("q", lost.Mark()), []room.Place{{Visitor: ids[0], Number: lost.First}})
			if err != nil || stands[0].Standing != room.Waiting {
				t.Errorf("%s: the first of those who were lost: got %+v, %v, want the place back", c.what, stands, err)
			}
		}
	})
}

// A loss hides neither a clock that steps back with it nor one that does so after it:
// a slot is taken for a claim's or a pass's time at most.
func TestClockStepsBackWithALoss(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, c := range []struct {
			what        string
			with, after time.Duration
			claimed     bool
		}{
			{what: "an hour, with a promotion", with: time.Hour, claimed: true},
			{what: "50 minutes, after a restart", after: 50 * time.Minute},
		} {
			clock := newHand()
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			conf.MaxActive, conf.Claim, conf.Pass = 5, 2*time.Minute, 10*time.Minute
			name := create(t, l, conf)
			by := caller(conf.Epoch)
			clock.pass(time.Hour)
			places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 20)
			by.Mark = 20
			clock.pass(time.Second)
			lose := func() {
				t.Helper()
				restarted(t, rdb, name)
				clock.pass(-c.with)
				for range 4 { // until nobody is asked any more
					if _, err := l.Admit(ctx, name, by, 0); err != nil {
						t.Fatal(err)
					}
					clock.pass(time.Second)
				}
			}
			if c.after > 0 {
				lose()
			}
			admit(t, l, name, conf, 5)
			for _, p := range places[:5] {
				if !c.claimed {
					break
				}
				if _, err := l.Claim(ctx, name, by, p); err != nil {
					t.Fatal(err)
				}
			}
			if c.after == 0 {
				lose()
			}
			clock.pass(-c.after)
			for range 4 {
				if _, err := l.Admit(ctx, name, by, 0); err != nil {
					t.Fatal(err)
				}
			}
			clock.pass(conf.Pass + conf.Claim)
			if round, err := l.Admit(ctx, name, by, 10); err != nil || round.Admitted != 5 {
				t.Errorf("%s: after a claim's and a pass's time: got %+v, %v, want 5 let in", c.what, round, err)
			}
		}
	})
}
