package admission

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

// stock is a fact that is made now.
func stock(name room.Name, epoch room.Epoch, rev, left int64) events.Record {
	return events.EncodeStock(events.Stock{Room: name, Epoch: epoch, Rev: rev, Left: left, Seats: 500, AtMS: time.Now().UnixMilli()})
}

// soldOutAt is an older booker's.
func soldOutAt(name room.Name, rev int64) events.Record {
	return events.EncodeBooking(events.Booking{Type: events.TypeSoldOut, ID: "s", Room: name, Epoch: "aaaaaaaa", StockRev: rev, AtMS: time.Now().UnixMilli()})
}

// did is how many facts of a room did something.
func did(t *testing.T, s *Service, name room.Name, cause string) float64 {
	t.Helper()
	var out dto.Metric
	if err := s.metrics.facts.WithLabelValues(s.known(name), cause).Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Counter.GetValue()
}

// hear gives facts to s and holds their fates.
func hear(t *testing.T, s *Service, what string, want []events.Fate, records ...events.Record) {
	t.Helper()
	verdicts := s.Facts(t.Context(), records)
	for i, v := range verdicts {
		if v.Fate != want[i] || (v.Err == nil) != (v.Fate == events.Done) {
			t.Errorf("%s, record %d: got %+v, want fate %v", what, i, v, want[i])
		}
	}
}

func fates(of ...events.Fate) []events.Fate { return of }

// What is left of a room's seats begins and ends sold_out, by its revision; of another
// epoch and of a room that was deleted it does nothing.
func TestFactsOfStock(t *testing.T) {
	w := newWorld(sale, "other", "gone")
	w.remove("gone")
	s := factsService(t, w, w)
	l := w.lines[sale]
	for i, step := range []struct {
		fact    events.Record
		soldOut bool
		cause   string
	}{
		{stock(sale, "aaaaaaaa", 1, 2), false, "stock"},
		{stock(sale, "aaaaaaaa", 4, 0), true, "stock"},
		{stock(sale, "aaaaaaaa", 4, 0), true, "stock_before"},
		{stock(sale, "aaaaaaaa", 3, 1), true, "stock_before"},
		{stock(sale, "zzzzzzzz", 9, 1), true, "ignored"},
		{stock("gone", "aaaaaaaa", 9, 1), true, "ignored"},
		{stock(sale, "aaaaaaaa", 5, 1), false, "stock"},
		{soldOutAt(sale, 4), false, "sold_out"},
		{stock(sale, "aaaaaaaa", 6, 0), true, "stock"},
		{soldOutAt(sale, 6), true, "sold_out"},
		{stock(sale, "aaaaaaaa", 7, 3), false, "stock"},
		{soldOutAt(sale, 8), true, "sold_out"},
		{stock(sale, "aaaaaaaa", 8, 0), true, "stock_before"},
	} {
		before := did(t, s, sale, step.cause)
		hear(t, s, fmt.Sprint("step ", i), fates(events.Done), step.fact)
		if l.soldOut != step.soldOut || did(t, s, sale, step.cause) != before+1 {
			t.Errorf("step %d: got sold out %v, %v counted as %s, want %v, one more than %v", i, l.soldOut, did(t, s, sale, step.cause), step.cause, step.soldOut, before)
		}
	}
	if w.lines["other"].soldOut || w.lines["other"].stockRev != 0 {
		t.Error("another room heard of it")
	}
	bad := stock(sale, "aaaaaaaa", 0, 1)
	bad.Topic, bad.Partition, bad.Offset = events.TopicBookings, 3, 42
	verdicts := s.Facts(t.Context(), []events.Record{bad, stock(sale, "aaaaaaaa", 9, 5)})
	if verdicts[0].Fate != events.Never || !errors.Is(verdicts[0].Err, events.ErrInvalid) || verdicts[1].Fate != events.Done || l.stockRev != 9 {
		t.Errorf("a record that can't be read, and one behind it: got %+v", verdicts)
	}
}

