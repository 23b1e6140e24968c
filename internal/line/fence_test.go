package line

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// restarted makes a line look as after a restart of Redis: its replication id is
// another one than that under which it last wrote.
func restarted(t *testing.T, rdb redis.UniversalClient, name room.Name) {
	t.Helper()
	if err := rdb.HSet(background(), lifeKey(name), "replid", "before").Err(); err != nil {
		t.Fatal(err)
	}
}

// A restart that lost nothing costs no number, and joins wait two seconds and for the
// processes that were alive: each tells its mark.
func TestRestartCostsNothing(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		p, q := room.Caller{Epoch: conf.Epoch, Process: "p"}, room.Caller{Epoch: conf.Epoch, Process: "q"}
		joined, err := l.Join(ctx, name, p, room.Lane{Name: "p-1", Batch: 1}, visitors(5))
		if err != nil {
			t.Fatal(err)
		}
		p.Mark = joined.Mark()
		if _, _, err := l.Report(ctx, name, q); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			clock.pass(time.Minute)
			for _, by := range []room.Caller{p, q} { // both are alive
				if _, _, err := l.Report(ctx, name, by); err != nil {
					t.Fatal(err)
				}
			}
			restarted(t, rdb, name)
			if _, err := l.Join(ctx, name, p, room.Lane{Name: "p-1", Batch: int64(i + 2)}, visitors(1)); !errors.Is(err, room.ErrRecovering) {
				t.Fatalf("join before q was heard: got %v, want %v", err, room.ErrRecovering)
			}
			if last, _, err := l.Report(ctx, name, q); err != nil || last != room.Number(5+i) {
				t.Fatalf("q's report: got %d, %v, want %d", last, err, 5+i)
			}
			clock.pass(2 * time.Second)
			if last, asking, err := l.Report(ctx, name, q); err != nil || asking || last != room.Number(5+i) {
				t.Fatalf("two seconds later: got %d, %v, %v, want %d and nobody is asked any more", last, asking, err, 5+i)
			}
			joined, err := l.Join(ctx, name, p, room.Lane{Name: "p-1", Batch: int64(i + 2)}, visitors(1))
			if err != nil || joined.First != room.Number(6+i) {
				t.Fatalf("join after all were heard: got %+v, %v, want number %d", joined, err, 6+i)
			}
			p.Mark = joined.Mark()
			snap, err := l.Snapshot(ctx, name, 0)
			if err != nil || snap.Life.Lost != 0 || !snap.Life.HoldUntil.IsZero() || snap.Life.Fences != int64(i+1) {
				t.Errorf("got %+v, %v, want nothing lost and nothing held after loss %d", snap.Life, err, i+1)
			}
		}
	})
}

// Who was alive and is not heard may have given numbers: after three seconds the line
// goes on beyond what it can have given.
func TestSilentProcess(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		p, q := room.Caller{Epoch: conf.Epoch, Process: "p"}, room.Caller{Epoch: conf.Epoch, Process: "q"}
		if _, _, err := l.Report(ctx, name, q); err != nil {
			t.Fatal(err)
		}
		batch := room.Lane{Name: "p-1", Batch: 1}
		if _, err := l.Join(ctx, name, p, batch, visitors(3)); err != nil {
			t.Fatal(err)
		}
		restarted(t, rdb, name)
		batch.Batch = 2
		for i := range 3 {
			if _, err := l.Join(ctx, name, p, batch, visitors(1)); !errors.Is(err, room.ErrRecovering) {
				t.Fatalf("join after %d s: got %v, want %v", i, err, room.ErrRecovering)
			}
			clock.pass(time.Second)
		}
		joined, err := l.Join(ctx, name, p, batch, visitors(1))
		if err != nil || joined.First != 3+65536+1 {
			t.Fatalf("join after 3 s: got %+v, %v, want the number behind 65,536 spare ones", joined, err)
		}
		// A visitor whom only q knew comes back into the gap, before him.
		late := room.Place{Visitor: room.NewVisitorID(), Number: 17}
		if stands, err := l.Rejoin(ctx, name, p, []room.Place{late}); err != nil || stands[0].Standing != room.Waiting {
			t.Errorf("rejoin: got %v, %v, want it waiting", stands, err)
		}
		// 3 s after the loss nobody behind it is let in yet, and those before it are.
		round, err := l.Admit(ctx, name, p, 100)
		if err != nil || round.Admitted != 3 || round.Last != 3 || round.Stop != room.StopRecovering {
			t.Errorf("round: got %+v, %v, want the 3 who were known", round, err)
		}
		clock.pass(7 * time.Second)
		if round, err = l.Admit(ctx, name, p, 100); err != nil || round.Admitted != 2 || round.Last != joined.First {
			t.Errorf("round after the hold: got %+v, %v, want the two behind the loss", round, err)
		}
	})
}

