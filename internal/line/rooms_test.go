package line

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

func TestCreateAndDelete(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		if names, err := l.Rooms(ctx); err != nil || !slices.Contains(names, name) {
			t.Errorf("rooms: got %v, %v, want %s among them", names, err, name)
		}
		// The same call again, after a lost reply, and one for another sale.
		if err := l.Create(ctx, name, conf, "test"); err != nil {
			t.Errorf("create again: got %v, want nothing to do", err)
		}
		other := conf
		other.Epoch = room.NewEpoch()
		if err := l.Create(ctx, name, other, "test"); err != room.ErrExists {
			t.Errorf("create over a room: got %v, want %v", err, room.ErrExists)
		}
		if got, err := l.Status(ctx, name); err != nil || got.Conf.Epoch != conf.Epoch || got.Conf.Rev != 1 {
			t.Errorf("status: got %+v, %v, want epoch %s, rev 1", got.Conf, err, conf.Epoch)
		}

		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 1)
		if err := l.Delete(ctx, name, false, "test"); err != room.ErrBusy {
			t.Errorf("delete while one waits: got %v, want %v", err, room.ErrBusy)
		}
		admit(t, l, name, conf, 1)
		if err := l.Leave(ctx, name, caller(conf.Epoch), places[0]); err != nil {
			t.Fatal(err)
		}
		if err := l.Delete(ctx, name, false, "test"); err != room.ErrBusy {
			t.Errorf("delete with an admission in the outbox: got %v, want %v", err, room.ErrBusy)
		}
		entries, err := l.ReadOutbox(ctx, name, 10)
		if err != nil || len(entries) != 1 {
			t.Fatalf("outbox: got %v, %v, want 1 entry", entries, err)
		}
		if err := l.Relayed(ctx, name, caller(conf.Epoch), entries); err != nil {
			t.Fatal(err)
		}
		if err := l.Delete(ctx, name, false, "test"); err != nil {
			t.Errorf("delete: %v", err)
		}
		if keys, err := keysIn(ctx, rdb, name); err != nil ||
			len(keys) != 2 {
			t.Errorf("after delete: got keys %v, %v, want its acts and its tombstone", keys, err)
		}
		if err := l.Delete(ctx, name, false, "test"); err != room.ErrDeleted {
			t.Errorf("delete again: got %v, want %v", err, room.ErrDeleted)
		}
		if err := l.Delete(ctx, roomName(t), true, "test"); err != room.ErrUnknown {
			t.Errorf("delete of a room that never was: got %v, want %v", err, room.ErrUnknown)
		}
		if _, err := l.Status(ctx, name); err != room.ErrUnknown {
			t.Errorf("status of a deleted room: got %v, want %v", err, room.ErrUnknown)
		}
	})
}

// A line is born with the group that reads its outbox: a relay that starts on a full
// Redis finds it.
func TestCreateMakesTheRelaysGroup(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		groups, err := rdb.XInfoGroups(ctx, outboxKey(name)).Result()
		if err != nil || len(groups) != 1 || groups[0].Name != group {
			t.Errorf("a new room: got groups %+v, %v, want %s", groups, err, group)
		}
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		admit(t, l, name, conf, 3)
		if entries, err := l.ReadOutbox(ctx, name, 10); err != nil || len(admissions(entries)) != 3 {
			t.Errorf("outbox: got %v, %v, want 3 admissions", entries, err)
		}
	})
}

