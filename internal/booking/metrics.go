package booking

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the shop. Labels are the room and the cause; a room becomes a label
// only after a signed pass or an admission named it, so strangers add none.
type metrics struct {
	acts        *prometheus.CounterVec
	admissions  *prometheus.CounterVec
	dead        prometheus.Counter
	published   prometheus.Counter
	unpublished prometheus.Counter
	outbox      prometheus.Gauge
	oldest      prometheus.Gauge
	skew        prometheus.Gauge
	failed      *prometheus.CounterVec
	calls       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		acts: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "acts_total",
			Help: "What visitors did and what became of it: held, confirmed, released, expired, left, or the code of a refusal."}, []string{"room", "cause"}),
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "admissions_total",
			Help: "Admissions read from Kafka, repeats included."}, []string{"room"}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "dead_letters_total",
			Help: "Messages that could not be understood."}),
		published: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "facts_published_total",
			Help: "Facts acknowledged by Kafka, repeats included."}),
		unpublished: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "publish_failures_total",
			Help: "Attempts to publish facts that failed."}),
		outbox: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "outbox_depth",
			Help: "Facts that wait for Kafka, about."}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "outbox_oldest_seconds",
			Help: "How long the oldest fact has waited for Kafka, looked at before each attempt to publish."}),
		skew: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "clock_ahead_seconds",
			Help: "How far this clock is ahead of the database's."}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "failures_total",
			Help: "Failed steps of the loops, and failed calls of the payment gateway."}, []string{"cause"}),
		calls: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "waitroom", Subsystem: "booker", Name: "request_seconds",
			Help: "How long requests with a pass took.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
	}
	reg.MustRegister(m.acts, m.admissions, m.dead, m.published, m.unpublished, m.outbox, m.oldest, m.skew, m.failed, m.calls)
	return m
}
