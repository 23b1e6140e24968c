package line

import (
	"errors"
	"maps"
	"testing"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// A full Redis refuses a join at its first write, and nothing may be written before that:
// one that frees memory would let the rest through. So a join whose process the line does
// not know yet notes the process last, and a refused one leaves no trace.
func TestFirstJoinOnFullMemory(t *testing.T) {
	server := testenv.StartRedis(t)
	rdb := server.Client()
	ctx, l, conf := background(), New(rdb), openConf()
	name := create(t, l, conf)
	join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 5)
	before, err := rdb.HGetAll(ctx, lifeKey(name)).Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	by := room.Caller{Epoch: conf.Epoch, Process: "new"}
	if joined, err := l.Join(ctx, name, by, room.Lane{Name: "new-0", Batch: 1}, visitors(3)); !errors.Is(err, room.ErrMemory) {
		t.Errorf("join: got %+v, %v, want %v", joined, err, room.ErrMemory)
	}
	if snap, err := l.Snapshot(ctx, name, 0); err != nil || snap.Seq != 5 || snap.Waiting != 5 {
		t.Errorf("after it: got %d waiting up to %d, %v, want 5 up to 5", snap.Waiting, snap.Seq, err)
	}
	if after := rdb.HGetAll(ctx, lifeKey(name)).Val(); !maps.Equal(after, before) {
		t.Errorf("after it the line knows %v, want %v", after, before)
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if joined, err := l.Join(ctx, name, by, room.Lane{Name: "new-0", Batch: 1}, visitors(3)); err != nil || joined.First != 6 {
		t.Errorf("the same batch with memory: got %+v, %v, want number 6", joined, err)
	}
}