// The clock is set, and one of two processes speaks after that: whoever spoke within
// half a minute of the loss was alive, on either side of the step.
func TestSilentProcessBesideAClockThatIsSet(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, step := range []struct {
			name      string
			by        []time.Duration
			joinsLate bool // the process that dies speaks after the step, the other one before it; else the other way round
		}{
			{"back, dead one after it", []time.Duration{-time.Hour}, true},
			{"back, dead one before it", []time.Duration{-time.Hour}, false},
			{"ahead, dead one after it", []time.Duration{time.Hour}, true},
			{"ahead, dead one before it", []time.Duration{time.Hour}, false},
			{"ahead twice", []time.Duration{time.Hour, time.Hour}, false},
			{"ahead three times", []time.Duration{time.Hour, time.Minute, time.Hour}, false},
			{"ahead and back", []time.Duration{time.Hour, -time.Hour}, false},
			{"back and ahead", []time.Duration{-time.Hour, time.Hour}, false},
		} {
			t.Run(step.name, func(t *testing.T) {
				clock := newHand()
				ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
				name := create(t, l, conf)
				p, q := room.Caller{Epoch: conf.Epoch, Process: "p"}, room.Caller{Epoch: conf.Epoch, Process: "q"}
				speak := func() {
					if _, _, err := l.Report(ctx, name, p); err != nil {
						t.Fatal(err)
					}
				}
				join := func() {
					if _, err := l.Join(ctx, name, q, room.Lane{Name: "q-1", Batch: 1}, visitors(3)); err != nil {
						t.Fatal(err)
					}
				}
				before, after := speak, join
				if !step.joinsLate {
					before, after = join, speak
				}
				before()
				for _, by := range step.by {
					clock.pass(by)
					after()
				}
				restarted(t, rdb, name)
				// Only q knows what it heard last, and it is dead.
				var joined room.Joined
				err := room.ErrRecovering
				for i := 0; errors.Is(err, room.ErrRecovering) && i < 10; i++ {
					joined, err = l.Join(ctx, name, p, room.Lane{Name: "p-1", Batch: 1}, visitors(1))
					clock.pass(time.Second)
				}
				if err != nil || joined.First != 3+65536+1 {
					t.Errorf("join: got %+v, %v, want the number behind 65,536 spare ones", joined, err)
				}
			})
		}
	})
}

// Visitors come back in the last second of a hold, and their return is lost by a second
// loss that took no number: nobody overtakes them for that.
func TestReturnsThatAreLostAgain(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		conf.MaxActive = 5
		name := create(t, l, conf)
		p := room.Caller{Epoch: conf.Epoch, Process: "p"}
		back := func(n room.Number) room.Place { return room.Place{Visitor: room.NewVisitorID(), Number: n} }
		// Of ten numbers the line knows three.
		if _, err := l.Join(ctx, name, p, room.Lane{Name: "p-1", Batch: 1}, visitors(3)); err != nil {
			t.Fatal(err)
		}
		p.Mark = 10
		report := func() {
			t.Helper()
			if _, _, err := l.Report(ctx, name, p); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			report()
			clock.pass(time.Second)
		}
		joined, err := l.Join(ctx, name, p, room.Lane{Name: "p-1", Batch: 2}, visitors(4))
		if err != nil || joined.First != 11 {
			t.Fatalf("join: got %+v, %v, want 11", joined, err)
		}
		clock.pass(6 * time.Second) // a second before the hold's end
		var older []redis.Cmder
		for _, k := range keysOf(name) {
			older = append(older, rdb.Copy(ctx, k, k+":older", 0, true))
		}
		defer func() {
			for _, k := range keysOf(name) {
				rdb.Del(ctx, k+":older")
			}
		}()
		seven := back(7)
		if stands, err := l.Rejoin(ctx, name, p, []room.Place{seven}); err != nil || stands[0].Standing != room.Waiting {
			t.Fatalf("rejoin: got %v, %v, want it waiting", stands, err)
		}
		clock.pass(1500 * time.Millisecond)
		for i, k := range keysOf(name) {
			if err := older[i].Err(); err != nil {
				t.Fatal(err)
			}
			rdb.Del(ctx, k)
			if err := rdb.Copy(ctx, k+":older", k, 0, true).Err(); err != nil {
				t.Fatal(err)
			}
		}
		restarted(t, rdb, name)
		p.Mark = 14
		for range 4 {
			report()
			clock.pass(time.Second)
		}
		round, err := l.Admit(ctx, name, p, 100)
		if err != nil || round.Admitted != 3 || round.Last != 3 || round.Stop != room.StopRecovering {
			t.Errorf("round: got %+v, %v, want the three before the loss", round, err)
		}
		if stands, err := l.Rejoin(ctx, name, p, []room.Place{seven}); err != nil || stands[0].Standing != room.Waiting {
			t.Errorf("rejoin again: got %v, %v, want it waiting", stands, err)
		}
		clock.pass(7 * time.Second)
		if round, err = l.Admit(ctx, name, p, 100); err != nil || round.Admitted != 2 || round.Last != 11 {
			t.Errorf("round after the hold: got %+v, %v, want 7 and 11", round, err)
		}
	})
}