// Of the facts about a sale that come together, in whatever order, the line is told the
// newest.
func TestFactsOfStockCostOneCall(t *testing.T) {
	w := newWorld(sale, "other")
	s := factsService(t, w, w)
	for range 50 {
		from := w.lines[sale].stockRev
		var records []events.Record
		for rev := from + 1; rev <= from+20; rev++ {
			records = append(records, stock(sale, "aaaaaaaa", rev, 20-rev+from), soldOutAt("other", rev))
		}
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		w.calls()
		hear(t, s, "together", make([]events.Fate, len(records)), records...)
		if l := w.lines[sale]; w.calls()["stock"] != 2 || l.stockRev != from+20 || !l.soldOut || w.lines["other"].stockRev != from+20 {
			t.Fatalf("got %+v, want two calls, and both rooms sold out at %d", l, from+20)
		}
		hear(t, s, "then", fates(events.Done), stock(sale, "aaaaaaaa", from+21, 1))
	}
	if before, now := did(t, s, sale, "stock_before"), did(t, s, sale, "stock"); before != 50*19 || now != 100 {
		t.Errorf("counted: got %v passed over and %v told, want %d and 100", before, now, 50*19)
	}
}

// A fact of a shop that does not count is judged by the line that heard those that do.
func TestFactsWithoutARevComeSecond(t *testing.T) {
	w := newWorld(sale)
	s := factsService(t, w, w)
	noon := time.Now()
	of := func(record events.Record, at time.Time) events.Record {
		fact, err := events.DecodeBooking(record.Headers, record.Value)
		if err != nil {
			t.Fatal(err)
		}
		fact.AtMS = at.UnixMilli()
		return events.EncodeBooking(fact)
	}
	before, after := of(soldOutAt(sale, 0), noon.Add(-time.Hour)), of(soldOutAt(sale, 0), noon.Add(time.Hour))
	hear(t, s, "of before", fates(0, 0), before, stock(sale, "aaaaaaaa", 3, 1))
	if l := w.lines[sale]; l.soldOut || l.stockRev != 3 {
		t.Errorf("a sold_out of before the stock: got %+v, want seats left at 3", l)
	}
	hear(t, s, "of after", fates(0, 0, 0), after, stock(sale, "aaaaaaaa", 4, 1), before)
	if l := w.lines[sale]; !l.soldOut || l.stockRev != 4 {
		t.Errorf("a sold_out of after the stock: got %+v, want it sold out", l)
	}
}

// A room that is lost or recovering keeps the newest word about its stock waiting and no
// other, however the facts come, and hears it when it is back.
func TestFactsOfStockWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.lose(sale)
		s := factsService(t, w, w)
		one, two, three := stock(sale, "aaaaaaaa", 1, 3), stock(sale, "aaaaaaaa", 2, 2), stock(sale, "aaaaaaaa", 3, 0)
		hear(t, s, "the first", fates(events.Later), one)
		hear(t, s, "two together", fates(events.Later, events.Done), three, two)
		w.calls()
		hear(t, s, "what waited before", fates(events.Done), one)
		if n := w.calls()["stock"]; n != 0 {
			t.Errorf("got %d calls for what is older than what waits, want none", n)
		}
		hear(t, s, "what waits", fates(events.Later), three)
		hear(t, s, "a repeat beside it", fates(events.Done, events.Later), three, three)
		hear(t, s, "as an older booker tells it", fates(events.Done), soldOutAt(sale, 2))
		hear(t, s, "of another epoch", fates(events.Later), stock(sale, "bbbbbbbb", 1, 1))
		saved := room.Saved{Conf: map[string]string{"epoch": "aaaaaaaa", "state": "open", "rev": "1"}}
		if err := w.Recreate(t.Context(), sale, room.Caller{Epoch: "aaaaaaaa", Mark: 3}, saved); err != nil {
			t.Fatal(err)
		}
		hear(t, s, "while lost acts may come back", fates(events.Later), three)
		time.Sleep(4 * time.Second) // synctest's time
		hear(t, s, "when it is back", fates(events.Done, events.Done), three, stock(sale, "bbbbbbbb", 1, 1))
		if l := w.lines[sale]; !l.soldOut || l.stockRev != 3 {
			t.Errorf("got %+v, want it sold out at 3", l)
		}
		hear(t, s, "what comes late", fates(events.Done), two)
		if n := len(s.waiting.newest); n != 0 {
			t.Errorf("got %d sales remembered, want none: nothing waits", n)
		}
	})
}

