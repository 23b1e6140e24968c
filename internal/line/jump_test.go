package line

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Of a process that was alive and is not heard the line does not know what it gave: it
// goes on behind four times the busiest second of the last minute, and 65,536 at least.
func TestJumpIsMeasured(t *testing.T) {
	const rush = 20_000 // joins in one second: four times that is above 65,536
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, c := range []struct {
			what  string
			after []time.Duration // one more joins after each of these
			jump  room.Number
		}{
			{"the rush is now", nil, 4 * rush},
			{"the rush was a second ago", []time.Duration{time.Second}, 4 * rush},
			{"seconds of less came after it", []time.Duration{time.Second, time.Second, 30 * time.Second}, 4 * rush},
			{"and a minute went by", []time.Duration{time.Second, 59 * time.Second, 3 * time.Second}, 4 * rush},
			{"it was more than two minutes ago", []time.Duration{time.Second, 70 * time.Second, 70 * time.Second}, 65_536},
		} {
			clock := newHand()
			clock.pass(time.Second - time.Duration(start%1_000_000)*time.Microsecond) // a second begins
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			lane := room.Lane{Name: "a-0"}
			for range rush / room.MaxBatch {
				lane.Batch++
				join(t, l, name, conf, lane, room.MaxBatch)
			}
			for _, d := range c.after {
				clock.pass(d)
				lane.Batch++
				join(t, l, name, conf, lane, 1)
			}
			if _, _, err := l.Report(ctx, name, room.Caller{Epoch: conf.Epoch, Process: "silent"}); err != nil {
				t.Fatal(err)
			}
			restarted(t, rdb, name)
			lane.Batch++
			if _, err := l.Join(ctx, name, caller(conf.Epoch), lane, visitors(1)); !errors.Is(err, room.ErrRecovering) {
				t.Fatalf("%s: a join at the loss: got %v, want %v", c.what, err, room.ErrRecovering)
			}
			clock.pass(3 * time.Second)
			joined, err := l.Join(ctx, name, caller(conf.Epoch), lane, visitors(1))
			if want := rush + room.Number(len(c.after)) + c.jump + 1; err != nil || joined.First != want {
				t.Errorf("%s: a join behind the jump: got %+v, %v, want number %d", c.what, joined, err, want)
			}
		}
	})
}

// Who wrote within half a minute of the last one counts as alive and is waited for; who
// was silent for longer is not, and costs no number.
func TestWhoCountsAsAlive(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, c := range []struct {
			silent time.Duration
			first  room.Number // given after the loss
			waited bool
		}{
			{30 * time.Second, 2 + 65_536, true},
			{31 * time.Second, 2, false},
		} {
			clock := newHand()
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			if _, _, err := l.Report(ctx, name, room.Caller{Epoch: conf.Epoch, Process: "silent"}); err != nil {
				t.Fatal(err)
			}
			clock.pass(c.silent - 10*time.Second)
			mark(t, l, name, conf, 0) // else it would look like a clock that was set
			clock.pass(10 * time.Second)
			join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 1)
			restarted(t, rdb, name)
			mark(t, l, name, conf, 1)
			clock.pass(2 * time.Second)
			if _, asking, err := l.Report(ctx, name, caller(conf.Epoch)); err != nil || asking != c.waited {
				t.Errorf("silent for %v: two seconds after the loss: got asking %v, %v, want %v", c.silent, asking, err, c.waited)
			}
			clock.pass(time.Second)
			joined, err := l.Join(ctx, name, caller(conf.Epoch), room.Lane{Name: "a-0", Batch: 2}, visitors(1))
			if err != nil || joined.First != c.first {
				t.Errorf("silent for %v: a join then: got %+v, %v, want number %d", c.silent, joined, err, c.first)
			}
		}
	})
}

// Processes that come and go leave the line's memory of them, and those who are there
// stay in it.
func TestProcessesAreBounded(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		for i := range 400 {
			clock.pass(time.Second)
			by := room.Caller{Epoch: conf.Epoch, Process: fmt.Sprint("p", i)}
			if _, _, err := l.Report(ctx, name, by); err != nil {
				t.Fatal(err)
			}
		}
		fields, err := rdb.HGetAll(ctx, lifeKey(name)).Result()
		if err != nil || len(fields) > room.MaxSigns+20 {
			t.Errorf("got %d fields, %v, want about %d at most", len(fields), err, room.MaxSigns)
		}
		for i := 370; i < 400; i++ {
			if p := fmt.Sprint("at:p", i); fields[p] == "" {
				t.Errorf("%s wrote %d s ago and is forgotten", p, 399-i)
			}
		}
	})
}
