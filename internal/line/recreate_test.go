package line

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// A line that an operator brings back by hand is of the sale that the operator means: no
// process that remembers an older one replaces it. Of the same line a process knows the
// conf as it was, and puts it right.
func TestLineBroughtBackByHand(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		read := func() room.Snapshot {
			t.Helper()
			s, err := l.Snapshot(ctx, name, 0)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		older := read()
		clock.pass(time.Minute)
		again := openConf()
		again.Epoch, again.Rate = room.NewEpoch(), 7_000
		if err := errors.Join(l.Delete(ctx, name, true, "ann"), l.Create(ctx, name, again, "ann")); err != nil {
			t.Fatal(err)
		}
		of := read()
		clock.pass(time.Minute)
		lose := func() {
			t.Helper()
			if err := rdb.Del(ctx, append(presenceKeysOf(name), deletedKey(name))...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		lose()
		byHand := again
		byHand.Rate = 1_000
		if err := l.CreateAgain(ctx, name, byHand, room.Event{}, "ann"); err != nil {
			t.Fatal(err)
		}
		if s := read(); s.Conf.Epoch != again.Epoch || s.Conf.Rev < 1 {
			t.Errorf("by hand: got %+v, want the epoch %s and a rev that an act can name", s.Conf, again.Epoch)
		}
		if err := l.Recreate(ctx, name, caller(conf.Epoch), older.Saved); !errors.Is(err, room.ErrEpoch) {
			t.Errorf("by a process that remembers the sale before: got %v, want %v", err, room.ErrEpoch)
		}
		if err := l.Recreate(ctx, name, caller(again.Epoch), of.Saved); err != nil {
			t.Errorf("by a process that remembers this one: %v", err)
		}
		if s := read(); s.Conf.Epoch != again.Epoch || s.Conf.Rate != 7_000 {
			t.Errorf("then: got %+v, want the rate of 7 that the process knows", s.Conf)
		}
		// What an operator changed since it was brought back is later than what it was.
		lose()
		if err := l.CreateAgain(ctx, name, byHand, room.Event{}, "ann"); err != nil {
			t.Fatal(err)
		}
		clock.pass(5 * time.Second)
		if _, err := l.Set(ctx, name, room.Change{Actor: "ann", Pause: true}); err != nil {
			t.Fatal(err)
		}
		if err := l.Recreate(ctx, name, caller(again.Epoch), of.Saved); err != nil {
			t.Fatal(err)
		}
		if s := read(); s.Conf.State != room.Paused || s.Conf.Rate != 1_000 {
			t.Errorf("after an act: got %+v, want the pause and the rate of 1", s.Conf)
		}
	})
}

// A room whose reopening was lost and came back stays: none of its keys expires.
func TestReopeningComesBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 20)
		set := func(state room.State) room.Saved {
			t.Helper()
			if _, err := l.Set(ctx, name, room.Change{Actor: "ann", State: &state}); err != nil {
				t.Fatal(err)
			}
			s, err := l.Snapshot(ctx, name, 0)
			if err != nil {
				t.Fatal(err)
			}
			return s.Saved
		}
		before := set(room.Open)
		closed := set(room.Closed)
		if err := l.Recreate(ctx, name, caller(conf.Epoch), before); err != nil {
			t.Fatal(err)
		}
		if left := rdb.PTTL(ctx, queueKey(name)).Val(); left <= 0 {
			t.Errorf("told of the time before its closing: got no end of a closed room, want it as it was")
		}
		ttl := rdb.PTTL(ctx, queueKey(name)).Val()
		opened := set(room.Open)
		if err := errors.Join(rdb.Del(ctx, confKey(name)).Err(), rdb.HSet(ctx, confKey(name), closed.Conf).Err()); err != nil {
			t.Fatal(err)
		}
		for _, key := range presenceKeysOf(name) {
			rdb.PExpire(ctx, key, ttl)
		}
		if err := l.Recreate(ctx, name, caller(conf.Epoch), opened); err != nil {
			t.Fatal(err)
		}
		for _, key := range presenceKeysOf(name) {
			if left := rdb.PTTL(ctx, key).Val(); left > 0 {
				t.Errorf("%s of an open room expires in %s", key, left)
			}
		}
	})
}

// manyLanes is as join.lua has it.
const manyLanes = 256

// Lanes leave the line an hour after their last batch, also where every node stops in
// good order and no admitter ever looks for what a dead one left.
func TestLanesAreBounded(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		l, conf := New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		for i := range 4 * manyLanes {
			join(t, l, name, conf, room.Lane{Name: fmt.Sprintf("p%d-1", i), Batch: 1}, 1)
			clock.pass(20 * time.Second)
		}
		n, err := rdb.HLen(background(), lanesKey(name)).Result()
		if want := int64(manyLanes + laneLife/(20*time.Second) + 1); err != nil || n > want {
			t.Errorf("got %d lanes, %v, want at most %d: those of an hour, and as many as are let be", n, err, want)
		}
	})
}
