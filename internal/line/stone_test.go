package line

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// A process that was cut off remembers a line whose name was ended, given anew and ended
// again: its own tombstone is gone, and the one there is tells all the same.
func TestTombstoneOfALaterLine(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		read, err := l.Snapshot(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Minute)
		later := openConf()
		later.Epoch = room.NewEpoch()
		if err := errors.Join(l.Delete(ctx, name, true, "ann"), l.Create(ctx, name, later, "ann")); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Minute)
		if err := l.Delete(ctx, name, true, "ann"); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Minute)
		if err := l.Recreate(ctx, name, caller(conf.Epoch), read.Saved); !errors.Is(err, room.ErrDeleted) {
			t.Errorf("recreate of the older line: got %v, want %v", err, room.ErrDeleted)
		}
		if deleted, err := l.Deleted(ctx, name); err != nil || !deleted {
			t.Errorf("got %v, %v, want the tombstone there", deleted, err)
		}
		// A line made since then is none of its business: lost, it comes back.
		again := openConf()
		again.Epoch = room.NewEpoch()
		if err := l.Create(ctx, name, again, "ann"); err != nil {
			t.Fatal(err)
		}
		if read, err = l.Snapshot(ctx, name, 0); err != nil {
			t.Fatal(err)
		}
		if err := rdb.Del(ctx, presenceKeysOf(name)...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.HSet(ctx, deletedKey(name), "epoch", string(later.Epoch), "at", clock.now()-time.Minute.Microseconds(), "actor", "ann").Err(); err != nil {
			t.Fatal(err)
		}
		if err := l.Recreate(ctx, name, caller(again.Epoch), read.Saved); err != nil {
			t.Errorf("recreate of a line made after the end: %v", err)
		}
	})
}

// A registry that was lost alone lists the room again when its line is told of, whole as
// it is; by an operator too, whose command was cut short or who repeats it.
func TestListedAgain(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		read, err := l.Snapshot(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		for what, tell := range map[string]func() error{
			"a process":   func() error { return l.Recreate(ctx, name, caller(conf.Epoch), read.Saved) },
			"an operator": func() error { return l.CreateAgain(ctx, name, conf, room.Event{}, "ann") },
		} {
			if err := rdb.SRem(ctx, roomsKey(), string(name)).Err(); err != nil {
				t.Fatal(err)
			}
			if err := tell(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			listed, err := rdb.SIsMember(ctx, roomsKey(), string(name)).Result()
			after, err2 := l.Snapshot(ctx, name, 0)
			if err := errors.Join(err, err2); err != nil || !listed || after.Seq != 3 || after.Waiting != 3 || after.Conf != read.Conf {
				t.Errorf("%s: got listed %v, %+v, %v, want the line as it was, and listed", what, listed, after, err)
			}
		}
		if err := l.CreateAgain(ctx, name, conf, room.Event{}, "ann"); !errors.Is(err, room.ErrExists) {
			t.Errorf("of a room that is listed: got %v, want %v", err, room.ErrExists)
		}
		other := conf
		other.Epoch = room.NewEpoch()
		if err := errors.Join(rdb.SRem(ctx, roomsKey(), string(name)).Err()); err != nil {
			t.Fatal(err)
		}
		if err := l.CreateAgain(ctx, name, other, room.Event{}, "ann"); !errors.Is(err, room.ErrExists) {
			t.Errorf("with another epoch: got %v, want %v", err, room.ErrExists)
		}
	})
}