// A number that the line never gave is proof of a loss, whoever shows it: a caller's
// mark, or a visitor's place. It costs nobody else anything: on the same process others
// join and come back.
func TestNumberAboveTheLine(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for what, show := range map[string]func(l *Lines, name room.Name, by room.Caller) error{
			"a mark": func(l *Lines, name room.Name, by room.Caller) error {
				by.Mark = 100
				_, _, err := l.Report(background(), name, by)
				return err
			},
			"a place": func(l *Lines, name room.Name, by room.Caller) error {
				stands, err := l.Rejoin(background(), name, by, []room.Place{{Visitor: room.NewVisitorID(), Number: 100}})
				if err == nil && stands[0].Standing != room.Waiting {
					t.Errorf("the place stands %v, want it waiting", stands[0].Standing)
				}
				return err
			},
			"a claim": func(l *Lines, name room.Name, by room.Caller) error {
				_, err := l.Claim(background(), name, by, room.Place{Visitor: room.NewVisitorID(), Number: 100})
				if errors.Is(err, room.ErrRecovering) {
					err = nil
				}
				return err
			},
			"a booking": func(l *Lines, name room.Name, by room.Caller) error {
				place := room.Place{Visitor: room.NewVisitorID(), Number: 100}
				if freed, err := l.Finish(background(), name, by, place); err != nil || freed {
					return errors.Join(err, fmt.Errorf("freed %v", freed))
				}
				stands, err := l.Rejoin(background(), name, by, []room.Place{place})
				if err == nil && stands[0].Standing != room.Gone {
					t.Errorf("the place of a booking stands %v, want it gone", stands[0].Standing)
				}
				return err
			},
		} {
			clock := newHand()
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			by := caller(conf.Epoch)
			known := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
			if err := show(l, name, by); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			stands, err := l.Rejoin(ctx, name, by, known)
			if err != nil || stands[0].Standing != room.Waiting || stands[2].Standing != room.Waiting {
				t.Errorf("%s, then others come back: got %v, %v, want them waiting", what, stands, err)
			}
			clock.pass(2 * time.Second)
			joined, err := l.Join(ctx, name, by, room.Lane{Name: "a-0", Batch: 2}, visitors(1))
			if err != nil || joined.First != 101 {
				t.Errorf("%s, then a join: got %+v, %v, want number 101", what, joined, err)
			}
		}
	})
}

// A loss takes nobody's time to claim.
func TestLossCostsNoClaim(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 2)
		clock.pass(time.Second)
		if round, err := l.Admit(ctx, name, by, 2); err != nil || round.Admitted != 2 {
			t.Fatalf("got %+v, %v", round, err)
		}
		clock.pass(conf.Claim + time.Minute) // Redis was away
		restarted(t, rdb, name)
		if round, err := l.Admit(ctx, name, by, 2); err != nil || round.Missed != 0 || round.Slots != 2 {
			t.Errorf("first round after the outage: got %+v, %v, want nobody missed", round, err)
		}
		clock.pass(conf.Claim / 2)
		if stand, err := l.Claim(ctx, name, by, places[0]); err != nil || stand.Standing != room.Active {
			t.Errorf("claim: got %+v, %v", stand, err)
		}
		clock.pass(conf.Claim)
		if round, err := l.Admit(ctx, name, by, 2); err != nil || round.Missed != 1 || round.Slots != 1 {
			t.Errorf("a claim's time later: got %+v, %v, want one missed", round, err)
		}
	})
}

