package booking

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the shop. Labels are the room and the cause; a room becomes a label
// only after a signed pass or an admission named it, so strangers add none.
type metrics struct {
	acts       *prometheus.CounterVec
	admissions *prometheus.CounterVec
	dead       prometheus.Counter
	skew       prometheus.Gauge
	failed     *prometheus.CounterVec
	aside      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		acts: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "acts_total",
			Help: "What visitors did and what became of it: held, confirmed, released, expired, left, or the code of a refusal."}, []string{"room", "cause"}),
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "admissions_total",
			Help: "Admissions read from Kafka, repeats included."}, []string{"room"}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "dead_letters_total",
			Help: "Messages that could not be understood."}),
		skew: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "clock_ahead_seconds",
			Help: "How far this clock is ahead of the database's."}),
		aside: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "holds_set_aside_total",
			Help: "Holds that were set aside because their rows contradict each other: an operator must look."}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "failures_total",
			Help: "Failed steps of the loops, and failed calls of the payment gateway."}, []string{"cause"}),
	}
	reg.MustRegister(m.acts, m.admissions, m.dead, m.skew, m.failed, m.aside)
	return m
}