// It waits an hour, as a sold_out does, and is told of when that was in vain.
func TestFactsOfStockDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.lose(sale)
		core, logs := observer.New(zap.InfoLevel)
		s, err := New(Config{}, "test@host", w, w, zap.New(core), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		fact := stock(sale, "aaaaaaaa", 7, 1)
		time.Sleep(stockKept - time.Second) // synctest's time
		hear(t, s, "in its hour", fates(events.Later), fact)
		time.Sleep(time.Second) // synctest's time
		hear(t, s, "an hour old", fates(events.Done), fact)
		if n := logs.FilterField(zap.String("fact", "stock")).Len(); n != 1 || did(t, s, sale, "lost") != 1 || len(s.waiting.newest) != 0 {
			t.Errorf("got %d lines, %v lost, %d remembered, want one, one and none", n, did(t, s, sale, "lost"), len(s.waiting.newest))
		}
	})
}

// However many rooms are lost, so many are remembered; the others' facts wait each by
// itself.
func TestFactsOfStockRememberedAreBounded(t *testing.T) {
	w := newWorld()
	s := factsService(t, w, w)
	var records []events.Record
	for i := range room.MaxRooms + 2 {
		records = append(records, stock(room.Name(fmt.Sprint("r-", i)), "aaaaaaaa", 5, 1))
	}
	all := slices.Repeat(fates(events.Later), len(records))
	hear(t, s, "all", all, records...)
	if n := len(s.waiting.newest); n != room.MaxRooms {
		t.Errorf("got %d sales remembered, want %d", n, room.MaxRooms)
	}
	last := room.Name(fmt.Sprint("r-", room.MaxRooms+1))
	hear(t, s, "an older one of a room that is remembered", fates(events.Done), stock("r-0", "aaaaaaaa", 4, 1))
	hear(t, s, "of one that is not", fates(events.Later), stock(last, "aaaaaaaa", 4, 1))
	hear(t, s, "a newer one of one that is", fates(events.Later), stock("r-0", "aaaaaaaa", 6, 1))
	hear(t, s, "beside the one before", fates(events.Done), records[0])
}

// severed is a world on a server for each room, one of which is away.
type severed struct {
	*world
	away room.Name

	mu    sync.Mutex
	asked int // of the one that is away
}

func (h *severed) Shards(_ context.Context, names []room.Name) [][]room.Name {
	var here, there []room.Name
	for _, name := range names {
		if name < h.away {
			here = append(here, name)
		} else {
			there = append(there, name)
		}
	}
	return [][]room.Name{there, here}
}

func (h *severed) Stock(ctx context.Context, name room.Name, epoch room.Epoch, stock room.Stock) (bool, error) {
	if name < h.away {
		return h.world.Stock(ctx, name, epoch, stock)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return false, errNotSent
}

// A server that is away is asked once, not once for each of its rooms, and costs the
// rooms of others nothing.
func TestFactsOfStockOfAServerThatIsAway(t *testing.T) {
	w := &severed{world: newWorld("a", "b", "x", "y", "z"), away: "x"}
	s := factsService(t, w, w)
	records := []events.Record{stock("x", "aaaaaaaa", 1, 0), stock("a", "aaaaaaaa", 1, 0), stock("y", "aaaaaaaa", 1, 0),
		stock("z", "aaaaaaaa", 1, 0), stock("b", "aaaaaaaa", 1, 0)}
	hear(t, s, "one of two away", fates(events.Later, events.Done, events.Later, events.Later, events.Done), records...)
	if w.asked != 1 || !w.lines["a"].soldOut || !w.lines["b"].soldOut {
		t.Errorf("got %d questions to the one that is away, a and b sold out %v, %v, want 1 and both",
			w.asked, w.lines["a"].soldOut, w.lines["b"].soldOut)
	}
	w.away = "zz"
	hear(t, s, "both there", make([]events.Fate, len(records)), records...)
	if !w.lines["x"].soldOut || !w.lines["z"].soldOut {
		t.Error("rooms of the server that came back are not sold out")
	}
}
