package line

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// A batch that is given back leaves the line. Of one that somebody may have been told of,
// each visitor who shows the place comes back to it; of one that nobody heard of, none
// can, since nobody has such a place.
func TestGiveBackToldOrNot(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		for told, want := range map[bool]room.Standing{true: room.Waiting, false: room.Gone} {
			ctx, l, conf := background(), New(rdb), openConf()
			name := create(t, l, conf)
			by, lane := caller(conf.Epoch), room.Lane{Name: "dead-0", Batch: 1}
			places := join(t, l, name, conf, lane, 5)
			behind := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 1)
			if given, err := l.GiveBack(ctx, name, by, lane, told); err != nil || given != 5 {
				t.Fatalf("told %v: got %d, %v, want 5 given back", told, given, err)
			}
			if snap, err := l.Snapshot(ctx, name, 0); err != nil || snap.Waiting != 1 || snap.Head != behind[0].Number {
				t.Errorf("told %v: got %d waiting from %d, %v, want 1 from %d", told, snap.Waiting, snap.Head, err, behind[0].Number)
			}
			stands, err := l.Rejoin(ctx, name, by, places[2:3])
			if err != nil || stands[0].Standing != want {
				t.Errorf("told %v: one of them comes back: got %+v, %v, want %v", told, stands, err, want)
			}
			if _, err := l.Join(ctx, name, by, lane, visitors(5)); !errors.Is(err, room.ErrStaleBatch) {
				t.Errorf("told %v: the batch comes after all: got %v, want %v", told, err, room.ErrStaleBatch)
			}
		}
	})
}

// A lane that joined another batch since had its answer: its visitors were told, and
// nothing of it is given back. Nor is anything that a lane of that name did in another
// line; and a batch that is on its way to this one is refused all the same.
func TestGiveBackOfAnAnsweredBatch(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		by, lane := caller(conf.Epoch), room.Lane{Name: "a-0", Batch: 2}
		first := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		join(t, l, name, conf, lane, 4)
		if given, err := l.GiveBack(ctx, name, by, room.Lane{Name: "a-0", Batch: 1}, false); err != nil || given != 0 {
			t.Errorf("the batch before the last: got %d, %v, want nobody given back", given, err)
		}
		late := room.Lane{Name: "c-0", Batch: 2} // a batch that has not come yet
		join(t, l, name, conf, room.Lane{Name: "c-0", Batch: 1}, 2)
		if given, err := l.GiveBack(ctx, name, by, late, false); err != nil || given != 0 {
			t.Errorf("the batch behind the last: got %d, %v, want nobody given back", given, err)
		}
		if _, err := l.Join(ctx, name, by, late, visitors(1)); !errors.Is(err, room.ErrStaleBatch) {
			t.Errorf("the batch behind the last, when it comes: got %v, want %v", err, room.ErrStaleBatch)
		}
		if snap, err := l.Snapshot(ctx, name, 0); err != nil || snap.Waiting != 9 {
			t.Errorf("got %d waiting, %v, want all 9", snap.Waiting, err)
		}
		comesBack(t, l, name, conf, first...)
		if again, err := l.Join(ctx, name, by, lane, visitors(4)); err != nil || !again.Repeated || again.First != 4 {
			t.Errorf("the last batch again: got %+v, %v, want the answer of before", again, err)
		}

		for what, left := range map[string]string{"a later batch": "aaaaaaaa:9:1:3:0", "the same batch": "aaaaaaaa:1:1:3:0"} {
			lane := room.Lane{Name: "b-0", Batch: 1}
			if err := rdb.HSet(ctx, lanesKey(name), lane.Name, left).Err(); err != nil {
				t.Fatal(err)
			}
			if given, err := l.GiveBack(ctx, name, by, lane, false); err != nil || given != 0 {
				t.Errorf("%s of another line: got %d, %v, want nobody given back", what, given, err)
			}
			if joined, err := l.Join(ctx, name, by, lane, visitors(1)); !errors.Is(err, room.ErrStaleBatch) {
				t.Errorf("%s of another line, and the batch comes: got %+v, %v, want %v", what, joined, err, room.ErrStaleBatch)
			}
		}
	})
}

// A visitor who waits and shows a second number, one that the line lost, keeps the
// first: one visitor has one place, and each number one holder or none.
func TestSecondPlaceOfAVisitor(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		mark(t, l, name, conf, 10)
		second := room.Place{Visitor: places[1].Visitor, Number: 6}
		stands, err := l.Rejoin(ctx, name, caller(conf.Epoch), []room.Place{second, places[1]})
		if err != nil || stands[0].Standing == room.Waiting || stands[1].Standing != room.Waiting {
			t.Errorf("numbers 6 and 2 of one visitor: got %+v, %v, want only 2 waiting", stands, err)
		}
		if snap, err := l.Snapshot(ctx, name, 0); err != nil || snap.Waiting != 3 {
			t.Errorf("got %d waiting, %v, want 3", snap.Waiting, err)
		}
	})
}

// Who leaves for good with a number that the line lost leaves it for good: nobody comes
// back to it.
func TestLeaveOfALostPlace(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		lost := place(4)
		mark(t, l, name, conf, 10)
		if err := l.Leave(ctx, name, caller(conf.Epoch), lost); err != nil {
			t.Fatalf("leave: %v", err)
		}
		if err := l.Leave(ctx, name, caller(conf.Epoch), lost); !errors.Is(err, room.ErrSpent) {
			t.Errorf("leave again: got %v, want %v", err, room.ErrSpent)
		}
		stands, err := l.Rejoin(ctx, name, caller(conf.Epoch), []room.Place{lost})
		if err != nil || stands[0].Standing != room.Gone {
			t.Errorf("the same place again: got %+v, %v, want it gone", stands, err)
		}
		if s, err := l.Status(ctx, name); err != nil || s.Stats.Left != 1 {
			t.Errorf("left: got %d, %v, want 1", s.Stats.Left, err)
		}
	})
}

// While visitors are on their way back nobody can say who is away: the nodes that see
// them have not spoken since the loss.
func TestNobodyIsReapedInAHold(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		by := caller(conf.Epoch)
		join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 3)
		speak := func(spans int) {
			t.Helper()
			for range spans {
				clock.pass(room.DefaultGrace / (rings - 1))
				if _, _, err := l.Present(ctx, name, by, 0, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		speak(rings + 1) // nobody was seen for a grace
		if reaped, err := l.Reap(ctx, name, by, []room.Number{1}); err != nil || reaped != 1 {
			t.Fatalf("got %d, %v, want the first of them reaped", reaped, err)
		}
		mark(t, l, name, conf, 10)
		clock.pass(2 * time.Second)
		mark(t, l, name, conf, 10)
		if snap, err := l.Snapshot(ctx, name, 0); err != nil || snap.Life.Asking || snap.Life.HoldUntil.IsZero() {
			t.Fatalf("got %+v, %v, want everybody heard, and the hold", snap.Life, err)
		}
		if reaped, err := l.Reap(ctx, name, by, []room.Number{2, 3}); !errors.Is(err, room.ErrUnsure) {
			t.Errorf("in the hold: got %d, %v, want %v", reaped, err, room.ErrUnsure)
		}
		speak(1)
		if reaped, err := l.Reap(ctx, name, by, []room.Number{2, 3}); err != nil || reaped != 2 {
			t.Errorf("after it: got %d, %v, want both", reaped, err)
		}
	})
}
