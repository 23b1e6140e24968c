package line

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// An act that is made right after a loss waits until a lost one can have come back:
// made at once, it would take the rev of the lost one, which then nobody misses.
func TestActAfterALoss(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		acts := map[string]func(*Lines, room.Name, room.Epoch) error{
			"pause": func(l *Lines, name room.Name, _ room.Epoch) error {
				_, err := l.Set(background(), name, room.Change{Actor: "bob", Pause: true})
				return err
			},
			"sold out": func(l *Lines, name room.Name, epoch room.Epoch) error {
				return l.soldOut(background(), name, epoch, 7)
			},
		}
		for what, act := range acts {
			clock := newHand()
			ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
			name := create(t, l, conf)
			before, err := rdb.HGetAll(ctx, confKey(name)).Result()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Set(ctx, name, room.Change{Actor: "ann", Rate: ptr(room.Rate(20_000))}); err != nil {
				t.Fatal(err)
			}
			read, err := l.Snapshot(ctx, name, 0) // by a process, which lives on
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(rdb.Del(ctx, confKey(name)).Err(), rdb.HSet(ctx, confKey(name), before).Err()); err != nil {
				t.Fatal(err)
			}
			restarted(t, rdb, name)
			if err := act(l, name, conf.Epoch); !errors.Is(err, room.ErrRecovering) {
				t.Errorf("%s at once: got %v, want %v", what, err, room.ErrRecovering)
			}
			if err := l.Recreate(ctx, name, caller(conf.Epoch), read.Saved); err != nil {
				t.Fatal(err)
			}
			clock.pass(3 * time.Second)
			if err := act(l, name, conf.Epoch); err != nil {
				t.Errorf("%s three seconds later: %v", what, err)
			}
			after, err := l.Snapshot(ctx, name, 0)
			if err != nil || after.Conf.Rate != 20_000 || after.Conf.Rev != 3 {
				t.Errorf("%s: got rate %v at rev %d, %v, want the lost act's 20 and rev 3", what, after.Conf.Rate, after.Conf.Rev, err)
			}
		}
	})
}

// A line that lost its visitors looks empty, while they are on their way back to it.
func TestDeleteAfterALoss(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		if err := errors.Join(rdb.Del(ctx, queueKey(name)).Err(), rdb.Set(ctx, seqKey(name), 0, 0).Err()); err != nil {
			t.Fatal(err)
		}
		restarted(t, rdb, name)
		if err := l.Delete(ctx, name, false, "ann"); !errors.Is(err, room.ErrRecovering) {
			t.Errorf("delete at once: got %v, want %v", err, room.ErrRecovering)
		}
		if names, err := l.Rooms(ctx); err != nil || !slices.Contains(names, name) {
			t.Errorf("rooms after it: got %v, %v, want %s among them", names, err, name)
		}
		clock.pass(9 * time.Second) // who lost its node dials again within 10 s
		if err := l.Delete(ctx, name, false, "ann"); !errors.Is(err, room.ErrRecovering) {
			t.Errorf("delete after 9 s: got %v, want %v", err, room.ErrRecovering)
		}
		if err := l.Delete(ctx, name, true, "ann"); err != nil {
			t.Errorf("delete by force: %v", err)
		}
	})
}

// Nobody comes back any more.
func TestDeleteLongAfterALoss(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		restarted(t, rdb, name)
		_ = l.Delete(ctx, name, false, "ann")
		clock.pass(2 * time.Minute)
		if err := l.Delete(ctx, name, false, "ann"); err != nil {
			t.Errorf("delete two minutes after a loss: %v", err)
		}
	})
}
