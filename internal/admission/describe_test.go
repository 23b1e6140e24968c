package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// wantTold compares the last record of each room, once the looks have had time.
func wantTold(t *testing.T, w *world, want map[room.Name]string, records int) {
	t.Helper()
	time.Sleep(3 * registryEvery)
	synctest.Wait()
	if got, count := w.told(t); !maps.Equal(got, want) || count != records {
		t.Errorf("told: got %v in %d records, want %v in %d", got, count, want, records)
	}
}

// Each room is described once at the start and once per change; a room that is
// deleted gets a tombstone, and one made anew is described anew.
func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("gala", "plain")
		w.describe("gala", "Gala")
		_, _, stop := serve(t, Config{}, w, w)
		defer stop()
		wantTold(t, w, map[room.Name]string{"gala": "Gala", "plain": ""}, 2)
		w.describe("gala", "Ball")
		wantTold(t, w, map[room.Name]string{"gala": "Ball", "plain": ""}, 3)
		w.create("new", "bbbbbbbb")
		wantTold(t, w, map[room.Name]string{"gala": "Ball", "plain": "", "new": ""}, 4)
		w.remove("plain")
		wantTold(t, w, map[room.Name]string{"gala": "Ball", "plain": "†", "new": ""}, 5)
		w.create("plain", "cccccccc")
		wantTold(t, w, map[room.Name]string{"gala": "Ball", "plain": "", "new": ""}, 6)
		// Between two looks: no tombstone, and the same rev of another line is new.
		w.remove("gala")
		w.create("gala", "dddddddd")
		w.describe("gala", "Anew")
		w.describe("gala", "Anew")
		time.Sleep(checkEvery) // a line made anew in which nothing else is new is found by a round
		wantTold(t, w, map[room.Name]string{"gala": "Anew", "plain": "", "new": ""}, 7)
	})
}

// --room narrows what is described, and a room that this admitter does not serve
// gets no tombstone from it.
func TestDescribeNarrowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale, "other")
		_, _, stop := serve(t, Config{Rooms: []string{string(sale)}}, w, w)
		defer stop()
		wantTold(t, w, map[room.Name]string{sale: ""}, 1)
		w.remove("other")
		wantTold(t, w, map[room.Name]string{sale: ""}, 1)
	})
}

// While Kafka is away the rounds go on, one attempt is made at a time, and what is
// told then is how it is then. It is logged once.
func TestDescribeKafkaAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale, "gone")
		w.describe(sale, "first")
		w.away = errors.New("kafka is away")
		w.block = 5 * time.Second
		w.join(sale, 100_000)
		s, logs, stop := serve(t, Config{}, w, w)
		defer stop()
		for i := range 40 {
			time.Sleep(time.Second)
			w.describe(sale, fmt.Sprint("title ", i))
		}
		w.remove("gone")
		w.mu.Lock()
		rounds := len(w.admits)
		w.away, w.block = nil, 0
		w.mu.Unlock()
		if rounds < 40*90 { // every 10 ms
			t.Errorf("got %d rounds in 40 s without Kafka, want about 4000", rounds)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		// The attempt under way got through with what it held, the next with the rest.
		if got, count := w.told(t); got[sale] != "title 39" || count > 4 {
			t.Errorf("told: got %v in %d records, want title 39 in at most two attempts", got, count)
		}
		if got := logs.FilterMessageSnippet("what a room's sale is for").Len(); got != 1 {
			t.Errorf("got %d lines about the trouble, want 1", got)
		}
		if got := len(s.describer.rooms); got > 1 {
			t.Errorf("got %d looks waiting, want 1 at most", got)
		}
	})
}

// Each call fails once at each of its first times, before or after it took effect:
// the last word about each room is the truth.
func TestDescribeLostReplies(t *testing.T) {
	for _, call := range []string{"revs", "event", "describe"} {
		for n := 1; n <= 4; n++ {
			for _, f := range []fault{notSent, replyLost} {
				t.Run(fmt.Sprintf("%s/%d/%d", call, n, f), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(sale, "gone")
						w.describe(sale, "Gala")
						w.describe("gone", "Gone")
						var hit atomic.Bool
						c := &client{world: w, at: func(is string, i int) fault {
							if is == call && i == n {
								hit.Store(true)
								return f
							}
							return none
						}}
						_, _, stop := serve(t, Config{}, c, c)
						defer stop()
						for i := range 4 {
							time.Sleep(3 * registryEvery)
							w.describe(sale, fmt.Sprint("title ", i))
							if i == 2 {
								w.remove("gone")
							}
						}
						time.Sleep(3 * registryEvery)
						synctest.Wait()
						if got, _ := w.told(t); got[sale] != "title 3" || got["gone"] != "†" || !hit.Load() {
							t.Errorf("got %v, fault made %v, want title 3 and a tombstone", got, hit.Load())
						}
					})
				})
			}
		}
	}
}

