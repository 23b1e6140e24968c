package line

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// A closed room expires whole, whatever still happens in it; opened again it
// stays.
func TestClosedRoomExpires(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		admit(t, l, name, conf, 2)
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: ptr(room.Closed)}); err != nil {
			t.Fatal(err)
		}
		// Let in before it closed: may still claim, leave and finish.
		if stand, err := l.Claim(ctx, name, by, places[0]); err != nil || stand.Standing != room.Active {
			t.Errorf("claim in a closed room: got %+v, %v, want active", stand, err)
		}
		if err := l.Leave(ctx, name, by, places[2]); err != nil {
			t.Errorf("leave a closed room: %v", err)
		}
		if _, err := l.Join(ctx, name, by, room.Lane{Name: "a-0", Batch: 2}, visitors(1)); err != room.ErrClosed {
			t.Errorf("join a closed room: got %v, want %v", err, room.ErrClosed)
		}
		if round, err := l.Admit(ctx, name, by, 2); err != nil || round.Stop != room.StopClosed {
			t.Errorf("admit in a closed room: got %+v, %v", round, err)
		}
		keys, err := rdb.Keys(ctx, "wr1:{"+string(name)+"}:*").Result()
		if err != nil || len(keys) < 8 {
			t.Fatalf("got keys %v, %v", keys, err)
		}
		for _, key := range keys {
			if ttl := rdb.PTTL(ctx, key).Val(); ttl <= 0 || ttl > closedLife+netLife {
				t.Errorf("%s of a closed room: got %v to live, want up to %v", key, ttl, closedLife+netLife)
			}
		}
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: ptr(room.Open)}); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if ttl := rdb.PTTL(ctx, key).Val(); ttl > 0 {
				t.Errorf("%s of an open room: got %v to live, want for ever", key, ttl)
			}
		}
		if _, err := rdb.ZScore(ctx, closingKey(), string(name)).Result(); err != redis.Nil {
			t.Errorf("an open room is among the closing ones: %v", err)
		}
	})
}

// ends is when a room ends, as its conf and as the closed rooms have it; 0 for never.
func ends(t *testing.T, rdb redis.UniversalClient, name room.Name) (conf, noted int64) {
	t.Helper()
	conf, err := rdb.HGet(background(), confKey(name), "ends_ms").Int64()
	if err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	score, err := rdb.ZScore(background(), closingKey(), string(name)).Result()
	if err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	return conf, int64(score)
}

// A room is closed once: closing it again, or making it closed, leaves keys, conf and
// registry of one mind about its end.
func TestClosedRoomEndsOnce(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock, conf := newHand(), openConf()
		ctx, l := background(), New(rdb, WithClock(clock.now))
		set := func(name room.Name, state room.State) {
			t.Helper()
			if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: &state}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(what string, name room.Name, end int64) {
			t.Helper()
			if conf, noted := ends(t, rdb, name); conf != end || noted != end {
				t.Errorf("%s: got it to end at %d, noted %d, want %d", what, conf, noted, end)
			}
			for _, key := range rdb.Keys(ctx, "wr1:{"+string(name)+"}:*").Val() {
				if lives := rdb.PTTL(ctx, key).Val() > 0; lives != (end > 0) {
					t.Errorf("%s: %s expires: %v, want %v", what, key, lives, end > 0)
				}
			}
		}
		name := create(t, l, conf)
		want("open", name, 0)
		set(name, room.Closed)
		end := clock.ms() + closedLife.Milliseconds()
		want("closed", name, end)
		clock.pass(10 * 24 * time.Hour)
		set(name, room.Closed)
		want("closed again", name, end)
		rdb.ZRem(ctx, closingKey(), string(name)) // a call that was cut short
		set(name, room.Closed)
		want("closed once more", name, end)
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", Notice: ptr("over")}); err != nil {
			t.Fatal(err)
		}
		want("a notice", name, end)
		set(name, room.Open)
		want("opened", name, 0)

		conf.State = room.Closed
		made := create(t, l, conf)
		end = clock.ms() + closedLife.Milliseconds()
		want("made closed", made, end)
		clock.pass(time.Hour)
		rdb.ZRem(ctx, closingKey(), string(made))
		if err := l.Create(ctx, made, conf, "test"); err != nil {
			t.Fatal(err)
		}
		want("made closed, sent again", made, end)
	})
}