// A room that is listed and has no conf has lost its data: every call says so,
// and no new line grows over what is left.
func TestLostLine(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		place := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 1)[0]
		if err := rdb.Del(ctx, confKey(name)).Err(); err != nil {
			t.Fatal(err)
		}
		by := caller(conf.Epoch)
		_, err1 := l.Join(ctx, name, by, room.Lane{Name: "a-0", Batch: 2}, visitors(1))
		_, err2 := l.Rejoin(ctx, name, by, []room.Place{place})
		_, err3 := l.Admit(ctx, name, by, 1)
		_, err4 := l.Claim(ctx, name, by, place)
		err5 := l.Leave(ctx, name, by, place)
		_, err6 := l.Finish(ctx, name, by, place)
		err7 := l.Relayed(ctx, name, by, []room.Entry{{ID: "1-1", Count: 1}})
		_, err8 := l.Snapshot(ctx, name, 0)
		_, err9 := l.Stands(ctx, name, []room.Place{place})
		_, err10 := l.Status(ctx, name)
		_, err11 := l.Set(ctx, name, room.Change{Actor: "test"})
		err12 := l.soldOut(ctx, name, conf.Epoch, 0)
		for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11, err12} {
			if err != room.ErrRecovering {
				t.Errorf("call %d: got %v, want %v", i+1, err, room.ErrRecovering)
			}
		}
		conf.Epoch = room.NewEpoch()
		if err := l.Create(ctx, name, conf, "test"); err != room.ErrExists {
			t.Errorf("create over the rest: got %v, want %v", err, room.ErrExists)
		}
		if err := l.Delete(ctx, name, false, "test"); err != room.ErrBusy {
			t.Errorf("delete of the rest: got %v, want %v", err, room.ErrBusy)
		}

		// The reads know by seq alone, too; a place above it proves a loss.
		rdb.Del(ctx, seqKey(name))
		if _, err := l.Turn(ctx, name, 0); err != room.ErrRecovering {
			t.Errorf("turn: got %v, want %v", err, room.ErrRecovering)
		}
		fresh := create(t, l, openConf())
		if stands, err := l.Stands(ctx, fresh, []room.Place{place}); err != nil || stands[0].Standing != room.Unseen {
			t.Errorf("stands of a number never given: got %v, %v, want it unseen", stands, err)
		}
	})
}

func TestUnknownRoom(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, name := background(), New(rdb), roomName(t)
		by := caller(room.NewEpoch())
		_, err1 := l.Join(ctx, name, by, room.Lane{Name: "a-0", Batch: 1}, visitors(1))
		_, err2 := l.Snapshot(ctx, name, 0)
		_, err3 := l.Turn(ctx, name, 0)
		_, err4 := l.Acts(ctx, name, 1)
		_, err5 := l.Set(ctx, name, room.Change{Actor: "test"})
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if err != room.ErrUnknown {
				t.Errorf("call %d: got %v, want %v", i+1, err, room.ErrUnknown)
			}
		}
		// Asking leaves nothing behind.
		if entries, err := l.ReadOutbox(ctx, name, 10); err != nil || len(entries) != 0 {
			t.Errorf("outbox: got %v, %v, want none", entries, err)
		}
		if keys, err := keysIn(ctx, rdb, name); err != nil || len(keys) != 0 {
			t.Errorf("got keys %v, %v, want none", keys, err)
		}
	})
}

// A flag takes effect when its value is a new one, and never undoes what was set
// since.
func TestFlags(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		rate := func(r room.Rate, flags bool) room.Changed {
			t.Helper()
			clock.pass(time.Minute)
			changed, err := l.Set(ctx, name, room.Change{Actor: "test", FromFlags: flags, Rate: &r})
			if err != nil {
				t.Fatal(err)
			}
			return changed
		}
		for i, step := range []struct {
			rate     room.Rate
			flags    bool
			after    time.Duration // before the step
			want     room.Rate
			replaced int
		}{
			{50_000, true, 0, 50_000, 0},               // the first start
			{50_000, true, 0, 50_000, 0},               // the same again
			{70_000, false, 0, 70_000, 0},              // a live change
			{50_000, true, 0, 70_000, 0},               // a restart with the same flag
			{60_000, true, time.Hour, 60_000, 0},       // with a new one
			{50_000, true, 0, 50_000, 1},               // of another process, a minute later
			{90_000, true, 9 * time.Minute, 90_000, 0}, // ten minutes old
		} {
			clock.pass(step.after)
			changed := rate(step.rate, step.flags)
			status, err := l.Status(ctx, name)
			if err != nil || status.Conf.Rate != step.want || len(changed.Replaced) != step.replaced {
				t.Errorf("step %d: got rate %s, replaced %v, %v, want %s, %d", i, status.Conf.Rate, changed.Replaced, err, step.want, step.replaced)
			}
			if status.Conf.Rev != changed.Rev {
				t.Errorf("step %d: got rev %d, want %d", i, changed.Rev, status.Conf.Rev)
			}
			if step.replaced > 0 {
				want := room.Replaced{Field: room.Field{Name: "rate", Old: "60000", New: "50000"}, Age: time.Minute}
				if changed.Replaced[0] != want {
					t.Errorf("replaced: got %+v, want %+v", changed.Replaced[0], want)
				}
			}
		}
	})
}

