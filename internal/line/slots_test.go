package line

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Whatever stops a room stops it whole: with credit, free slots and a full line nobody
// is let in, and the round says why and when to look again.
func TestRoundsOfAStoppedRoom(t *testing.T) {
	const idle = 100 * time.Millisecond
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, c := range []struct {
			what string
			stop func(l *Lines, name room.Name, conf room.Conf, clock *hand) error
			want room.Stop
			due  time.Duration
		}{
			{"paused", func(l *Lines, name room.Name, _ room.Conf, _ *hand) error {
				_, err := l.Set(background(), name, room.Change{Actor: "ann", Pause: true})
				return err
			}, room.StopPaused, idle},
			{"sold out", func(l *Lines, name room.Name, conf room.Conf, _ *hand) error {
				return l.soldOut(background(), name, conf.Epoch, 1)
			}, room.StopSoldOut, idle},
			{"closed", func(l *Lines, name room.Name, _ room.Conf, _ *hand) error {
				_, err := l.Set(background(), name, room.Change{Actor: "ann", State: ptr(room.Closed)})
				return err
			}, room.StopClosed, idle},
			{"opening, nobody knows when", func(l *Lines, name room.Name, _ room.Conf, _ *hand) error {
				_, err := l.Set(background(), name, room.Change{Actor: "ann", State: ptr(room.Opening)})
				return err
			}, room.StopOpening, idle},
			{"opening in 40 ms", func(l *Lines, name room.Name, _ room.Conf, clock *hand) error {
				opens := clock.at().Truncate(time.Millisecond).Add(40 * time.Millisecond)
				_, err := l.Set(background(), name, room.Change{Actor: "ann", State: ptr(room.Opening), OpensAt: &opens})
				return err
			}, room.StopOpening, 40*time.Millisecond - time.Duration(start%1000)*time.Microsecond},
		} {
			clock := newHand()
			l, conf := New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
			clock.pass(time.Minute)
			if err := c.stop(l, name, conf, clock); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			if r := wantRound(t, l, name, conf, c.what, 0, c.want); r.Waiting != 3 || r.Due != c.due {
				t.Errorf("%s: got %+v, want 3 who wait, and the next look in %v", c.what, r, c.due)
			}
			if c.due != idle {
				clock.pass(c.due)
				wantRound(t, l, name, conf, c.what+", and the time has come", 3, room.StopEmpty)
			}
		}
	})
}

// A pass whose time is over is nobody's any more, also before a round takes it out; its
// slot comes back once, and is counted.
func TestPassThatIsOver(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 2)
		clock.pass(time.Second)
		admit(t, l, name, conf, 2)
		for _, p := range places {
			if _, err := l.Claim(ctx, name, by, p); err != nil {
				t.Fatal(err)
			}
			clock.pass(time.Second)
		}
		clock.pass(conf.Pass - 2*time.Second) // the first is over to the millisecond
		for i, want := range []room.Standing{room.Gone, room.Active} {
			stands, err := l.Stands(ctx, name, places[i:i+1])
			if err != nil || stands[0].Standing != want {
				t.Errorf("place %d: got %+v, %v, want it %v", i+1, stands, err, want)
			}
		}
		if stand, err := l.Claim(ctx, name, by, places[0]); !errors.Is(err, room.ErrSpent) {
			t.Errorf("a claim of the first: got %+v, %v, want %v", stand, err, room.ErrSpent)
		}
		for i, want := range []int{1, 0} {
			if r := makeRound(t, l, name, conf); r.Lapsed != want || r.Slots != 1 {
				t.Errorf("round %d: got %+v, want %d lapsed, and one slot taken", i+1, r, want)
			}
		}
		if s, err := l.Status(ctx, name); err != nil || s.Stats.Lapsed != 1 {
			t.Errorf("lapsed: got %d, %v, want 1", s.Stats.Lapsed, err)
		}
	})
}

// An operator who shortens claim and pass shortens those to come: who was told a deadline
// has it, and a slot is not given to somebody else while its pass is good.
func TestShorterPassKeepsTheGiven(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		conf.Claim, conf.Pass = room.MinClaim*4, room.MinPass*4
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 2)
		clock.pass(time.Second)
		admit(t, l, name, conf, 2)
		if _, err := l.Claim(ctx, name, by, places[0]); err != nil {
			t.Fatal(err)
		}
		before, err := l.Stands(ctx, name, places)
		if err != nil {
			t.Fatal(err)
		}
		if err := rdb.HSet(ctx, confKey(name), "claim_ms", room.MinClaim.Milliseconds(), "pass_ms", room.MinPass.Milliseconds()).Err(); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Second)
		makeRound(t, l, name, conf)
		after, err := l.Stands(ctx, name, places)
		if err != nil {
			t.Fatal(err)
		}
		for i := range places {
			if !after[i].Deadline.Equal(before[i].Deadline) {
				t.Errorf("place %d: got %+v, want the deadline of before, %v", i+1, after[i], before[i].Deadline)
			}
		}
	})
}

// Deadlines of a clock that was ahead are put right in as many rounds as it takes, and
// then the search for them is over.
func TestDeadlinesPutRightInRounds(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		makeRound(t, l, name, conf)
		ahead := make([]redis.Z, 2*maxPruned+500)
		for i, v := range visitors(len(ahead)) {
			ahead[i] = redis.Z{Member: string(v), Score: float64(clock.ms() + (24 * time.Hour).Milliseconds())}
		}
		if err := rdb.ZAdd(ctx, activeKey(name), ahead...).Err(); err != nil {
			t.Fatal(err)
		}
		clock.pass(-time.Hour)
		for range 4 {
			makeRound(t, l, name, conf)
		}
		if has, err := rdb.HExists(ctx, bucketKey(name), "stepped").Result(); err != nil || has {
			t.Errorf("the search goes on: %v, %v", has, err)
		}
		clock.pass(conf.Pass)
		for range 3 {
			makeRound(t, l, name, conf)
		}
		if r := makeRound(t, l, name, conf); r.Slots != 0 {
			t.Errorf("a pass's time later: got %+v, want all slots back", r)
		}
	})
}

// A bucket that is lost alone begins empty, and fills.
func TestLostBucket(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, lost := range [][]string{{"credit", "at", "rate"}, {"credit"}, {"at"}, {"rate"}} {
			clock := newHand()
			l, conf := New(rdb, WithClock(clock.now)), openConf()
			conf.Rate, conf.Burst = 10_000, 100
			name := create(t, l, conf)
			join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 50)
			clock.pass(time.Minute)
			if err := rdb.HDel(background(), bucketKey(name), lost...).Err(); err != nil {
				t.Fatal(err)
			}
			wantRound(t, l, name, conf, "without it", 0, room.StopRate)
			clock.pass(time.Second)
			wantRound(t, l, name, conf, "a second later", 10, room.StopRate)
		}
	})
}