// A line that its processes bring back is never more open than any of them remembers
// it, and another epoch or a deletion wins over all of them.
func TestRecreate(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 5)
		old, err := l.Snapshot(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Set(ctx, name, room.Change{Actor: "ann", Pause: true, State: nil}); err != nil {
			t.Fatal(err)
		}
		paused, err := l.Status(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		rdb.Del(ctx, presenceKeysOf(name)...)
		rdb.SRem(ctx, roomsKey(), string(name))
		by.Mark = 5
		if err := l.Recreate(ctx, name, by, old.Saved); err != nil {
			t.Fatalf("recreate: %v", err)
		}
		if round, err := l.Admit(ctx, name, by, 10); err != nil || round.Admitted != 0 {
			t.Errorf("round: got %+v, %v, want nobody", round, err)
		}
		if err := l.Recreate(ctx, name, room.Caller{Process: "other"}, paused.Saved); err != nil {
			t.Fatalf("recreate by who knows more: %v", err)
		}
		if err := l.Recreate(ctx, name, by, old.Saved); err != nil {
			t.Fatalf("recreate by who knows less: %v", err)
		}
		s, err := l.Status(ctx, name)
		if err != nil || s.Conf.State != room.Paused || s.Conf.Epoch != conf.Epoch || s.Conf.Rate != conf.Rate || s.Seq < 5 {
			t.Errorf("status: got %+v, %v, want it paused, of the same epoch and rate", s, err)
		}
		if names, err := l.Rooms(ctx); err != nil || len(names) == 0 {
			t.Errorf("rooms: got %v, %v, want it listed", names, err)
		}
		stands, err := l.Rejoin(ctx, name, by, places)
		if err != nil {
			t.Fatal(err)
		}
		for i, st := range stands {
			if st.Standing != room.Waiting {
				t.Errorf("place %d: got %v, want it waiting", i+1, st.Standing)
			}
		}
		if err := l.Recreate(ctx, name, by, room.Saved{Conf: map[string]string{"epoch": "aaaaaaaa"}}); err == nil {
			t.Errorf("recreate out of half a conf: got no error")
		}
		foreign := paused.Saved
		foreign.Conf = map[string]string{}
		for k, v := range paused.Saved.Conf {
			foreign.Conf[k] = v
		}
		foreign.Conf["epoch"] = string(room.NewEpoch())
		if err := l.Recreate(ctx, name, by, foreign); !errors.Is(err, room.ErrEpoch) {
			t.Errorf("recreate of another epoch: got %v, want %v", err, room.ErrEpoch)
		}
	})
}

// A clock that goes back by an hour, or comes back from a year ahead, holds nothing for
// so long: no slot, no claim, no admission behind a loss.
func TestClockStepsBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, back := range []time.Duration{time.Hour, 365 * 24 * time.Hour} {
			clock := newHand()
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			by := caller(conf.Epoch)
			clock.pass(back)
			places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 2_000)
			admit(t, l, name, conf, 1_000)
			clock.pass(time.Second)
			admit(t, l, name, conf, 500)
			for _, p := range places[:700] {
				if _, err := l.Claim(ctx, name, by, p); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := l.Report(ctx, name, room.Caller{Epoch: conf.Epoch, Process: "other"}); err != nil {
				t.Fatal(err)
			}
			restarted(t, rdb, name)
			if _, _, err := l.Report(ctx, name, by); err != nil { // fenced a year ahead
				t.Fatal(err)
			}
			clock.pass(-back)
			for range 4 {
				if _, err := l.Admit(ctx, name, by, 0); err != nil {
					t.Fatal(err)
				}
			}
			clock.pass(5 * time.Second)
			joined, err := l.Join(ctx, name, by, room.Lane{Name: "a-0", Batch: 2}, visitors(1))
			if err != nil || joined.First <= 2_000 {
				t.Errorf("%v: join 5 s later: got %+v, %v, want a number above 2,000", back, joined, err)
			}
			clock.pass(conf.Pass + conf.Claim + 10*time.Second)
			for range 4 {
				if _, err := l.Admit(ctx, name, by, 0); err != nil {
					t.Fatal(err)
				}
			}
			if round, err := l.Admit(ctx, name, by, 10); err != nil || round.Slots != 10 || round.Last > 1_510 {
				t.Errorf("%v: got %+v, %v, want all slots back after a pass's time, and the next 10 in order", back, round, err)
			}
		}
	})
}

