package line

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Of two lines of one name that were lost whole, the one made later comes back, whoever
// speaks first: the older one was ended, and its tombstone is lost too.
func TestNewerOfTwoLostLines(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, order := range [][]int{{0, 1}, {1, 0}} {
			clock := newHand()
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			read := make([]room.Snapshot, 2)
			var err error
			if read[0], err = l.Snapshot(ctx, name, 0); err != nil {
				t.Fatal(err)
			}
			clock.pass(time.Minute)
			later := openConf()
			later.Rate = 7_000
			if err := errors.Join(l.Delete(ctx, name, true, "ann"), l.Create(ctx, name, later, "ann")); err != nil {
				t.Fatal(err)
			}
			if read[1], err = l.Snapshot(ctx, name, 0); err != nil {
				t.Fatal(err)
			}
			if err := rdb.Del(ctx, keysAndStone(name)...).Err(); err != nil {
				t.Fatal(err)
			}
			for _, i := range order {
				err := l.Recreate(ctx, name, room.Caller{Process: "p", Mark: room.Number(5 + i)}, read[i].Saved)
				if i == 0 && order[0] == 1 {
					if !errors.Is(err, room.ErrEpoch) {
						t.Errorf("the older one second: got %v, want %v", err, room.ErrEpoch)
					}
				} else if err != nil {
					t.Errorf("order %v: line %d: %v", order, i, err)
				}
			}
			if s, err := l.Status(ctx, name); err != nil || s.Conf.Epoch != later.Epoch || s.Conf.Rate != 7_000 || s.Seq != 6 {
				t.Errorf("order %v: got %+v up to %d, %v, want the later line up to 6", order, s.Conf, s.Seq, err)
			}
		}
	})
}

// A line that is there and was never lost is nobody's to replace, whatever a process
// remembers of a later one.
func TestLineThatWasNotLostStays(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		read, err := l.Snapshot(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		later := read.Saved
		later.Conf = map[string]string{}
		for field, value := range read.Saved.Conf {
			later.Conf[field] = value
		}
		later.Conf["epoch"], later.Conf["created_ms"] = string(room.NewEpoch()), "9999999999999"
		if err := l.Recreate(ctx, name, room.Caller{Process: "p"}, later); !errors.Is(err, room.ErrEpoch) {
			t.Errorf("got %v, want %v", err, room.ErrEpoch)
		}
		comesBack(t, l, name, conf, places...)
	})
}

// The tombstone of a room that an operator ended after Redis had lost its line tells no
// epoch, and ends each line of the name that was made before it.
func TestTombstoneWithoutAnEpoch(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		read, err := l.Snapshot(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := rdb.Del(ctx, presenceKeysOf(name)...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := l.Delete(ctx, name, true, "ann"); err != nil {
			t.Fatal(err)
		}
		delete(read.Saved.Conf, "created_ms") // as an older version made it
		if err := l.Recreate(ctx, name, caller(conf.Epoch), read.Saved); !errors.Is(err, room.ErrDeleted) {
			t.Errorf("got %v, want %v", err, room.ErrDeleted)
		}
		if listed(t, l, name) || !deleted(t, l, name) {
			t.Errorf("got listed %v, deleted %v, want it ended as before", listed(t, l, name), deleted(t, l, name))
		}
	})
}
