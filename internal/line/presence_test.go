package line

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// window is the bitmap of some numbers, and its first byte.
func window(places []room.Place) (from int64, bits []byte) {
	if len(places) == 0 {
		return 0, nil
	}
	least, most := places[0].Number, places[0].Number
	for _, p := range places {
		least, most = min(least, p.Number), max(most, p.Number)
	}
	from = int64(least) >> 3
	bits = make([]byte, int64(most)>>3-from+1)
	for _, p := range places {
		bits[int64(p.Number)>>3-from] |= 0x80 >> (p.Number & 7)
	}
	return from, bits
}

// Who is seen stays, who is not leaves the line after the grace and hears why; who
// comes back in time, or in the moment between look and act, stays too.
func TestAwayVisitorsLeave(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 40)
		here := slices.Concat(places[:10], places[20:])
		span := room.DefaultGrace / (rings - 1)
		for i := range 2 * (rings - 1) {
			away, err := l.Away(ctx, name, 1000)
			switch {
			case i == rings-1: // the span of the join is the last of the grace
			case i < rings-1 && !errors.Is(err, room.ErrUnsure):
				t.Fatalf("span %d: got %v, %v, want %v: nobody spoke in the spans before", i, away, err, room.ErrUnsure)
			case i >= rings && (err != nil || len(away) != 10 || away[0] != 11):
				t.Fatalf("span %d: got %v, %v, want 11 to 20", i, away, err)
			}
			clock.pass(span / 2)
			from, bits := window(here)
			if _, _, err := l.Present(ctx, name, by, from, bits); err != nil {
				t.Fatal(err)
			}
			clock.pass(span / 2)
		}
		away, err := l.Away(ctx, name, 1000)
		if err != nil || len(away) != 10 {
			t.Fatalf("got %v, %v, want 10 numbers", away, err)
		}
		if some, err := l.Away(ctx, name, 3); err != nil || !slices.Equal(some, away[:3]) {
			t.Errorf("three of them: got %v, %v", some, err)
		}
		// Between the look and the act two come back; one leaves, one is let in.
		if _, err := l.Rejoin(ctx, name, by, places[10:12]); err != nil {
			t.Fatal(err)
		}
		if err := l.Leave(ctx, name, by, places[12]); err != nil {
			t.Fatal(err)
		}
		reaped, err := l.Reap(ctx, name, by, away)
		if err != nil || reaped != 7 {
			t.Fatalf("reaped: got %d, %v, want 7", reaped, err)
		}
		if err := rdb.HDel(ctx, spansKey(name), "3").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reap(ctx, name, by, away); !errors.Is(err, room.ErrUnsure) {
			t.Errorf("reap with a span missing: got %v, want %v", err, room.ErrUnsure)
		}
		tag := (clock.ms()/span.Milliseconds() - 3 + 9) / 9 * 9
		for n := tag - 9; n <= tag+9; n++ { // what the span 3 of the ring was
			if n%9 == 3 && n <= clock.ms()/span.Milliseconds() {
				rdb.HSet(ctx, spansKey(name), "3", n)
			}
		}
		if reaped, err = l.Reap(ctx, name, by, away); err != nil || reaped != 0 {
			t.Errorf("again: got %d, %v, want nobody", reaped, err)
		}
		stands, err := l.Rejoin(ctx, name, by, places)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range stands {
			want := room.Waiting
			switch {
			case i == 12:
				want = room.Gone
			case i > 12 && i < 20:
				want = room.Away
			}
			if s.Standing != want {
				t.Errorf("place %d: got %v, want %v", i+1, s.Standing, want)
			}
		}
		snap, err := l.Snapshot(ctx, name, 0)
		if err != nil || snap.Waiting != 32 || snap.Head != 1 {
			t.Errorf("snapshot: got %d waiting from %d, %v, want 32 from 1", snap.Waiting, snap.Head, err)
		}
		// After a loss nobody can say who is away, until everybody was heard.
		if _, _, err := l.Report(ctx, name, room.Caller{Epoch: conf.Epoch, Process: "other"}); err != nil {
			t.Fatal(err)
		}
		if err := rdb.HSet(ctx, lifeKey(name), "replid", "before").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reap(ctx, name, by, away); !errors.Is(err, room.ErrUnsure) {
			t.Errorf("reap of a fenced line: got %v, want %v", err, room.ErrUnsure)
		}
	})
}

