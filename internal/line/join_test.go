package line

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

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
	if err != nil || joined.First != room.MaxNumber-1 || joined.Granted != 2 || joined.Repeated {
		t.Errorf("join at the end: got %+v, %v, want the last 2 numbers", joined, err)
	}
	if joined, err = l.Join(ctx, name, caller(conf.Epoch), room.Lane{Name: "a-0", Batch: 2}, ids[2:]); err != nil || joined.Granted != 0 {
		t.Errorf("join beyond the end: got %+v, %v, want nobody", joined, err)
	}
}

// A visitor that is in line already keeps its number; the one a batch took for it
// is marked, so that nobody behind is off.
func TestJoinOfAVisitorInLine(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		first := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		ids := visitors(3)
		ids[1] = first[2].Visitor
		for again := range 2 {
			joined, err := l.Join(ctx, name, caller(conf.Epoch), room.Lane{Name: "b-0", Batch: 1}, ids)
			if err != nil || joined.Granted != 3 || joined.Number(0) != 4 || joined.Number(1) != 3 || joined.Number(2) != 6 {
				t.Fatalf("try %d: got %+v, %v, want numbers 4, 3, 6", again, joined, err)
			}
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
