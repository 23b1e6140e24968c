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

// Several admitters at once on the server's own clock: the order of numbers, each
// visitor once, and never more than rate·t + burst between any two rounds.
func TestSeveralAdmitters(t *testing.T) {
	rdb := testenv.Redis(t)
	ctx, l, conf := background(), New(rdb), openConf()
	conf.Rate, conf.Burst = 3_000_000, 300
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
	read, err := l.ReadOutbox(ctx, name, crowd)
	entries := admissions(read)
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

// Each stretch of time counts at the rate and burst that held then, also when
// both changed back before the next round.
func TestChangesBetweenRounds(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		conf.Rate, conf.Burst = 100_000, 50
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 600)
		for i, step := range []struct {
			pass   time.Duration
			change room.Change
			want   int // admitted by a round then; -1: no round
		}{
			{time.Minute, room.Change{}, 50},
			{0, room.Change{Rate: ptr(room.Rate(1_000))}, -1},
			{10 * time.Second, room.Change{Rate: ptr(room.Rate(100_000))}, 10}, // of 1/s, not of 100/s
			{time.Hour, room.Change{Burst: ptr(int64(400))}, 50},               // the burst that was full
			{time.Hour, room.Change{Burst: ptr(int64(20))}, -1},
			{0, room.Change{Burst: ptr(int64(400))}, 20},
			{0, room.Change{State: ptr(room.Paused)}, 0},
			{time.Hour, room.Change{State: ptr(room.Open)}, 400}, // after a pause, at most one burst
		} {
			clock.pass(step.pass)
			step.change.Actor = "test"
			if _, err := l.Set(ctx, name, step.change); err != nil {
				t.Fatal(err)
			}
			if step.want < 0 {
				continue
			}
			if round, err := l.Admit(ctx, name, caller(conf.Epoch), 500); err != nil || round.Admitted != step.want {
				t.Errorf("step %d: got %+v, %v, want %d admitted", i, round, err, step.want)
			}
		}
	})
}

// A clock that went back gives nothing and stops nothing.
func TestClockGoesBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
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
