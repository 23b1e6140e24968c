package line

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

func admissions(entries []room.Entry) (all []room.Admitted) {
	for _, e := range entries {
		all = append(all, e.Admitted...)
	}
	return all
}

// An admission stays in the outbox until it is relayed, whatever happens to the
// relay that read it.
func TestOutbox(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, conf := background(), openConf()
		conf.Rate, conf.Burst = room.MaxRate, room.MaxBurst // whole entries
		l := New(rdb)
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		if got, err := l.ReadOutbox(ctx, name, 10); err != nil || len(got) != 0 {
			t.Errorf("outbox of a new room: got %v, %v", got, err)
		}
		if at, err := l.Oldest(ctx, name); err != nil || !at.IsZero() {
			t.Errorf("oldest of a new room: got %v, %v", at, err)
		}
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 5*room.MaxEntry)
		admit(t, l, name, conf, 5*room.MaxEntry)
		before := time.Now()
		first, err := l.ReadOutbox(ctx, name, 3)
		if err != nil || len(first) != 3 {
			t.Fatalf("outbox: got %v, %v, want 3 entries", first, err)
		}
		if at, err := l.Oldest(ctx, name); err != nil || !at.Equal(first[0].Admitted[0].At) {
			t.Errorf("oldest: got %v, %v, want %v", at, err, first[0].Admitted[0].At)
		}
		for i, e := range admissions(first) {
			if e.Visitor != places[i].Visitor || e.Number != places[i].Number || e.Epoch != conf.Epoch ||
				e.At.After(before) || before.Sub(e.At) > time.Minute {
				t.Errorf("admission %d: got %+v, want %v of epoch %s, just now", i, e, places[i], conf.Epoch)
			}
		}
		// The relay dies with its three; another takes the rest, and these only
		// once they were left for long.
		other := New(rdb)
		if rest, err := other.ReadOutbox(ctx, name, 1000); err != nil || len(admissions(rest)) != 2*room.MaxEntry {
			t.Errorf("second relay: got %v, %v, want the other 2", rest, err)
		}
		age := func(e room.Entry) {
			t.Helper()
			if err := rdb.Do(ctx, "XCLAIM", outboxKey(name), group, consumer, 0, e.ID,
				"IDLE", (abandoned + time.Second).Milliseconds(), "JUSTID").Err(); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range first {
			age(e)
		}
		if err := l.Keep(ctx, name, []string{first[2].ID}); err != nil {
			t.Errorf("keep: %v", err)
		}
		again, err := New(rdb).ReadOutbox(ctx, name, 1000)
		if err != nil || !slices.Equal(admissions(again), admissions(first[:2])) {
			t.Errorf("what was left and not kept: got %v, %v, want %v", again, err, first[:2])
		}

		// Acknowledged is gone, also when said twice and by a strange epoch not.
		if err := l.Relayed(ctx, name, caller(room.NewEpoch()), first); err != room.ErrEpoch {
			t.Errorf("relayed of another epoch: got %v, want %v", err, room.ErrEpoch)
		}
		for range 2 {
			if err := l.Relayed(ctx, name, by, first); err != nil {
				t.Errorf("relayed: %v", err)
			}
		}
		pending, err := rdb.XPending(ctx, outboxKey(name), group).Result()
		if n := rdb.XLen(ctx, outboxKey(name)).Val(); n != 2 || err != nil || pending.Count != 2 {
			t.Errorf("after relayed: got %d entries, %+v, %v, want 2 and 2 pending", n, pending, err)
		}
		if s, err := l.Status(ctx, name); err != nil || s.Outbox != 2*room.MaxEntry {
			t.Errorf("outbox: got %d, %v, want %d admissions", s.Outbox, err, 2*room.MaxEntry)
		}
	})
}

// An entry that nobody can read comes by itself, and is acknowledged like any other.
func TestOutboxUnreadable(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, conf := background(), openConf()
		conf.Rate, conf.Burst = room.MaxRate, room.MaxBurst
		l := New(rdb)
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		for _, values := range [][]string{{"e", "x", "p", "v 1"}, {"e", "x", "at", "1", "p", "v one"}, {"at", "1", "c", "2", "p", "v"}, {"other", "thing"}} {
			if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: outboxKey(name), Values: values}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		admit(t, l, name, conf, 3)
		entries, err := l.ReadOutbox(ctx, name, 1000)
		if err != nil || len(entries) != 5 || entries[4].Err != nil || len(entries[4].Admitted) != 3 {
			t.Fatalf("got %+v, %v, want 5 entries, the last good", entries, err)
		}
		for _, e := range entries[:4] {
			if e.Err == nil || e.Raw == "" || e.Admitted != nil {
				t.Errorf("got %+v, want an error and what stands there", e)
			}
		}
		if err := l.Relayed(ctx, name, caller(conf.Epoch), entries); err != nil {
			t.Fatal(err)
		}
		if round, err := l.Admit(ctx, name, caller(conf.Epoch), 1); err != nil || round.Outbox != 0 {
			t.Errorf("after all was relayed: got %+v, %v, want an empty outbox", round, err)
		}
	})
}

// Admission stops at the outbox's bound, which counts admissions, and goes on when
// Kafka does.
func TestOutboxIsBounded(t *testing.T) {
	rdb := testenv.Redis(t)
	clock := newHand()
	ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
	conf.Rate, conf.Burst = 1_000, room.MaxBurst
	name := create(t, l, conf)
	for i := range 6 {
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: int64(i + 1)}, room.MaxBatch)
	}
	clock.pass(24 * time.Hour)
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
	if want := room.OutboxBound(conf.Rate); int64(admitted) != want {
		t.Errorf("got %d admitted with Kafka away, want %d", admitted, want)
	}
	entries, err := l.ReadOutbox(ctx, name, 50)
	if n := len(admissions(entries)); err != nil || n != 2_500 {
		t.Fatalf("got %d admissions, %v", n, err)
	}
	if err := l.Relayed(ctx, name, caller(conf.Epoch), entries); err != nil {
		t.Fatal(err)
	}
	if round, err := l.Admit(ctx, name, caller(conf.Epoch), room.MaxRound); err != nil || round.Admitted != room.MaxRound {
		t.Errorf("after Kafka came back: got %+v, %v", round, err)
	}
	for rate, want := range map[room.Rate]int64{1: 10_000, 200_000: 120_000, room.MaxRate: 1_000_000} {
		if got := room.OutboxBound(rate); got != want {
			t.Errorf("bound at %v: got %d, want %d", rate, got, want)
		}
	}
}
