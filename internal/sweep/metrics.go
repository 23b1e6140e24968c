package sweep

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/room"
)

// metrics are labelled by room and cause only. Rooms are those of the registry,
// at most room.MaxRooms, and go with their room; causes are a fixed few.
type metrics struct {
	visitors  *prometheus.GaugeVec
	positions *prometheus.CounterVec
	busy      *prometheus.CounterVec
	turns     *prometheus.CounterVec
	joins     *prometheus.CounterVec
	line      *prometheus.CounterVec
	tick      prometheus.Histogram
	late      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		m := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "waitroom", Name: name, Help: help}, labels)
		reg.MustRegister(m)
		return m
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		m := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Name: name, Help: help}, labels)
		reg.MustRegister(m)
		return m
	}
	histogram := func(name, help string) prometheus.Histogram {
		m := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "waitroom", Name: name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}})
		reg.MustRegister(m)
		return m
	}
	return &metrics{
		visitors:  gauge("visitors", "Visitors with a connection to this node.", "room"),
		positions: counter("positions_sent_total", "Position messages taken by connections.", "room"),
		busy:      counter("positions_busy_total", "Visitors who could not take their message in a tick.", "room"),
		turns:     counter("turns_told_total", "Visitors told that they stand elsewhere; cause is the new standing.", "room", "cause"),
		joins:     counter("joins_total", "Joins and returns; cause is ok, returned, or why not.", "room", "cause"),
		line:      counter("line_errors_total", "Calls to the line without an answer; cause is the call.", "cause"),
		tick:      histogram("position_tick_seconds", "From the start of a position tick to its first frame."),
		late:      histogram("turn_tick_seconds", "From the start of a turn tick with somebody to tell to its end."),
	}
}

func (m *metrics) swept(name room.Name, sent, busy int) {
	m.positions.WithLabelValues(string(name)).Add(float64(sent))
	m.busy.WithLabelValues(string(name)).Add(float64(busy))
}

func (m *metrics) told(name room.Name, to standing) {
	cause := [...]string{waits: "waiting", admitted: "admitted", inside: "inside", over: "over", parted: "parted"}[to]
	m.turns.WithLabelValues(string(name), cause).Inc()
}

func (m *metrics) came(name room.Name, r *request, err error) {
	cause := "ok"
	switch {
	case errors.Is(err, room.ErrUnknown):
		name, cause = "", "unknown_room" // a stranger's word is no label
	case errors.Is(err, ErrOverloaded):
		cause = "overloaded"
	case errors.Is(err, room.ErrAway), errors.Is(err, context.Canceled):
		cause = "away"
	case err != nil:
		cause = "refused"
	case r.epoch != "":
		cause = "returned"
	}
	if r.answer == nil {
		name = "" // the room was not found; see above
	}
	m.joins.WithLabelValues(string(name), cause).Inc()
}

func (m *metrics) failed(call string, err error) {
	if !definite(err) && !errors.Is(err, context.Canceled) {
		m.line.WithLabelValues(call).Inc()
	}
}

// drop forgets the series of a room that is gone.
func (m *metrics) drop(name room.Name) {
	label := prometheus.Labels{"room": string(name)}
	m.visitors.Delete(label)
	m.positions.Delete(label)
	m.busy.Delete(label)
	m.turns.DeletePartialMatch(label)
	m.joins.DeletePartialMatch(label)
}
