package line

import (
	"cmp"
	"slices"
	"sync"
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
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 5)
		admit(t, l, name, conf, 5) // before any group was made
		before := time.Now()
		first, err := l.ReadOutbox(ctx, name, 3)
		if err != nil || len(first) != 3 {
			t.Fatalf("outbox: got %v, %v, want 3 entries", first, err)
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
		round, err := l.Admit(ctx, name, caller(conf.Epoch), room.MaxRound)
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

// Several admitters at once on the server's own clock: the order of numbers, each
// visitor once, and never more than rate·t + burst between any two rounds.
func TestSeveralAdmitters(t *testing.T) {
	rdb := testenv.Redis(t)
	ctx, l, conf := background(), New(rdb), openConf()
	conf.Rate, conf.Burst = 3_000_000, 60
	name := create(t, l, conf)
	const crowd = 1_500
	join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, crowd)
	begin := make(chan struct{})
	var wait sync.WaitGroup
	for range 3 { // each ends when the line is empty; waited for below
		wait.Go(func() {
			own := New(rdb)
			<-begin
			for {
				round, err := own.Admit(ctx, name, caller(conf.Epoch), 50)
				if err != nil {
					t.Error(err)
					return
				}
				if round.Stop == room.StopEmpty {
					return
				}
			}
		})
	}
	close(begin)
	wait.Wait()
	entries, err := l.ReadOutbox(ctx, name, crowd+1)
	if err != nil || len(entries) != crowd {
		t.Fatalf("got %d admissions, %v, want %d", len(entries), err, crowd)
	}
	if !slices.IsSortedFunc(entries, func(a, b room.Admitted) int { return cmp.Compare(a.Number, b.Number) }) ||
		entries[crowd-1].Number != crowd {
		t.Errorf("admitted out of order, or one twice")
	}
	for i := range entries {
		for _, j := range []int{0, i / 2, max(0, i-100), max(0, i-61)} {
			t100 := entries[i].At.Sub(entries[j].At).Microseconds()
			if got, most := int64(i-j+1), t100*int64(conf.Rate)/1_000_000_000+conf.Burst; got > most {
				t.Fatalf("admitted %d in %d µs, more than rate·t + burst = %d", got, t100, most)
			}
		}
	}
}

// A clock that went back gives nothing and stops nothing.
func TestClockGoesBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb *redis.Client) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		conf.Rate, conf.Burst = 100_000, 50
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 300)
		for i, step := range []struct {
			pass time.Duration
			want int
		}{{10 * time.Second, 50}, {-30 * time.Second, 0}, {100 * time.Millisecond, 10}, {time.Second, 50}} {
			clock.pass(step.pass)
			if round, err := l.Admit(ctx, name, caller(conf.Epoch), 500); err != nil || round.Admitted != step.want {
				t.Errorf("step %d, after %v: got %+v, %v, want %d admitted", i, step.pass, round, err, step.want)
			}
		}
	})
}

// The last number a line may give is given, and none above it.
func TestLastNumber(t *testing.T) {
	rdb := testenv.Redis(t)
	ctx, l, conf := background(), New(rdb), openConf()
	name := create(t, l, conf)
	if err := rdb.Set(ctx, seqKey(name), int64(room.MaxNumber)-2, 0).Err(); err != nil {
		t.Fatal(err)
	}
	ids := visitors(5)
	joined, err := l.Join(ctx, name, caller(conf.Epoch), room.Lane{Name: "a-0", Batch: 1}, ids)
	if err != nil || joined != (room.Joined{First: room.MaxNumber - 1, Granted: 2}) {
		t.Errorf("join at the end: got %+v, %v, want the last 2 numbers", joined, err)
	}
	if joined, err = l.Join(ctx, name, caller(conf.Epoch), room.Lane{Name: "a-0", Batch: 2}, ids[2:]); err != nil || joined.Granted != 0 {
		t.Errorf("join beyond the end: got %+v, %v, want nobody", joined, err)
	}
}

// A visitor that is in line already keeps its number; the one a batch took for it
// is marked, so that nobody behind is off.
func TestJoinOfAVisitorInLine(t *testing.T) {
	onServers(t, func(t *testing.T, rdb *redis.Client) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		first := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		ids := visitors(3)
		ids[1] = first[2].Visitor
		if _, err := l.Join(ctx, name, caller(conf.Epoch), room.Lane{Name: "b-0", Batch: 1}, ids); err != nil {
			t.Fatal(err)
		}
		queue, err := rdb.ZRangeWithScores(ctx, queueKey(name), 0, -1).Result()
		if err != nil || len(queue) != 5 || queue[2].Score != 3 || queue[3].Score != 4 || queue[4].Score != 6 {
			t.Errorf("queue: got %v, %v, want numbers 1, 2, 3, 4, 6", queue, err)
		}
		for n := int64(0); n <= 8; n++ {
			if bit, err := rdb.GetBit(ctx, goneKey(name), n).Result(); err != nil || (bit == 1) != (n == 5) {
				t.Errorf("bit %d: got %d, %v", n, bit, err)
			}
		}
		if stands, err := l.Stands(ctx, name, []room.Place{{Visitor: ids[1], Number: 5}, first[2]}); err != nil ||
			stands[0].Standing != room.Gone || stands[1].Standing != room.Waiting {
			t.Errorf("stands: got %v, %v, want the old place waiting, the new one gone", stands, err)
		}
	})
}

func BenchmarkJoin(b *testing.B) {
	l, conf := New(testenv.Redis(b)), openConf()
	conf.MaxWaiting = room.MaxWaiting
	name := create(b, l, conf)
	const size = 500
	ids := visitors(size * 400) // more than is joined before they come round again
	batch := int64(0)
	for b.Loop() {
		at := int(batch) * size % len(ids)
		if at == 0 && batch > 0 { // the same visitors in an empty line
			b.StopTimer()
			l.rdb.Del(background(), queueKey(name))
			b.StartTimer()
		}
		batch++
		if _, err := l.Join(background(), name, caller(conf.Epoch), room.Lane{Name: "a-0", Batch: batch}, ids[at:at+size]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(batch*size)/b.Elapsed().Seconds(), "joins/s")
}

func BenchmarkAdmit(b *testing.B) {
	clock := newHand()
	rdb := testenv.Redis(b)
	l, conf := New(rdb, WithClock(clock.now)), openConf()
	conf.MaxWaiting, conf.Rate, conf.Burst, conf.MaxActive = room.MaxWaiting, room.MaxRate, room.MaxBurst, room.MaxActive
	name := create(b, l, conf)
	total, batch := 0, int64(0)
	for b.Loop() {
		clock.pass(time.Second)
		round, err := l.Admit(background(), name, caller(conf.Epoch), room.MaxRound)
		if err != nil {
			b.Fatal(err)
		}
		total += round.Admitted
		if round.Admitted < room.MaxRound { // filled again, and the relay's work done
			b.StopTimer()
			for range 5 {
				batch++
				if _, err := l.Join(background(), name, caller(conf.Epoch), room.Lane{Name: "a-0", Batch: batch}, visitors(room.MaxBatch)); err != nil {
					b.Fatal(err)
				}
			}
			rdb.Del(background(), outboxKey(name))
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "admissions/s")
}
