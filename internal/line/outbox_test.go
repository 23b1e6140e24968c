package line

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// An admission stays in the outbox until it is relayed, whatever happens to the
// relay that read it.
func TestOutbox(t *testing.T) {
	onServers(t, func(t *testing.T, rdb *redis.Client) {
		ctx, conf := background(), openConf()
		l := New(rdb)
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		if got, err := l.ReadOutbox(ctx, name, 10); err != nil || len(got) != 0 {
			t.Errorf("outbox of a new room: got %v, %v", got, err)
		}
		if at, err := l.Oldest(ctx, name); err != nil || !at.IsZero() {
			t.Errorf("oldest of a new room: got %v, %v", at, err)
		}
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 5)
		admit(t, l, name, conf, 5) // before any group was made
		before := time.Now()
		first, err := l.ReadOutbox(ctx, name, 3)
		if err != nil || len(first) != 3 {
			t.Fatalf("outbox: got %v, %v, want 3 entries", first, err)
		}
		if at, err := l.Oldest(ctx, name); err != nil || !at.Equal(first[0].At) {
			t.Errorf("oldest: got %v, %v, want %v", at, err, first[0].At)
		}
		for i, e := range first {
			if e.Visitor != places[i].Visitor || e.Number != places[i].Number || e.Epoch != conf.Epoch ||
				e.At.After(before) || before.Sub(e.At) > time.Minute {
				t.Errorf("entry %d: got %+v, want %v of epoch %s, just now", i, e, places[i], conf.Epoch)
			}
		}
		// The relay dies with its three; another takes the rest, and these only
		// once they were left for long.
		other := New(rdb)
		if rest, err := other.ReadOutbox(ctx, name, 10); err != nil || len(rest) != 2 {
			t.Errorf("second relay: got %v, %v, want the other 2", rest, err)
		}
		age := func(e room.Admitted) {
			t.Helper()
			if err := rdb.Do(ctx, "XCLAIM", outboxKey(name), group, consumer, 0, e.Entry,
				"IDLE", (abandoned + time.Second).Milliseconds(), "JUSTID").Err(); err != nil {
				t.Fatal(err)
			}
		}
		age(first[0])
		age(first[1])
		again, err := New(rdb).ReadOutbox(ctx, name, 10)
		if err != nil || !slices.Equal(again, first[:2]) {
			t.Errorf("what was left: got %v, %v, want %v", again, err, first[:2])
		}

		// Acknowledged is gone, also when said twice and by a strange epoch not.
		ids := []string{first[0].Entry, first[1].Entry, first[2].Entry}
		if err := l.Relayed(ctx, name, caller(room.NewEpoch()), ids); err != room.ErrEpoch {
			t.Errorf("relayed of another epoch: got %v, want %v", err, room.ErrEpoch)
		}
		for range 2 {
			if err := l.Relayed(ctx, name, by, ids); err != nil {
				t.Errorf("relayed: %v", err)
			}
		}
		pending, err := rdb.XPending(ctx, outboxKey(name), group).Result()
		if n := rdb.XLen(ctx, outboxKey(name)).Val(); n != 2 || err != nil || pending.Count != 2 {
			t.Errorf("after relayed: got %d entries, %+v, %v, want 2 and 2 pending", n, pending, err)
		}
	})
}

// Admission stops at the outbox's depth and goes on when Kafka does.
func TestOutboxIsBounded(t *testing.T) {
	rdb := testenv.Redis(t)
	clock := newHand()
	ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
	conf.Rate, conf.Burst = room.MaxRate, room.MaxBurst
	name := create(t, l, conf)
	for i := range 6 {
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: int64(i + 1)}, room.MaxBatch)
	}
	clock.pass(time.Minute)
	admitted := 0
	for {
		// 300 does not divide the bound: the last round is cut short by it.
		round, err := l.Admit(ctx, name, caller(conf.Epoch), 300)
		if err != nil {
			t.Fatal(err)
		}
		admitted += round.Admitted
		if round.Stop != room.StopMore {
			if round.Stop != room.StopOutbox || round.Due <= 0 {
				t.Errorf("got stop %s, due %v, want %s", round.Stop, round.Due, room.StopOutbox)
			}
			break
		}
	}
	if admitted != room.MaxOutbox {
		t.Errorf("got %d admitted with Kafka away, want %d", admitted, room.MaxOutbox)
	}
	entries, err := l.ReadOutbox(ctx, name, 2_500)
	if err != nil || len(entries) != 2_500 {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.Entry
	}
	if err := l.Relayed(ctx, name, caller(conf.Epoch), ids); err != nil {
		t.Fatal(err)
	}
	if round, err := l.Admit(ctx, name, caller(conf.Epoch), room.MaxRound); err != nil || round.Admitted != room.MaxRound {
		t.Errorf("after Kafka came back: got %+v, %v", round, err)
	}
}
