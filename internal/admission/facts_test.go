package admission

import (
	"context"
	"errors"
	"strings"
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

// gauge is the value of stopped{room, cause}; 0 when there is none.
func gauge(t *testing.T, s *Service, name, cause string) float64 {
	t.Helper()
	series := make(chan prometheus.Metric, 100)
	s.metrics.stopped.Collect(series)
	close(series)
	for metric := range series {
		var out dto.Metric
		if err := metric.Write(&out); err != nil {
			t.Fatal(err)
		}
		labels := map[string]string{}
		for _, l := range out.Label {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["room"] == name && labels["cause"] == cause {
			return out.Gauge.GetValue()
		}
	}
	return 0
}

func factsService(t *testing.T, line line, publisher publisher) *Service {
	t.Helper()
	s, err := New(Config{Rooms: []string{"another"}}, "test@host", line, publisher, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func finished(name room.Name, epoch room.Epoch, n room.Number) events.Record {
	id := room.Admission{Room: name, Epoch: epoch, Number: n, Visitor: visitorOf(n)}.String()
	return events.EncodeBooking(events.Booking{
		Type: events.TypeFinished, ID: "f-" + id, Room: name, Epoch: epoch, Admission: id, AtMS: 1})
}

func soldOut(name room.Name, epoch room.Epoch) events.Record {
	return events.EncodeBooking(events.Booking{Type: events.TypeSoldOut, ID: "s-" + string(name), Room: name, Epoch: epoch, AtMS: 1})
}

// Facts free slots and mark rooms sold out, also of rooms that --room leaves
// out; those of another epoch or a room that is gone change nothing and stop
// nothing.
func TestFacts(t *testing.T) {
	w := newWorld(sale)
	w.join(sale, 3)
	l := w.lines[sale]
	for n := room.Number(1); n <= 3; n++ {
		l.active[visitorOf(n)] = true
	}
	s := factsService(t, w, w)
	records := []events.Record{
		finished(sale, "aaaaaaaa", 1),
		finished(sale, "aaaaaaaa", 1), // a repeat
		finished(sale, "zzzzzzzz", 2),
		finished("gone", "aaaaaaaa", 2),
		finished(sale, "aaaaaaaa", 99), // the line lost this number: nobody has to come back to it
		soldOut(sale, "zzzzzzzz"),
		soldOut("gone", "aaaaaaaa"),
		finished(sale, "aaaaaaaa", 3),
	}
	verdicts := s.Facts(t.Context(), records)
	for i, v := range verdicts {
		if v.Fate != events.Done || v.Err != nil {
			t.Errorf("record %d: got verdict %+v, want it done", i, v)
		}
	}
	if l.active[visitorOf(1)] || !l.active[visitorOf(2)] || l.active[visitorOf(3)] {
		t.Errorf("got %v active, want only visitor 2", l.active)
	}
	if l.soldOut {
		t.Error("sold_out of another epoch was applied")
	}
	if v := s.Facts(t.Context(), []events.Record{soldOut(sale, "aaaaaaaa")}); v[0].Fate != events.Later || l.soldOut {
		t.Errorf("sold_out right after the line lost number 99: got %v, sold out %t, want later, false", v, l.soldOut)
	}
	l.life.LostAt = time.Time{} // its lost acts had their time to come back
	if v := s.Facts(t.Context(), []events.Record{soldOut(sale, "aaaaaaaa")}); v[0].Fate != events.Done || !l.soldOut {
		t.Errorf("sold_out: got %v, sold out %t, want done, true", v, l.soldOut)
	}
}

// What can't be read is never; the records around it are applied.
func TestFactsDead(t *testing.T) {
	w := newWorld(sale)
	w.join(sale, 2)
	w.lines[sale].active[visitorOf(2)] = true
	s := factsService(t, w, w)
	garbage := events.Record{Topic: events.TopicBookings, Key: []byte("k"), Value: []byte("{"), Partition: 3, Offset: 42,
		Headers: map[string]string{"ce_type": "odd"}}
	verdicts := s.Facts(t.Context(), []events.Record{garbage, finished(sale, "aaaaaaaa", 2)})
	if verdicts[0].Fate != events.Never || !errors.Is(verdicts[0].Err, events.ErrInvalid) {
		t.Errorf("got %+v, want never, with the reason", verdicts[0])
	}
	if verdicts[1].Fate != events.Done || w.lines[sale].active[visitorOf(2)] {
		t.Errorf("got %+v, want the record behind the dead one applied", verdicts[1])
	}
}

// A room that is recovering, because Redis lost it whole, has its facts later, and no
// other room waits; a sold_out is not lost either.
func TestFactsRecovering(t *testing.T) {
	w := newWorld(sale, "other")
	w.join(sale, 3)
	w.join("other", 1)
	for n := room.Number(1); n <= 3; n++ {
		w.lines[sale].active[visitorOf(n)] = true
	}
	w.lines["other"].active[visitorOf(1)] = true
	fenced := &fencedLine{world: w, fenced: true}
	s := factsService(t, fenced, w)
	records := []events.Record{
		finished(sale, "aaaaaaaa", 2), finished(sale, "aaaaaaaa", 3), finished("other", "aaaaaaaa", 1), soldOut(sale, "aaaaaaaa"),
	}
	for i, want := range []events.Fate{events.Later, events.Later, events.Done, events.Later} {
		if got := s.Facts(t.Context(), records)[i]; got.Fate != want || (want == events.Later) != errors.Is(got.Err, room.ErrRecovering) {
			t.Errorf("record %d: got %+v, want fate %v", i, got, want)
		}
	}
	if w.lines["other"].active[visitorOf(1)] {
		t.Error("another room's slot is not free")
	}
	asked := fenced.asked
	if v := s.Facts(t.Context(), records[:2]); fenced.asked != asked+1 || v[1].Fate != events.Later {
		t.Errorf("two facts of one room: got %d questions, want 1", fenced.asked-asked)
	}
	fenced.fenced = false
	if v := s.Facts(t.Context(), records); v[0].Fate != events.Done || v[3].Fate != events.Done || !w.lines[sale].soldOut || w.lines[sale].active[visitorOf(3)] {
		t.Errorf("got %+v, want the slots back and the room sold out once it has recovered", v)
	}
}

// fencedLine is recovering for facts of the stock, and counts what it is asked.
type fencedLine struct {
	*world
	fenced bool
	asked  int
}

func (f *fencedLine) Stock(ctx context.Context, name room.Name, epoch room.Epoch, stock room.Stock) (bool, error) {
	if f.fenced {
		return false, room.ErrRecovering
	}
	return f.world.Stock(ctx, name, epoch, stock)
}

func (f *fencedLine) FinishAll(ctx context.Context, name room.Name, caller room.Caller, places []room.Place) (int, error) {
	f.asked++
	if f.fenced && name == sale {
		return 0, room.ErrRecovering
	}
	return f.world.FinishAll(ctx, name, caller, places)
}

// awayLine answers that it is away, and counts what it is asked.
type awayLine struct {
	*world
	asked int
}

func (l *awayLine) FinishAll(context.Context, room.Name, room.Caller, []room.Place) (int, error) {
	l.asked++
	return 0, errNotSent
}

// While the line is away every fact is later, after one question, and the reason
// names Redis.
func TestFactsLineAway(t *testing.T) {
	l := &awayLine{world: newWorld(sale, "other")}
	s := factsService(t, l, l)
	verdicts := s.Facts(t.Context(), []events.Record{{Topic: "x", Value: []byte("{")},
		finished(sale, "aaaaaaaa", 1), finished(sale, "aaaaaaaa", 2), finished("other", "aaaaaaaa", 1)})
	for i, want := range []events.Fate{events.Never, events.Later, events.Later, events.Later} {
		if got := verdicts[i]; got.Fate != want || want == events.Later && (!errors.Is(got.Err, room.ErrAway) || !strings.Contains(got.Err.Error(), "redis")) {
			t.Errorf("record %d: got %+v, want fate %v", i, got, want)
		}
	}
	if l.asked != 1 {
		t.Errorf("got %d questions to a line that is away, want 1", l.asked)
	}
}

// A sold_out is told by the room's rounds, once. Every admitter reads each fact, and most
// change nothing: of them nobody hears.
func TestFactsSayNothingThatIsNotSo(t *testing.T) {
	w := newWorld(sale)
	core, logs := observer.New(zap.InfoLevel)
	s, err := New(Config{}, "test@host", w, w, zap.New(core), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if v := s.Facts(t.Context(), []events.Record{soldOut(sale, "aaaaaaaa")})[0]; v.Fate != events.Done || !w.lines[sale].soldOut {
			t.Errorf("got %+v, want the room sold out", v)
		}
	}
	if logs.Len() != 0 {
		t.Errorf("got %v, want no line", logs.All())
	}
}

func TestSoldOutIsToldByTheRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.admit = func() *room.Round {
			return &room.Round{Stop: room.StopSoldOut, State: room.Open, SoldOut: true, Rev: 1}
		}
		_, logs, stop := serve(t, Config{}, w, w)
		time.Sleep(time.Minute)
		stop()
		if n := logs.FilterField(zap.String("cause", "sold_out")).Len(); n != 1 {
			t.Errorf("got %d lines, want one", n)
		}
	})
}