func TestSetAndActs(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		conf.Burst = 20
		name := create(t, l, conf)
		changed, err := l.Set(ctx, name, room.Change{Actor: "ann@till", Rate: ptr(room.Rate(2_000_000)), Notice: ptr("Bitte\nwarten")})
		if err != nil || changed.Rev != 2 || changed.BurstRaised == nil || *changed.BurstRaised != 200 || len(changed.Fields) != 3 {
			t.Errorf("set: got %+v, %v, want rev 2, burst raised to 200, 3 fields", changed, err)
		}
		same, err := l.Set(ctx, name, room.Change{Actor: "bob", Notice: ptr("Bitte\nwarten")})
		if err != nil || same.Rev != 2 || len(same.Fields) != 0 {
			t.Errorf("set of the same: got %+v, %v, want rev 2 and no field", same, err)
		}
		if err := l.soldOut(ctx, name, room.NewEpoch(), 0); err != room.ErrEpoch {
			t.Errorf("sold out in another epoch: got %v, want %v", err, room.ErrEpoch)
		}
		for range 2 {
			if err := l.soldOut(ctx, name, conf.Epoch, 0); err != nil {
				t.Errorf("sold out: %v", err)
			}
		}
		acts, err := l.Acts(ctx, name, 10)
		want := []room.Act{
			{At: clock.at(), Actor: "booker", What: "set sold_out 0 → 1", SoldOut: true},
			{At: clock.at(), Actor: "ann@till", What: `set rate 1000/s → 2000/s, burst 100 → 200, notice "" → "Bitte\nwarten"`},
			{At: clock.at(), Actor: "test", What: "create", Created: true},
		}
		if err != nil || !slices.Equal(acts, want) {
			t.Errorf("acts: got %+v, %v, want %+v", acts, err, want)
		}
		for _, state := range []room.State{room.Paused, room.Open} {
			if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: &state}); err != nil {
				t.Fatal(err)
			}
			if acts, err = l.Acts(ctx, name, 1); err != nil || acts[0].State != state || acts[0].SoldOut {
				t.Errorf("acts: got %+v, %v, want state %s", acts, err, state)
			}
		}
		_, err = l.Set(ctx, name, room.Change{Rate: ptr(room.Rate(0)), Burst: ptr(int64(-1))})
		for _, part := range []string{"actor", "rate 0", "burst -1"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("set of bad values: got %v, want %q in it", err, part)
			}
		}
		for range room.MaxActs + 5 {
			rdb.XAdd(ctx, &redis.XAddArgs{Stream: actsKey(name), Values: []string{"at", "1", "actor", "x", "act", "y"}})
		}
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", Notice: ptr("")}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.XLen(ctx, actsKey(name)).Val(); n != room.MaxActs {
			t.Errorf("acts kept: got %d, want %d", n, room.MaxActs)
		}
	})
}

func TestRegistryBound(t *testing.T) {
	rdb := mini(t) // of its own: the registry is everybody's
	ctx, l := background(), New(rdb)
	for i := range room.MaxRooms {
		rdb.SAdd(ctx, roomsKey(), "r"+strings.Repeat("x", i%50)+"-"+strconv.Itoa(i))
	}
	if err := l.Create(ctx, "one-more", openConf(), "test"); !errors.Is(err, room.ErrTooMany) {
		t.Errorf("create beyond the bound: got %v, want %v", err, room.ErrTooMany)
	}
	if names, err := l.Rooms(ctx); err != nil || len(names) != room.MaxRooms {
		t.Errorf("rooms at the bound: got %d, %v, want %d", len(names), err, room.MaxRooms)
	}
	rdb.SAdd(ctx, roomsKey(), "zz-beyond", "Not A Room")
	names, err := l.Rooms(ctx)
	if !errors.Is(err, room.ErrTooMany) || !strings.Contains(err.Error(), "1001") || len(names) != room.MaxRooms || slices.Contains(names, "zz-beyond") {
		t.Errorf("rooms beyond the bound: got %d, %v, want the first %d and %v, which says 1001", len(names), err, room.MaxRooms, room.ErrTooMany)
	}
}
