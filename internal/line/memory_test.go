package line

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// A Redis at its memory's end refuses new visitors before anything is done, and
// lets those in line go on: admitted, claimed, finished, left, told.
func TestFullMemory(t *testing.T) {
	server := testenv.StartRedis(t)
	rdb := server.Client()
	ctx, l, conf := background(), New(rdb), openConf()
	name := create(t, l, conf)
	by := caller(conf.Epoch)
	places := join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 50)
	// One admission ahead, so that every act has somebody.
	admit(t, l, name, conf, 10)

	if err := rdb.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	before, err := l.Status(ctx, name)
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	if _, err := l.Join(ctx, name, by, room.Lane{Name: "a-0", Batch: 2}, visitors(3)); !errors.Is(err, room.ErrMemory) {
		t.Errorf("join: got %v, want %v", err, room.ErrMemory)
	}
	if revs, err := l.EventRevs(ctx, []room.Name{name}); err != nil || len(revs) != 1 {
		t.Errorf("event revs: got %v, %v, want those of one room", revs, err)
	}
	if err := l.Create(ctx, roomName(t), openConf(), "test"); !errors.Is(err, room.ErrMemory) {
		t.Errorf("create: got %v, want %v", err, room.ErrMemory)
	}
	if after, err := l.Status(ctx, name); err != nil || after.Seq != before.Seq || after.Waiting != before.Waiting || after.Stats != before.Stats {
		t.Errorf("after the refusals: got %+v, %v, want %+v", after, err, before)
	}

	admit(t, l, name, conf, 10)
	if stand, err := l.Claim(ctx, name, by, places[0]); err != nil || stand.Standing != room.Active {
		t.Errorf("claim: got %+v, %v", stand, err)
	}
	if freed, err := l.Finish(ctx, name, by, places[0]); err != nil || !freed {
		t.Errorf("finish: got %v, %v", freed, err)
	}
	for what, p := range map[string]room.Place{"waiting": places[30], "unclaimed": places[1]} {
		if err := l.Leave(ctx, name, by, p); err != nil {
			t.Errorf("leave, %s: %v", what, err)
		}
	}
	if _, err := l.Rejoin(ctx, name, by, places); err != nil {
		t.Errorf("rejoin: %v", err)
	}
	if snap, err := l.Snapshot(ctx, name, 0); err != nil || snap.Waiting != 29 {
		t.Errorf("snapshot: got %d waiting, %v, want 29", snap.Waiting, err)
	}
	if _, err := l.Turn(ctx, name, 0); err != nil {
		t.Errorf("turn: %v", err)
	}
	for range 2 { // a process that starts, and one that goes on
		if err := l.Sign(ctx, room.Sign{ID: "p"}); err != nil {
			t.Errorf("sign: %v", err)
		}
	}
	if _, signs, err := l.Signs(ctx); err != nil || len(signs) != 1 {
		t.Errorf("signs: got %v, %v, want one", signs, err)
	}
	// Reading a stream in a group asks for memory; that is the relay's to retry.
	// What was read is acknowledged.
	if err := rdb.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	entries, err := l.ReadOutbox(ctx, name, 100)
	if err != nil || len(admissions(entries)) != 20 {
		t.Fatalf("outbox: got %v, %v, want 20", entries, err)
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadOutbox(ctx, name, 100); err != nil {
		t.Logf("reading the outbox of a full Redis: %v", err)
	}
	if err := l.Relayed(ctx, name, by, entries); err != nil {
		t.Errorf("relayed: %v", err)
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
}

// Each act of an operator but create works on a Redis at its memory's end: it is then
// that a room has to be paused.
func TestActsOnFullMemory(t *testing.T) {
	server := testenv.StartRedis(t)
	actsOnFullMemory(t, server.Client(), server.Client())
}

func actsOnFullMemory(t *testing.T, rdb redis.UniversalClient, server *redis.Client) {
	ctx, l, conf := background(), New(rdb), openConf()
	name := create(t, l, conf)
	join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 5)
	fill := func(most string) {
		t.Helper()
		if err := server.ConfigSet(ctx, "maxmemory", most).Err(); err != nil {
			t.Fatal(err)
		}
	}
	fill("1")
	t.Cleanup(func() { fill("0") })
	logo := room.Brand{Logo: []byte("\x89PNG\r\n\x1a\n" + strings.Repeat("x", room.MaxLogo-8))}
	for _, act := range []struct {
		name   string
		change room.Change
		done   func(room.Conf) bool
	}{
		{"pause", room.Change{Pause: true, Notice: ptr("soon")}, func(c room.Conf) bool { return c.State == room.Paused }},
		{"resume", room.Change{Resume: true}, func(c room.Conf) bool { return c.State == room.Open && c.Notice == "" }},
		{"set", room.Change{Rate: ptr(room.Rate(7_000))}, func(c room.Conf) bool { return c.Rate == 7_000 }},
		{"flags", room.Change{FromFlags: true, Rate: ptr(room.Rate(8_000))}, func(c room.Conf) bool { return c.Rate == 8_000 }},
		{"event", room.Change{Event: room.EventChange{Title: ptr("Gala"), Brand: &logo}}, func(c room.Conf) bool { return c.EventRev == 1 }},
		{"close", room.Change{State: ptr(room.Closed)}, func(c room.Conf) bool { return c.State == room.Closed }},
		{"open", room.Change{State: ptr(room.Open)}, func(c room.Conf) bool { return c.State == room.Open }},
		{"sold out", room.Change{}, func(c room.Conf) bool { return c.SoldOut && c.StockRev == 7 }},
		{"reopen", room.Change{Reopen: true, StockRev: 8}, func(c room.Conf) bool { return !c.SoldOut && c.StockRev == 8 }},
	} {
		err := error(nil)
		if act.name == "sold out" {
			err = l.soldOut(ctx, name, conf.Epoch, 7)
		} else {
			act.change.Actor = "test"
			_, err = l.Set(ctx, name, act.change)
		}
		now, err2 := parseConf(rdb.HGetAll(ctx, confKey(name)).Val())
		if err != nil || err2 != nil || !act.done(now) {
			t.Errorf("%s: got %v, then %+v, %v", act.name, err, now, err2)
		}
		if rev, err := l.Rev(ctx, name); err != nil || rev != now.Rev {
			t.Errorf("%s: got rev %d, %v, want %d", act.name, rev, err, now.Rev)
		}
	}
	if err := l.Delete(ctx, name, true, "test"); err != nil || !deleted(t, l, name) || listed(t, l, name) {
		t.Errorf("delete: got %v, deleted %v, listed %v", err, deleted(t, l, name), listed(t, l, name))
	}
	other := roomName(t)
	if err := l.Create(ctx, other, openConf(), "test"); !errors.Is(err, room.ErrMemory) || listed(t, l, other) {
		t.Errorf("create: got %v, listed %v, want %v and nothing made", err, listed(t, l, other), room.ErrMemory)
	}
}

// A server that is gone, frozen or back again: ErrAway, then everything is there
// and the scripts are loaded anew.
func TestAway(t *testing.T) {
	server := testenv.StartRedis(t)
	rdb, err := Dial(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	ctx, l, conf := background(), New(rdb), openConf()
	name := create(t, l, conf)
	join(t, l, name, conf, room.Lane{Name: "a-0", Batch: 1}, 5)
	// Not by kill -9: on a slow disk Redis answers before it has written (it waits
	// up to 2 s for the fsync before), and a join may be lost.
	server.Stop()
	_, err1 := l.Admit(ctx, name, caller(conf.Epoch), 1)
	_, err2 := l.Snapshot(ctx, name, 0)
	_, err3 := l.Rooms(ctx)
	_, err4 := l.ReadOutbox(ctx, name, 1)
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, room.ErrAway) {
			t.Errorf("call %d of a dead server: got %v, want %v", i+1, err, room.ErrAway)
		}
	}
	server.Restart()
	if status, err := l.Status(ctx, name); err != nil || status.Waiting != 5 {
		t.Errorf("after the restart: got %+v, %v, want 5 waiting", status, err)
	}
	admit(t, l, name, conf, 5)
}
