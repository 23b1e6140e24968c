package hub

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/room"
)

// presence is what is measured when it is asked for: the age of a read grows by
// itself, and a gauge that the tick sets would stand still with the tick.
type presence struct {
	signs                   func() []room.RoomSign
	lost                    func(room.Name) int
	visitors, stale, unseen *prometheus.Desc
}

func newPresence(signs func() []room.RoomSign, lost func(room.Name) int) *presence {
	return &presence{signs: signs, lost: lost,
		visitors: prometheus.NewDesc("waitroom_visitors", "Visitors with a connection to this node.", []string{"room"}, nil),
		stale: prometheus.NewDesc("waitroom_positions_stale_seconds",
			"How old the last good read of the line is, in rooms that have visitors here; a room that is well is read once a second.", []string{"room"}, nil),
		unseen: prometheus.NewDesc("waitroom_places_unseen",
			"Visitors with a connection to this node whose number the line has lost and who are not back in it.", []string{"room"}, nil)}
}

// Describe and Collect make it a collector.
func (p *presence) Describe(out chan<- *prometheus.Desc) {
	out <- p.visitors
	out <- p.stale
	out <- p.unseen
}

// Collect reads the ages now.
func (p *presence) Collect(out chan<- prometheus.Metric) {
	for _, s := range p.signs() {
		out <- prometheus.MustNewConstMetric(p.visitors, prometheus.GaugeValue, float64(s.Visitors), string(s.Room))
		out <- prometheus.MustNewConstMetric(p.stale, prometheus.GaugeValue, float64(s.StaleMS)/1000, string(s.Room))
		out <- prometheus.MustNewConstMetric(p.unseen, prometheus.GaugeValue, float64(p.lost(s.Room)), string(s.Room))
	}
}

// Signs is what this node says of its rooms in its sign of life: how many
// visitors it shows each, and how old their positions are, by name. Rooms that
// nobody here watches are left out.
func (h *Hub) Signs() []room.RoomSign {
	h.mu.Lock()
	rooms := make([]*roomHub, 0, len(h.rooms))
	for _, r := range h.rooms {
		rooms = append(rooms, r)
	}
	h.mu.Unlock()
	now := time.Now()
	var signs []room.RoomSign
	for _, r := range rooms {
		r.roster.mu.Lock()
		people, sessions := r.roster.people, len(r.roster.sessions)
		r.roster.mu.Unlock()
		if people > 0 {
			_, epoch := r.view.now()
			signs = append(signs, room.RoomSign{Room: r.name, Epoch: epoch, Visitors: int64(sessions), StaleMS: r.view.stale(now).Milliseconds()})
		}
	}
	slices.SortFunc(signs, func(a, b room.RoomSign) int { return cmp.Compare(a.Room, b.Room) })
	return signs
}

// metrics are labelled by room and cause only. Rooms are those of the registry,
// at most room.MaxRooms, and go with their room; causes are a fixed few.
type metrics struct {
	positions *prometheus.CounterVec
	busy      *prometheus.CounterVec
	turns     *prometheus.CounterVec
	joins     *prometheus.CounterVec
	returned  *prometheus.CounterVec
	line      *prometheus.CounterVec
	tick      prometheus.Histogram
	late      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, signs func() []room.RoomSign, lost func(room.Name) int) *metrics {
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
	reg.MustRegister(newPresence(signs, lost))
	return &metrics{
		positions: counter("positions_sent_total", "Position messages taken by connections.", "room"),
		busy:      counter("positions_busy_total", "Visitors who could not take their message in a tick.", "room"),
		turns:     counter("turns_told_total", "Visitors told that they stand elsewhere; cause is the new standing.", "room", "cause"),
		joins:     counter("joins_total", "Joins and returns; cause is ok, returned, or why not.", "room", "cause"),
		returned:  counter("places_returned_total", "Places of visitors here that the line had lost and knows again.", "room"),
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
	cause := [...]string{waiting: "waiting", admitted: "admitted", inside: "inside", over: "over"}[to]
	m.turns.WithLabelValues(string(name), cause).Inc()
}

func (m *metrics) came(name room.Name, r *request, err error) {
	cause := "ok"
	switch {
	case errors.Is(err, room.ErrUnknown):
		name, cause = "", "unknown_room" // a stranger's word is no label
	case errors.Is(err, room.ErrOverloaded):
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

// drop forgets the series of a room that is gone.
func (m *metrics) drop(name room.Name) {
	label := prometheus.Labels{"room": string(name)}
	m.positions.Delete(label)
	m.busy.Delete(label)
	m.returned.Delete(label)
	m.turns.DeletePartialMatch(label)
	m.joins.DeletePartialMatch(label)
}
