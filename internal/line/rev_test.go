package line

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// An act carries the rev that its operator saw: where the room was changed since, it
// changes nothing and says who did.
func TestActOnARevThatHasPassed(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l := background(), New(rdb)
		name := create(t, l, openConf())
		if _, err := l.Set(ctx, name, room.Change{Actor: "bob", Rev: 1, Rate: ptr(room.Rate(20_000))}); err != nil {
			t.Fatalf("set on the rev there is: %v", err)
		}
		if err := l.soldOut(ctx, name, l.epoch(t, name), 0); err != nil {
			t.Fatal(err)
		}
		acts := []room.Change{{Rate: ptr(room.Rate(5_000))}, {Pause: true}, {Resume: true}, {Reopen: true, StockRev: 7},
			{State: ptr(room.Closed)}, {State: ptr(room.Open)}, {Event: room.EventChange{Title: ptr("Gala")}}, {Notice: ptr("")}}
		before := l.everything(t, rdb, name)
		for rev, who := range map[int64]string{1: "booker", 2: "booker", 4: "booker"} {
			for _, ch := range acts {
				ch.Actor, ch.Rev = "ann", rev
				_, err := l.Set(ctx, name, ch)
				if !errors.Is(err, room.ErrChanged) || !strings.Contains(err.Error(), "rev 3") || !strings.Contains(err.Error(), who) {
					t.Errorf("%+v on rev %d: got %v, want %v, which names rev 3 and %s", ch, rev, err, room.ErrChanged, who)
				}
			}
		}
		if after := l.everything(t, rdb, name); !reflect.DeepEqual(after, before) {
			t.Errorf("after the refusals: got %v, want %v", after, before)
		}
		if changed, err := l.Set(ctx, name, room.Change{Actor: "ann", Rev: 3, Pause: true}); err != nil || changed.Rev != 4 {
			t.Errorf("pause on the rev there is: got %+v, %v, want rev 4", changed, err)
		}
		if _, err := l.Set(ctx, name, room.Change{Actor: "ann", Rev: -1}); err == nil {
			t.Error("rev -1: got no error")
		}
	})
}

// Of operators who saw the same room one changes it.
func TestActsOnOneRev(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		l := New(rdb)
		name := create(t, l, openConf())
		const operators = 8
		start, errs := make(chan struct{}), make([]error, operators)
		var all sync.WaitGroup
		for i := range operators {
			all.Go(func() {
				<-start
				_, errs[i] = l.Set(background(), name, room.Change{Actor: fmt.Sprint("operator ", i), Rev: 1, Notice: ptr(fmt.Sprint(i))})
			})
		}
		close(start)
		all.Wait()
		did := 0
		for i, err := range errs {
			if err == nil {
				did++
			} else if !errors.Is(err, room.ErrChanged) {
				t.Errorf("operator %d: got %v, want %v", i, err, room.ErrChanged)
			}
		}
		status, err := l.Status(background(), name)
		if err != nil || did != 1 || status.Conf.Rev != 2 {
			t.Errorf("got %d changes, rev %d, %v, want one and rev 2", did, status.Conf.Rev, err)
		}
	})
}

// A client library that lost a reply sends the call again by itself: the act that
// it made the first time is no other operator's.
func TestActSentTwice(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		l := New(rdb)
		name := create(t, l, openConf())
		again := &twice{}
		rdb.AddHook(again)
		for rev := int64(1); rev <= 3; rev++ {
			ch := room.Change{Actor: "ann", Rev: rev, Rate: ptr(room.Rate(1000 * rev))}
			if changed, err := l.Set(background(), name, ch); err != nil || changed.Rev != rev+1 {
				t.Errorf("set on rev %d: got %+v, %v, want rev %d", rev, changed, err, rev+1)
			}
		}
		if again.sent != 3 {
			t.Errorf("got %d calls sent twice, want 3", again.sent)
		}
	})
}

// twice sends each script twice and answers the second reply.
type twice struct{ sent int }

func (h *twice) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !strings.HasPrefix(cmd.Name(), "eval") || err != nil {
			return err
		}
		h.sent++
		return next(ctx, cmd)
	}
}

// Every act that changes the conf leaves its rev in stats too, which is all that
// processes read of a room that stands still.
func TestRevInStats(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		same := func(what string, want int64) {
			t.Helper()
			of := func(key string) string { return rdb.HGet(ctx, key, "rev").Val() }
			if c, s := of(confKey(name)), of(statsKey(name)); c != fmt.Sprint(want) || s != c {
				t.Errorf("%s: got rev %q in conf and %q in stats, want %d", what, c, s, want)
			}
		}
		same("create", 1)
		set := func(what string, want int64, ch room.Change) {
			t.Helper()
			ch.Actor = "test"
			if _, err := l.Set(ctx, name, ch); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			same(what, want)
		}
		set("set", 2, room.Change{Rate: ptr(room.Rate(20_000))})
		set("set of the same", 2, room.Change{Rate: ptr(room.Rate(20_000))})
		set("set of the event", 3, room.Change{Event: room.EventChange{Title: ptr("Gala")}})
		set("set from a flag", 4, room.Change{FromFlags: true, Rate: ptr(room.Rate(30_000))})
		set("pause", 5, room.Change{Pause: true})
		if err := l.soldOut(ctx, name, conf.Epoch, 7); err != nil {
			t.Error(err)
		}
		same("sold out", 6)
		if err := l.soldOut(ctx, name, conf.Epoch, 7); err != nil {
			t.Error(err)
		}
		same("sold out again", 6)
		set("reopen", 7, room.Change{Reopen: true})
		set("close", 8, room.Change{State: ptr(room.Closed)})
	})
}

// epoch reads the epoch of a room.
func (l *Lines) epoch(t *testing.T, name room.Name) room.Epoch {
	t.Helper()
	status, err := l.Status(background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return status.Conf.Epoch
}

// everything is all that an act may change, as Redis has it.
func (l *Lines) everything(t *testing.T, rdb redis.UniversalClient, name room.Name) map[string]any {
	t.Helper()
	ctx, all := background(), map[string]any{}
	for _, key := range []string{confKey(name), statsKey(name), eventKey(name), bucketKey(name)} {
		fields, err := rdb.HGetAll(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		all[key] = fields
		all[key+" lives"] = rdb.PTTL(ctx, key).Val() > 0
	}
	all["acts"] = rdb.XLen(ctx, actsKey(name)).Val()
	return all
}
