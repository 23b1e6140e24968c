package admission

import (
	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/room"
)

// metrics has labels room, cause and state only. Rooms are bounded by the
// registry and a room's series go when it is no longer served.
type metrics struct {
	admitted, missed, lapsed, published *prometheus.CounterVec // room
	reaped                              *prometheus.CounterVec // room
	rounds, facts                       *prometheus.CounterVec // room, cause
	stopped                             *prometheus.GaugeVec   // room, cause
	outbox, oldest, slots, waiting      *prometheus.GaugeVec   // room
	rate, maxActive                     *prometheus.GaugeVec   // room
	losses, lostAt, unknown, returned   *prometheus.GaugeVec   // room
	heldFor                             *prometheus.GaugeVec   // room
	state                               *prometheus.GaugeVec   // room, state
	publish, acked                      *prometheus.HistogramVec
	served, resting, held               prometheus.Gauge
	dead, outboxDead, givenBack         prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	// From a broker on the same machine (2 ms) to the publish timeout.
	buckets := []float64{.001, .0025, .005, .0075, .01, .015, .02, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	histogram := func(name, help string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: name, Help: help, Buckets: buckets}, []string{"room"})
		reg.MustRegister(v)
		return v
	}
	m := &metrics{
		admitted:  counter("admitted_total", "Visitors admitted by this replica's rounds.", "room"),
		missed:    counter("missed_total", "Claims whose deadline passed, found by this replica's rounds.", "room"),
		lapsed:    counter("lapsed_total", "Passes whose deadline passed, found by this replica's rounds.", "room"),
		rounds:    counter("rounds_total", "Rounds, by why they stopped.", "room", "cause"),
		stopped:   gauge("stopped", "1 for the reason why the room admits nobody at the moment.", "room", "cause"),
		published: counter("published_total", "Admissions that Kafka acknowledged to this replica; repeats count again.", "room"),
		reaped:    counter("reaped_total", "Visitors taken out of the line because no node saw them for the room's grace.", "room"),
		outbox:    gauge("outbox_depth", "Admissions not yet acknowledged by Kafka.", "room"),
		oldest:    gauge("outbox_oldest_seconds", "How long the oldest admission has waited for Kafka's acknowledgement, read once a second.", "room"),
		slots:     gauge("slots_taken", "Visitors inside, unclaimed and active together.", "room"),
		waiting:   gauge("waiting", "Visitors waiting in the line.", "room"),
		rate:      gauge("rate_per_second", "The rate that is set: admissions per second.", "room"),
		losses:    gauge("line_losses", "How often the line noticed that Redis had begun anew or lost writes; counted by the line, from 1 again where it was lost whole.", "room"),
		lostAt:    gauge("line_loss_timestamp_seconds", "When the last of these was noticed, Unix time on the line's clock; 0: never.", "room"),
		unknown:   gauge("line_unknown", "Numbers whose holders the line did not know then; 65,536 or more may be spare numbers that nobody has.", "room"),
		returned:  gauge("line_returned", "Of these came back to their numbers.", "room"),
		heldFor:   gauge("line_held_seconds", "How long nobody behind the loss is admitted yet; 0: nobody is held.", "room"),
		maxActive: gauge("max_active", "The cap that is set: visitors inside at once.", "room"),
		state:     gauge("state", "1 for the room's state: opening, open, paused or closed as set by operators, or sold_out.", "room", "state"),
		publish:   histogram("publish_seconds", "How long Kafka took to acknowledge a batch of admissions."),
		acked:     histogram("acked_seconds", "From an admission, on the line's clock, to Kafka's acknowledgement, on this machine's."),
		facts:     counter("facts_total", "Booking facts, by what they did; each replica applies all of them, so one of them counts finished or stock, the others finished_before or stock_before.", "room", "cause"),
		served: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: "rooms_served", Help: "Rooms this replica runs rounds for."}),
		resting: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: "rooms_resting", Help: "Of the rooms served, those in which nothing happens: they have a look a second and no rounds."}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: "relay_held", Help: "Admissions that this replica has read from outboxes and that are not out of them yet."}),
		outboxDead: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: "outbox_dead_total", Help: "Entries of outboxes that could not be read and went to the dead letter topic."}),
		givenBack: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: "given_back_total", Help: "Visitors of nodes that died who were taken out of the line until they show up."}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "waitroom", Subsystem: "admitter", Name: "facts_dead_total", Help: "Booking records that could not be read and went to the dead letter topic."}),
	}
	reg.MustRegister(m.served, m.resting, m.held, m.dead, m.outboxDead, m.givenBack)
	return m
}

// shows sets the gauge of a room's state. sold_out is said by the shop and counts
// beside whatever an operator has set, but for closed.
func (m *metrics) shows(name room.Name, state room.State, soldOut bool) {
	if soldOut && state != room.Closed {
		state = "sold_out"
	}
	for _, s := range []room.State{room.Opening, room.Open, room.Paused, room.Closed, "sold_out"} {
		value := 0.0
		if s == state {
			value = 1
		}
		m.state.WithLabelValues(string(name), string(s)).Set(value)
	}
}

// forget drops the series of a room that is no longer served.
func (m *metrics) forget(name room.Name) {
	label := prometheus.Labels{"room": string(name)}
	for _, v := range []*prometheus.CounterVec{m.admitted, m.missed, m.lapsed, m.published, m.reaped, m.rounds} {
		v.DeletePartialMatch(label)
	}
	for _, v := range []*prometheus.GaugeVec{m.stopped, m.outbox, m.oldest, m.slots, m.waiting,
		m.rate, m.maxActive, m.state, m.losses, m.lostAt, m.unknown, m.returned, m.heldFor} {
		v.DeletePartialMatch(label)
	}
	for _, v := range []*prometheus.HistogramVec{m.publish, m.acked} {
		v.DeletePartialMatch(label)
	}
}
