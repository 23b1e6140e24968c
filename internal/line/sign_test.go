package line

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// signFor is a sign that no other test writes: the key is everybody's.
func signFor(t *testing.T, id string) room.Sign {
	return room.Sign{ID: testenv.Room(t) + id, Role: room.RoleAdmitter, Host: "h", PID: 7, Version: "v1", UpMS: 5,
		Rooms: []room.RoomSign{{Room: "sale", Epoch: "aaaaaaaa", Cause: room.StopCap, CauseMS: 90, Admitted: 12, Past: [][2]int64{{10, 12}, {9_000, 3}}}}}
}

func find(signs []room.Sign, id string) *room.Sign {
	i := slices.IndexFunc(signs, func(s room.Sign) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return &signs[i]
}

// A sign is dated by the line's clock, replaced by the next one, read as written,
// and kept for SignKept after the process went silent.
func TestSigns(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, h := background(), newHand()
		l := New(rdb, WithClock(h.now))
		a, b := signFor(t, "a"), signFor(t, "b")
		a.At, b.At = h.at(), h.at()
		t.Cleanup(func() { rdb.HDel(ctx, signsKey(), a.ID, "at:"+a.ID, b.ID, "at:"+b.ID) })
		for _, s := range []room.Sign{a, b} {
			if err := l.Sign(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
		now, signs, err := l.Signs(ctx)
		if got := find(signs, a.ID); err != nil || !now.Equal(h.at()) || got == nil || !reflect.DeepEqual(*got, a) {
			t.Fatalf("got %+v at %v, %v, want %+v", got, now, err, a)
		}
		h.pass(room.SignKept)
		b.UpMS, b.Stopped, b.Rooms, b.At = 6, true, nil, h.at()
		if err := l.Sign(ctx, b); err != nil {
			t.Fatal(err)
		}
		if _, signs, err = l.Signs(ctx); err != nil || find(signs, a.ID) == nil || !reflect.DeepEqual(*find(signs, b.ID), b) {
			t.Errorf("after %s: got %+v, %v, want both, b as last written", room.SignKept, signs, err)
		}
		h.pass(time.Microsecond)
		if _, signs, err = l.Signs(ctx); err != nil || find(signs, a.ID) != nil || find(signs, b.ID) == nil {
			t.Errorf("later: got %+v, %v, want b alone", signs, err)
		}
		if ttl := rdb.PTTL(ctx, signsKey()).Val(); ttl <= 0 || ttl > room.SignKept {
			t.Errorf("got the key to live for %s, want %s at most", ttl, room.SignKept)
		}
		// What is a newer version's, or nobody's, is left out.
		rdb.HSet(ctx, signsKey(), b.ID, "[]")
		if _, signs, err = l.Signs(ctx); err != nil || find(signs, b.ID) != nil {
			t.Errorf("an unreadable sign: got %+v, %v, want it left out", signs, err)
		}
	})
}

// As many processes sign as are kept; a process that starts takes those of the
// dead away, and one that signs already is never refused.
func TestSignsBound(t *testing.T) {
	servers := map[string]func(*testing.T) *redis.Client{
		"miniredis": func(t *testing.T) *redis.Client { return mini(t) },
		"redis":     func(t *testing.T) *redis.Client { return testenv.StartRedis(t).Client() },
	}
	for name, open := range servers {
		t.Run(name, func(t *testing.T) {
			rdb, ctx, h := open(t), background(), newHand()
			l := New(rdb, WithClock(h.now))
			sign := func(i int) error { return l.Sign(ctx, room.Sign{ID: fmt.Sprint("p", i)}) }
			if _, signs, err := l.Signs(ctx); err != nil || len(signs) != 0 {
				t.Errorf("before any: got %v, %v, want none", signs, err)
			}
			for i := range room.MaxSigns {
				if err := sign(i); err != nil {
					t.Fatal(err)
				}
			}
			if err := sign(room.MaxSigns); !errors.Is(err, room.ErrTooManySigns) {
				t.Errorf("one more: got %v, want %v", err, room.ErrTooManySigns)
			}
			h.pass(room.SignKept)
			for i := range room.MaxSigns / 2 {
				if err := sign(i); err != nil {
					t.Errorf("process %d goes on: got %v", i, err)
				}
			}
			h.pass(time.Microsecond)
			if err := sign(room.MaxSigns); err != nil {
				t.Errorf("once half are dead: got %v", err)
			}
			if n := rdb.HLen(ctx, signsKey()).Val(); n != room.MaxSigns+2 {
				t.Errorf("got %d fields, want two for each of %d processes", n, room.MaxSigns/2+1)
			}
		})
	}
}

// What a sign costs: the figures of Sign's comment and of ARCHITECTURE.md.
func TestSignSize(t *testing.T) {
	size := func(rooms, name, past int) int {
		s := room.Sign{Role: room.RoleAdmitter, Host: strings.Repeat("h", 63), PID: 1 << 22, Version: strings.Repeat("v", 60), UpMS: 1e9}
		for range rooms {
			r := room.RoomSign{Room: room.Name(strings.Repeat("r", name)), Epoch: "aaaaaaaa", Cause: room.StopOpening, CauseMS: 1e9,
				RoundMS: 100, Admitted: 1_000_000, InsideMS: 300_000}
			for i := range int64(past) {
				r.Past = append(r.Past, [2]int64{i * 10_000, 1_000_000 - i})
			}
			s.Rooms = append(s.Rooms, r)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	for _, c := range []struct{ rooms, name, past, most int }{
		{10, 12, 2, 2_200},
		{room.MaxRooms, 12, 2, 180_000},
		{room.MaxRooms, 63, 8, 400_000},
	} {
		if got := size(c.rooms, c.name, c.past); got > c.most {
			t.Errorf("%+v: got %d bytes, want %d at most", c, got, c.most)
		} else {
			t.Logf("%+v: %d bytes", c, got)
		}
	}
}
