package admission

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// at is a fact as it is made now.
func at(r events.Record) events.Record {
	fact, err := events.DecodeBooking(r.Headers, r.Value)
	if err != nil {
		panic(err)
	}
	fact.AtMS = time.Now().UnixMilli()
	return events.EncodeBooking(fact)
}

// A Redis that is empty has lost the registry too. No tombstone says that the room is gone,
// so its facts wait until it is back; those of a room that was deleted do not.
func TestFactsOfALostRoomWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale, "other", "gone")
		w.remove("gone")
		w.join(sale, 3)
		w.join("other", 1)
		w.lines["other"].active[visitorOf(1)] = true
		w.lose(sale)
		s := factsService(t, w, w)
		records := []events.Record{at(soldOut(sale, "aaaaaaaa")), at(finished(sale, "aaaaaaaa", 2)), at(soldOut("gone", "aaaaaaaa")),
			at(finished("gone", "aaaaaaaa", 2)), at(finished("other", "aaaaaaaa", 1))}
		for i, want := range []events.Fate{events.Later, events.Later, events.Done, events.Done, events.Done} {
			if got := s.Facts(t.Context(), records)[i]; got.Fate != want || (want == events.Later) != errors.Is(got.Err, room.ErrRecovering) {
				t.Errorf("record %d: got %+v, want fate %v", i, got, want)
			}
		}
		if w.lines["other"].active[visitorOf(1)] {
			t.Error("another room's slot is not free")
		}
		saved := room.Saved{Conf: map[string]string{"epoch": "aaaaaaaa", "state": "open", "rev": "1"}}
		if err := w.Recreate(t.Context(), sale, room.Caller{Epoch: "aaaaaaaa", Mark: 3}, saved); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second) // an act that was lost may come back until then
		if got := s.Facts(t.Context(), records[:2]); got[0].Fate != events.Done || got[1].Fate != events.Done || !w.lines[sale].soldOut {
			t.Errorf("got %+v, sold out %t, want both applied once the room is back", got, w.lines[sale].soldOut)
		}
	})
}

// A room that never comes back holds its facts for as long as that may take: a sold_out
// as long as people need, what frees a slot no longer than processes do. Then they are
// passed over, counted and told of. A clock far ahead holds nothing for good.
func TestFactsOfALostRoomDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.lose(sale)
		core, logs := observer.New(zap.InfoLevel)
		s, err := New(Config{}, "test@host", w, w, zap.New(core), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		records := []events.Record{at(soldOut(sale, "aaaaaaaa")), at(finished(sale, "aaaaaaaa", 1)), at(finished(sale, "aaaaaaaa", 2))}
		fates := func(want ...events.Fate) {
			t.Helper()
			for i, v := range s.Facts(t.Context(), records) {
				if v.Fate != want[i] {
					t.Errorf("after %s, record %d: got fate %v, want %v", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), i, v.Fate, want[i])
				}
			}
		}
		fates(events.Later, events.Later, events.Later)
		time.Sleep(finishedKept) // synctest's time
		records[2] = at(records[2])
		fates(events.Later, events.Done, events.Later)
		wantSaid(t, logs, "booking facts of a room that redis lost have waited in vain and are passed over", 1)
		time.Sleep(stockKept - finishedKept - time.Second) // synctest's time
		fates(events.Later, events.Done, events.Done)
		time.Sleep(time.Second) // synctest's time
		fates(events.Done, events.Done, events.Done)
		if n := logs.FilterField(zap.String("fact", "sold_out")).Len(); n != 1 {
			t.Errorf("got %d lines about the sold_out, want 1", n)
		}
		ahead, err := events.DecodeBooking(records[0].Headers, records[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		ahead.AtMS = time.Now().AddDate(1, 0, 0).UnixMilli()
		if v := s.Facts(t.Context(), []events.Record{events.EncodeBooking(ahead)}); v[0].Fate != events.Done {
			t.Errorf("a fact of next year: got %+v, want it passed over", v[0])
		}
	})
}

// graveless counts the looks for a tombstone, which fail.
type graveless struct {
	*world
	asked int
}

func (g *graveless) Deleted(context.Context, room.Name) (bool, error) {
	g.asked++
	return false, errNotSent
}

// One look for a tombstone does for all facts of a room; a look that fails has them come again.
func TestFactsLookForOneTombstone(t *testing.T) {
	l := &graveless{world: newWorld()}
	s := factsService(t, l, l)
	records := []events.Record{soldOut(sale, "aaaaaaaa"), soldOut(sale, "bbbbbbbb"), finished(sale, "aaaaaaaa", 1), finished(sale, "bbbbbbbb", 2)}
	for i, v := range s.Facts(t.Context(), records) {
		if v.Fate != events.Later || !errors.Is(v.Err, room.ErrAway) {
			t.Errorf("record %d: got %+v, want it later: redis is away", i, v)
		}
	}
	if l.asked != 1 {
		t.Errorf("got %d looks for the tombstone, want 1", l.asked)
	}
}