// Pruning and the repair of deadlines are bounded in each round, and slots whose time is
// over are free at once all the same.
func TestManyDeadlines(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		conf.MaxActive = 5_000
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		past := make([]redis.Z, 4_500)
		for i, v := range visitors(len(past)) {
			past[i] = redis.Z{Member: string(v), Score: float64(clock.ms() - int64(i))}
		}
		if err := rdb.ZAdd(ctx, activeKey(name), past...).Err(); err != nil {
			t.Fatal(err)
		}
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 1_500)
		clock.pass(time.Second)
		round, err := l.Admit(ctx, name, by, 500)
		if err != nil || round.Lapsed != maxPruned || round.Slots != 500 || round.Admitted != 500 {
			t.Errorf("first round: got %+v, %v, want %d lapsed, and 500 let in on 500 slots", round, err, maxPruned)
		}
		lapsed := round.Lapsed
		for range 4 {
			if round, err = l.Admit(ctx, name, by, 0); err != nil {
				t.Fatal(err)
			}
			lapsed += round.Lapsed
		}
		if lapsed != len(past) {
			t.Errorf("after 5 rounds: got %d lapsed, want %d", lapsed, len(past))
		}
	})
}

// A line of which nobody alive remembers a number gives none until its visitors are
// back: however many there were, nobody gets a number that somebody has.
func TestNobodyRemembersTheNumbers(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		saved, err := l.Status(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		rdb.Del(ctx, presenceKeysOf(name)...)
		by := caller(conf.Epoch)
		saved.Saved.Life = "of-another:1" // Redis began anew
		if err := l.Recreate(ctx, name, room.Caller{}, saved.Saved); err != nil {
			t.Fatal(err)
		}
		batch := room.Lane{Name: "a-0", Batch: 1}
		for i := range 40 { // more than 32 s, since somebody comes back each second
			clock.pass(time.Second)
			if _, err := l.Join(ctx, name, by, batch, visitors(1)); !errors.Is(err, room.ErrRecovering) {
				t.Fatalf("join after %d s: got %v, want %v", i+1, err, room.ErrRecovering)
			}
			p := room.Place{Visitor: room.NewVisitorID(), Number: room.Number(100_000 + 7*i)}
			if stands, err := l.Rejoin(ctx, name, by, []room.Place{p}); err != nil || stands[0].Standing != room.Waiting {
				t.Fatalf("number %d comes back after %d s: got %v, %v, want it waiting", p.Number, i+1, stands, err)
			}
		}
		clock.pass(3 * time.Second)
		joined, err := l.Join(ctx, name, by, batch, visitors(1))
		if err != nil || joined.First <= 100_000+7*39+65_536 {
			t.Errorf("join once nobody came back for 2 s: got %+v, %v, want a number far behind", joined, err)
		}
	})
}

// A process that has not heard of the end yet does not bring a deleted room back; and an
// operator's act that the line lost comes back with whoever read it.
func TestRecreateAfterTheEnd(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		before, err := l.Status(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Set(ctx, name, room.Change{Actor: "ann", Pause: true}); err != nil {
			t.Fatal(err)
		}
		paused, err := l.Status(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		for field, value := range before.Saved.Conf { // the line loses the pause
			rdb.HSet(ctx, confKey(name), field, value)
		}
		by := room.Caller{Process: "p", Mark: 7}
		for _, saved := range []room.Saved{paused.Saved, before.Saved} {
			if err := l.Recreate(ctx, name, by, saved); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := l.Status(ctx, name); err != nil || s.Conf.State != room.Paused || s.Conf.Rev != paused.Conf.Rev {
			t.Errorf("got %+v, %v, want it paused again", s.Conf, err)
		}
		if err := l.Delete(ctx, name, true, "ann"); err != nil {
			t.Fatal(err)
		}
		err = l.Recreate(ctx, name, by, paused.Saved)
		if !errors.Is(err, room.ErrDeleted) || listed(t, l, name) || !deleted(t, l, name) {
			t.Errorf("got %v, listed %v, deleted %v, want %v and nothing changed", err, listed(t, l, name), deleted(t, l, name), room.ErrDeleted)
		}
	})
}
