package admission

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

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
		finished(sale, "aaaaaaaa", 99), // beyond what the line knows
		soldOut(sale, "zzzzzzzz"),
		soldOut("gone", "aaaaaaaa"),
		finished(sale, "aaaaaaaa", 3),
	}
	if err := s.Facts(t.Context(), records); err != nil {
		t.Fatalf("facts: got %v, want nil", err)
	}
	if l.active[visitorOf(1)] || !l.active[visitorOf(2)] || l.active[visitorOf(3)] {
		t.Errorf("got %v active, want only visitor 2", l.active)
	}
	if l.soldOut {
		t.Error("sold_out of another epoch was applied")
	}
	if err := s.Facts(t.Context(), []events.Record{soldOut(sale, "aaaaaaaa")}); err != nil || !l.soldOut {
		t.Errorf("sold_out: got %v, sold out %t, want nil, true", err, l.soldOut)
	}
	if len(w.log) != 0 {
		t.Errorf("got %d dead letters, want none", len(w.log))
	}
}

// What can't be read goes to the dead letter topic, with where it came from; the
// records around it are applied. While Kafka or the line is away nothing counts
// as done.
func TestFactsDead(t *testing.T) {
	w := newWorld(sale)
	w.join(sale, 2)
	w.lines[sale].active[visitorOf(2)] = true
	s := factsService(t, w, w)
	garbage := events.Record{
		Topic: events.TopicBookings, Key: []byte("k"), Value: []byte("{"), Partition: 3, Offset: 42,
		Headers: map[string]string{"ce_type": "odd"},
	}
	records := []events.Record{garbage, finished(sale, "aaaaaaaa", 2)}
	w.away = errAny
	if err := s.Facts(t.Context(), records); !errors.Is(err, errAny) {
		t.Errorf("Kafka away: got %v, want its error", err)
	}
	w.away = nil
	if err := s.Facts(t.Context(), records); err != nil {
		t.Fatalf("got %v, want nil", err)
	}
	if w.lines[sale].active[visitorOf(2)] {
		t.Error("the record behind the dead one was not applied")
	}
	if len(w.log) != 1 {
		t.Fatalf("got %d dead letters, want 1", len(w.log))
	}
	dead := w.log[0]
	if dead.Topic != "waitroom.bookings.dlq" || string(dead.Value) != "{" || dead.Headers["ce_type"] != "odd" ||
		dead.Headers["dlq_partition"] != "3" || dead.Headers["dlq_offset"] != "42" || dead.Headers["dlq_error"] == "" {
		t.Errorf("got dead letter %+v, want the record with its origin", dead)
	}
}

// awayLine answers that it is away.
type awayLine struct{ *world }

func (awayLine) Finish(context.Context, room.Name, room.Caller, room.Place) (bool, error) {
	return false, errNotSent
}

func TestFactsLineAway(t *testing.T) {
	w := newWorld(sale)
	s := factsService(t, awayLine{w}, w)
	err := s.Facts(t.Context(), []events.Record{{Topic: "x", Value: []byte("{")}, finished(sale, "aaaaaaaa", 1)})
	if !errors.Is(err, room.ErrAway) {
		t.Errorf("got %v, want ErrAway, so that the offset stays", err)
	}
	if len(w.log) != 0 {
		t.Errorf("got %d dead letters while the line is away, want none yet", len(w.log))
	}
}