// The grace is the room's: it is told with the conf, a change of it is an act, and spans
// follow. A conf without one, of an older version, has the usual one.
func TestGraceOfARoom(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		conf.Grace = 40 * time.Second
		name := create(t, l, conf)
		grace := func(want time.Duration) {
			t.Helper()
			snap, err := l.Snapshot(ctx, name, 0)
			if err != nil || snap.Conf.Grace != want {
				t.Errorf("grace: got %s, %v, want %s", snap.Conf.Grace, err, want)
			}
		}
		grace(conf.Grace)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		// away passes so long, with a node that sees nobody, and says who is away then.
		away := func(d, grace time.Duration) int {
			t.Helper()
			for end := clock.ms() + d.Milliseconds(); clock.ms() < end; clock.pass(grace / 16) {
				if _, _, err := l.Present(ctx, name, caller(conf.Epoch), 0, nil); err != nil {
					t.Fatal(err)
				}
			}
			numbers, err := l.Away(ctx, name, 10)
			if err != nil && !errors.Is(err, room.ErrUnsure) {
				t.Fatal(err)
			}
			return len(numbers)
		}
		if got := away(35*time.Second, conf.Grace); got != 0 {
			t.Errorf("before a grace of 40 s is over: got %d away, want none", got)
		}
		if got := away(15*time.Second, conf.Grace); got != 3 {
			t.Errorf("after a grace of 40 s: got %d away, want all three", got)
		}
		longer := 80 * time.Second
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", Grace: &longer}); err != nil {
			t.Fatal(err)
		}
		grace(longer)
		acts, err := l.Acts(ctx, name, 1)
		if err != nil || acts[0].What != "set grace_ms 40s → 1m20s" {
			t.Errorf("got %+v, %v, want the change of the grace", acts, err)
		}
		if got := away(50*time.Second, longer); got != 0 {
			t.Errorf("before a grace of 80 s after the change: got %d away, want none", got)
		}
		if got := away(50*time.Second, longer); got != 3 {
			t.Errorf("after it: got %d away, want all three", got)
		}
		if err := rdb.HDel(ctx, confKey(name), fieldGrace).Err(); err != nil {
			t.Fatal(err)
		}
		grace(room.DefaultGrace)
	})
}

// Whoever is with some node, or comes back within the grace, is never reaped, and who
// stays away is; whatever the order of nodes, drops and reapers.
func TestPresence(t *testing.T) {
	// A Redis of its own: nodes of other packages' tests speak for every room that is
	// listed, by the machine's clock, and this room's stands a year away. One word of
	// theirs leaves two spans without any, and then nobody is reaped.
	rdb := testenv.StartRedis(t).Client()
	name := roomName(t)
	rapidly(t, "12", "60")
	rapid.Check(t, func(rt *rapid.T) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		if err := l.Create(ctx, name, conf, "test"); err != nil {
			rt.Fatal(err)
		}
		defer l.Delete(ctx, name, true, "test")
		by := caller(conf.Epoch)
		type visitor struct {
			room.Place
			node  int // 0: nowhere
			since time.Duration
		}
		var all []*visitor
		var now time.Duration
		span := room.DefaultGrace / (rings - 1)
		lane := int64(0)
		for range rapid.IntRange(20, 60).Draw(rt, "steps") {
			// A span's half: each node says who is there, then people come and go.
			for node := 1; node <= 3; node++ {
				var mine []room.Place
				for _, v := range all {
					if v.node == node {
						mine = append(mine, v.Place)
					}
				}
				from, bits := window(mine)
				if _, _, err := l.Present(ctx, name, by, from, bits); err != nil {
					rt.Fatal(err)
				}
			}
			if rapid.Bool().Draw(rt, "somebody joins") {
				lane++
				ids := visitors(rapid.IntRange(1, 20).Draw(rt, "visitors"))
				joined, err := l.Join(ctx, name, by, room.Lane{Name: "a-0", Batch: lane}, ids)
				if err != nil {
					rt.Fatal(err)
				}
				for i, id := range ids {
					all = append(all, &visitor{Place: room.Place{Visitor: id, Number: joined.Number(i)}, node: rapid.IntRange(0, 3).Draw(rt, "node"), since: now})
				}
			}
			for _, v := range all {
				switch rapid.IntRange(0, 19).Draw(rt, "moves") {
				case 0:
					if v.node > 0 {
						v.node, v.since = 0, now
					}
				case 1:
					// Comes back to some node while it may.
					if v.node == 0 && now-v.since < room.DefaultGrace-2*span {
						stands, err := l.Rejoin(ctx, name, by, []room.Place{v.Place})
						if err != nil || stands[0].Standing != room.Waiting {
							rt.Fatalf("%+v came back after %v: got %v, %v", v, now-v.since, stands, err)
						}
						v.node = rapid.IntRange(1, 3).Draw(rt, "node")
					}
				}
			}
			if away, err := l.Away(ctx, name, 1000); err == nil {
				if _, err := l.Reap(ctx, name, by, away); err != nil {
					rt.Fatal(err)
				}
			} else if !errors.Is(err, room.ErrUnsure) {
				rt.Fatal(err)
			}
			clock.pass(span / 2)
			now += span / 2
			for _, v := range all {
				stands, err := l.Stands(ctx, name, []room.Place{v.Place})
				if err != nil {
					rt.Fatal(err)
				}
				switch s := stands[0].Standing; {
				case s == room.Away && (v.node > 0 || now-v.since < room.DefaultGrace-span):
					rt.Fatalf("%+v was reaped after %v", v, now-v.since)
				case s == room.Waiting && v.node == 0 && now > room.DefaultGrace+2*span && now-v.since > room.DefaultGrace+2*span:
					rt.Fatalf("%+v is still in line after %v", v, now-v.since)
				}
			}
		}
	})
}