// Two admitters tell the same, and a tombstone of a room that was made anew is
// followed by its description.
func TestDescribeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.describe(sale, "Gala")
		_, _, stop := serve(t, Config{}, w, w)
		defer stop()
		time.Sleep(registryEvery / 2)
		_, _, stopOther := serve(t, Config{}, w, w)
		defer stopOther()
		wantTold(t, w, map[room.Name]string{sale: "Gala"}, 2)
		for i := range 10 {
			w.remove(sale)
			time.Sleep(time.Duration(i) * registryEvery / 5) // one of them may see it gone, or both, or none
			w.create(sale, room.NewEpoch())
			w.describe(sale, fmt.Sprint("sale ", i))
			time.Sleep(checkEvery + 3*registryEvery)
			synctest.Wait()
			if got, _ := w.told(t); got[sale] != fmt.Sprint("sale ", i) {
				t.Errorf("got %v, want sale %d", got, i)
			}
		}
	})
}

// An event that can't be read keeps no other room from being described.
func TestDescribeBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b", "c")
		for _, name := range []room.Name{"a", "b", "c"} {
			w.describe(name, string(name))
		}
		w.lines["b"].eventErr = errors.New("event of the line: accent")
		_, logs, stop := serve(t, Config{}, w, w)
		defer stop()
		wantTold(t, w, map[room.Name]string{"a": "a", "c": "c"}, 2)
		if got := logs.FilterMessageSnippet("what a room's sale is for").Len(); got != 1 {
			t.Errorf("got %d lines about it, want 1", got)
		}
		w.mu.Lock()
		w.lines["b"].eventErr = nil
		w.mu.Unlock()
		wantTold(t, w, map[room.Name]string{"a": "a", "b": "b", "c": "c"}, 3)
	})
}

// As many rooms as a registry has are described in batches.
func TestDescribeMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		want := map[room.Name]string{}
		for i := range 2*describeBatch + 1 {
			name := room.Name(fmt.Sprintf("r%d", i))
			w.create(name, "aaaaaaaa")
			want[name] = ""
		}
		_, _, stop := serve(t, Config{}, w, w)
		defer stop()
		wantTold(t, w, want, len(want))
		for _, broken := range w.broken {
			t.Error(broken)
		}
	})
}

// A room that left the list of those served and is there all the same (made anew
// since the registry was read, or beyond the bound of one admitter) gets no
// tombstone; one that lost its data gets none either.
func TestDescribeBuriesTheDeadOnly(t *testing.T) {
	w := newWorld(sale)
	d := newDescriber(w, w, zap.NewNop())
	if err := d.look(t.Context(), servedRooms{names: []room.Name{sale}}); err != nil {
		t.Fatal(err)
	}
	if err := d.look(t.Context(), servedRooms{}); err != nil {
		t.Fatal(err)
	}
	w.lines[sale].eventErr = room.ErrRecovering
	if err := d.look(t.Context(), servedRooms{}); err != nil {
		t.Fatal(err)
	}
	if got, count := w.told(t); got[sale] == "†" || count != 1 {
		t.Errorf("told: got %v in %d records, want the description alone", got, count)
	}
	w.remove(sale)
	for range 2 {
		if err := d.look(t.Context(), servedRooms{}); err != nil {
			t.Fatal(err)
		}
	}
	if got, count := w.told(t); got[sale] != "†" || count != 2 || len(d.published) != 0 {
		t.Errorf("told: got %v in %d records, %d remembered, want one tombstone and nothing remembered", got, count, len(d.published))
	}
}

// partly is a Kafka in which the partition of one room has no leader.
type partly struct {
	*world
	sick room.Name

	took map[room.Name]int
}

func (p *partly) Publish(_ context.Context, records []events.Record) error {
	var failed []int
	for i, r := range records {
		if string(r.Key) == string(p.sick) {
			failed = append(failed, i)
		} else {
			p.took[room.Name(r.Key)]++
		}
	}
	if len(failed) > 0 {
		return &events.Unpublished{Failed: failed, Err: errSick}
	}
	return nil
}

// A partition without a leader has the rooms on it described again, and no others.
func TestDescribePartitionWithoutLeader(t *testing.T) {
	w := newWorld("a", "b", "c")
	w.describe("c", "Gala")
	p := &partly{world: w, sick: "b", took: map[room.Name]int{}}
	d := newDescriber(w, p, zap.NewNop())
	look := func(names ...room.Name) error {
		return d.look(t.Context(), servedRooms{names: names})
	}
	for range 3 {
		if err := look("a", "b", "c"); !errors.Is(err, errSick) {
			t.Errorf("got %v, want what Kafka said", err)
		}
	}
	if want := map[room.Name]int{"a": 1, "c": 1}; !maps.Equal(p.took, want) {
		t.Errorf("got records %v, want %v", p.took, want)
	}
	w.remove("c")
	for range 3 {
		if err := look("a", "b"); !errors.Is(err, errSick) {
			t.Errorf("got %v, want what Kafka said", err)
		}
	}
	p.sick = ""
	if err := look("a", "b"); err != nil {
		t.Error(err)
	}
	if want := map[room.Name]int{"a": 1, "b": 1, "c": 2}; !maps.Equal(p.took, want) {
		t.Errorf("got records %v, want %v: one tombstone, and the room that waited", p.took, want)
	}
}