// What has ended leaves the registry with a tombstone; what has not is left as it is,
// whatever was noted of it.
func TestExpire(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock, conf := newHand(), openConf()
		ctx, l := background(), New(rdb, WithClock(clock.now))
		conf.State = room.Closed
		name := create(t, l, conf)
		expire := func(what string, name room.Name, want bool) {
			t.Helper()
			removed, err := l.Expire(ctx)
			if err != nil || slices.Contains(removed, name) != want {
				t.Errorf("%s: got %v, %v, want %s among them: %v", what, removed, err, name, want)
			}
			if got := deleted(t, l, name); got != want {
				t.Errorf("%s: got deleted %v, want %v", what, got, want)
			}
			if got := listed(t, l, name); got == want {
				t.Errorf("%s: got listed %v, want %v", what, got, !want)
			}
		}
		note := func(name room.Name, at int64) {
			rdb.ZAdd(ctx, closingKey(), redis.Z{Member: string(name), Score: float64(at)})
		}
		end := clock.ms() + closedLife.Milliseconds()
		expire("closed just now", name, false)
		note(name, clock.ms()-1)
		expire("noted too early", name, false)
		if conf, noted := ends(t, rdb, name); conf != end || noted != end {
			t.Errorf("noted too early: got %d, noted %d afterwards, want %d", conf, noted, end)
		}
		clock.pass(closedLife - time.Millisecond)
		expire("a moment before its end", name, false)
		clock.pass(2 * time.Millisecond)
		expire("at its end", name, true)
		stone, _, err := l.Tombstone(ctx, name)
		if err != nil || stone.Actor != "expiry" || stone.Epoch != conf.Epoch || !stone.At.Equal(clock.at()) {
			t.Errorf("tombstone: got %+v, %v, want it by the expiry", stone, err)
		}
		if acts, err := l.Acts(ctx, name, 5); err != nil || acts[0].What != "expire" {
			t.Errorf("acts: got %+v, %v, want the expiry", acts, err)
		}
		if _, noted := ends(t, rdb, name); noted != 0 {
			t.Errorf("after its end: still noted, %d", noted)
		}
		if removed, err := l.Expire(ctx); err != nil || len(removed) != 0 {
			t.Errorf("again: got %v, %v, want nothing", removed, err)
		}

		conf.State = room.Open
		open := create(t, l, conf)
		note(open, 1)
		expire("an open room that was noted", open, false)
		if _, noted := ends(t, rdb, open); noted != 0 {
			t.Errorf("an open room: still noted, %d", noted)
		}

		// Its keys went by themselves, because nobody ran Expire, or Redis lost them: the
		// day between tells.
		rdb.Del(ctx, keysOf(open)...)
		note(open, clock.ms())
		expire("a line that is lost", open, false)
		clock.pass(netLife)
		expire("a line that has expired", open, true)
		note("never-was", clock.ms()-netLife.Milliseconds())
		if removed, err := l.Expire(ctx); err != nil || len(removed) != 0 || deleted(t, l, "never-was") {
			t.Errorf("a room that never was: got %v, %v, deleted %v, want nothing", removed, err, deleted(t, l, "never-was"))
		}
	})
}

// A call that was cut short is finished by the next one.
func TestExpireCutShort(t *testing.T) {
	for _, sent := range []bool{false, true} {
		for at := range 7 {
			t.Run(fmt.Sprint(sent, " ", at), func(t *testing.T) {
				onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
					clock, conf := newHand(), openConf()
					l := New(rdb, WithClock(clock.now))
					conf.State = room.Closed
					name := create(t, l, conf)
					clock.pass(closedLife + time.Second)
					cut := &cutter{at: int64(at), sent: sent}
					rdb.AddHook(cut)
					_, err := l.Expire(background())
					cut.off.Store(true)
					if cut.did.Load() && err == nil && !deleted(t, l, name) {
						t.Errorf("cut at command %d: got no error and the room is there", at)
					}
					if _, err := l.Expire(background()); err != nil || !deleted(t, l, name) || listed(t, l, name) {
						t.Errorf("the next call: got %v, deleted %v, listed %v", err, deleted(t, l, name), listed(t, l, name))
					}
					if _, noted := ends(t, rdb, name); noted != 0 {
						t.Errorf("the next call: still noted, %d", noted)
					}
				})
			})
		}
	}
}

// A long line is freed beside Redis's work, and not in the midst of it.
func TestExpireDoesNotStall(t *testing.T) {
	rdb := testenv.StartRedis(t).Client()
	clock, conf := newHand(), openConf()
	ctx, l := background(), New(rdb, WithClock(clock.now))
	name := create(t, l, conf)
	for lane := range int64(5) {
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: lane + 1}, room.MaxBatch)
	}
	if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: ptr(room.Closed)}); err != nil {
		t.Fatal(err)
	}
	clock.pass(closedLife + time.Second)
	freed := func() int64 {
		info, err := rdb.InfoMap(ctx, "memory").Result()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseInt(info["Memory"]["lazyfreed_objects"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := freed()
	if removed, err := l.Expire(ctx); err != nil || len(removed) != 1 {
		t.Fatalf("got %v, %v, want the room", removed, err)
	}
	// Redis frees small keys at once and leaves the others to a thread.
	for deadline := time.Now().Add(10 * time.Second); freed() == before; {
		if time.Now().After(deadline) {
			t.Fatal("the line was freed in the midst of Redis's work")
		}
	}
}
