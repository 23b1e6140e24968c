package outbox

import "github.com/prometheus/client_golang/prometheus"

// metrics of the outbox. They carry no label.
type metrics struct {
	published   prometheus.Counter
	unpublished prometheus.Counter
	outbox      prometheus.Gauge
	oldest      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		published: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "facts_published_total",
			Help: "Facts acknowledged by Kafka, repeats included."}),
		unpublished: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "publish_failures_total",
			Help: "Attempts to publish facts that failed."}),
		outbox: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "outbox_depth",
			Help: "Facts that wait for Kafka, about."}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "outbox_oldest_seconds",
			Help: "How long the oldest fact has waited for Kafka, looked at before each attempt to publish."}),
	}
	reg.MustRegister(m.published, m.unpublished, m.outbox, m.oldest)
	return m
}
