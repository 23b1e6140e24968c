package line

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// listed says whether the registry has the room.
func listed(t *testing.T, l *Lines, name room.Name) bool {
	t.Helper()
	names, err := l.Rooms(background())
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(names, name)
}

// deleted is what the line says of a room's end.
func deleted(t *testing.T, l *Lines, name room.Name) bool {
	t.Helper()
	is, err := l.Deleted(background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// A deleted room leaves a tombstone and its acts, and nothing else ends a room: not
// an empty registry, not a line that is gone.
func TestTombstone(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		rdb.SRem(ctx, roomsKey(), string(name))
		if deleted(t, l, name) {
			t.Error("a room that the registry lost: got it deleted")
		}
		if deleted(t, l, roomName(t)) {
			t.Error("a room that never was: got it deleted")
		}
		clock.pass(time.Minute)
		if err := l.Delete(ctx, name, true, "ann"); err != nil {
			t.Fatal(err)
		}
		stone, has, err := l.Tombstone(ctx, name)
		if want := (room.Tombstone{Epoch: conf.Epoch, At: clock.at(), Actor: "ann"}); err != nil || !has || stone != want {
			t.Errorf("tombstone: got %+v, %v, %v, want %+v", stone, has, err, want)
		}
		if !deleted(t, l, name) || listed(t, l, name) {
			t.Errorf("after delete: got deleted %v, listed %v, want deleted alone", deleted(t, l, name), listed(t, l, name))
		}
		acts, err := l.Acts(ctx, name, 10)
		if err != nil || len(acts) != 2 || acts[0].Actor != "ann" || acts[0].What != "delete" || !acts[1].Created {
			t.Errorf("acts of a deleted room: got %+v, %v, want its deletion by ann and its creation", acts, err)
		}
		keys, err := rdb.Keys(ctx, "wr1:{"+string(name)+"}:*").Result()
		slices.Sort(keys)
		if want := []string{actsKey(name), deletedKey(name)}; err != nil || !slices.Equal(keys, want) {
			t.Errorf("after delete: got keys %v, %v, want %v", keys, err, want)
		}
		for _, key := range keys {
			if ttl := rdb.PTTL(ctx, key).Val(); ttl < 30*24*time.Hour || ttl > tombstoneLife {
				t.Errorf("%s: got %v to live, want at least 30 days and up to %v", key, ttl, tombstoneLife)
			}
		}
		for range 2 {
			if err := l.Delete(ctx, name, true, "bob"); err != room.ErrDeleted {
				t.Errorf("delete again: got %v, want %v", err, room.ErrDeleted)
			}
		}
		if again, _, err := l.Tombstone(ctx, name); err != nil || again != stone {
			t.Errorf("tombstone after a second delete: got %+v, %v, want %+v", again, err, stone)
		}

		// A new sale of that name.
		conf.Epoch = room.NewEpoch()
		if err := l.Create(ctx, name, conf, "bob"); err != nil {
			t.Fatal(err)
		}
		if deleted(t, l, name) || !listed(t, l, name) {
			t.Error("a room made anew: got it deleted, or not listed")
		}
		if acts, err := l.Acts(ctx, name, 10); err != nil || len(acts) != 1 || acts[0].Actor != "bob" || rdb.PTTL(ctx, actsKey(name)).Val() > 0 {
			t.Errorf("acts of a room made anew: got %+v, %v, want its creation, for good", acts, err)
		}
		// Its line is lost: no end of the room either.
		rdb.Del(ctx, keysOf(name)...)
		if deleted(t, l, name) {
			t.Error("a lost line: got it deleted")
		}
		if err := l.Delete(ctx, name, false, "ann"); err != nil || !deleted(t, l, name) || listed(t, l, name) {
			t.Errorf("delete of a lost line: got %v, deleted %v, listed %v", err, deleted(t, l, name), listed(t, l, name))
		}
		if stone, _, err := l.Tombstone(ctx, name); err != nil || stone.Epoch != "" {
			t.Errorf("tombstone of a lost line: got %+v, %v, want no epoch", stone, err)
		}
	})
}

// The registry lets a room go before its line goes: a listed room without a line is
// one that lost its data. A crash anywhere in between leaves a room that is whole or
// can be deleted again.
func TestDeleteCutShort(t *testing.T) {
	for _, reply := range []string{"not sent", "reply lost"} {
		for at := range 8 {
			t.Run(fmt.Sprint(reply, " ", at), func(t *testing.T) {
				onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
					ctx, conf := background(), openConf()
					l := New(rdb)
					name := create(t, l, conf)
					cut := &cutter{at: int64(at), sent: reply == "reply lost"}
					rdb.AddHook(cut)
					err := l.Delete(ctx, name, false, "ann")
					cut.off.Store(true)
					if err == nil && !cut.did.Load() {
						return // it takes fewer commands
					}
					_, whole := l.Status(ctx, name)
					gone := deleted(t, l, name)
					if (whole == nil) == gone {
						t.Errorf("cut at command %d: got status %v, deleted %v, want one of them", at, whole, gone)
					}
					if gone && listed(t, l, name) {
						t.Errorf("cut at command %d: the line is gone and the room listed", at)
					}
					if err := l.Delete(ctx, name, false, "ann"); err != nil && (!gone || err != room.ErrDeleted) {
						t.Errorf("delete again: got %v", err)
					}
					if !deleted(t, l, name) || listed(t, l, name) {
						t.Errorf("after the second delete: got deleted %v, listed %v", deleted(t, l, name), listed(t, l, name))
					}
				})
			})
		}
	}
}

// cutter ends the connection at one command, before or after the server ran it.
type cutter struct {
	at   int64
	sent bool
	n    atomic.Int64
	did  atomic.Bool
	off  atomic.Bool
}

func (h *cutter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *cutter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *cutter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.off.Load() || h.n.Add(1)-1 != h.at {
			return next(ctx, cmd)
		}
		if h.sent {
			if err := next(ctx, cmd); err != nil {
				return err // NOSCRIPT: the next command sends it whole
			}
		}
		h.did.Store(true)
		err := errors.New("the connection ended")
		cmd.SetErr(err)
		return err
	}
}

// Who joins while a room is being deleted is not lost with it, and the room is
// listed again.
func TestJoinWhileDeleting(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, conf := background(), openConf()
		name := create(t, New(rdb), conf)
		other := New(rdb)
		slow := sibling(rdb)
		defer slow.Close()
		slow.AddHook(before{"srem", func() { join(t, other, name, conf, room.Lane{Name: "a-0", Batch: 1}, 1) }})
		if err := New(slow).Delete(ctx, name, false, "ann"); !errors.Is(err, room.ErrBusy) {
			t.Errorf("delete: got %v, want %v", err, room.ErrBusy)
		}
		status, err := other.Status(ctx, name)
		if err != nil || status.Waiting != 1 || !listed(t, other, name) || deleted(t, other, name) {
			t.Errorf("got %+v, %v, listed %v, deleted %v, want one waiting in a listed room", status, err, listed(t, other, name), deleted(t, other, name))
		}
	})
}

// before does something before each command of a name.
type before struct {
	name string
	do   func()
}

func (h before) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.EqualFold(cmd.Name(), h.name) {
			h.do()
		}
		return next(ctx, cmd)
	}
}

// sibling is another client of the same servers.
func sibling(rdb redis.UniversalClient) redis.UniversalClient {
	switch c := rdb.(type) {
	case *redis.Client:
		return redis.NewClient(c.Options())
	case *redis.ClusterClient:
		return redis.NewClusterClient(c.Options())
	}
	panic("a client of another kind")
}
