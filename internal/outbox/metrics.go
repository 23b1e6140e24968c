package outbox

import "github.com/prometheus/client_golang/prometheus"

// metrics of the outbox. They carry no label.
type metrics struct {
	published   prometheus.Counter
	unpublished prometheus.Counter
	unreadable  prometheus.Counter
	outbox      prometheus.Gauge
	oldest      prometheus.Gauge
	stuck       prometheus.Gauge
	leading     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: name, Help: help})
	}
	m := &metrics{
		published:   counter("facts_published_total", "Facts acknowledged by Kafka, repeats included."),
		unpublished: counter("publish_failures_total", "Attempts to publish facts that failed."),
		unreadable:  counter("facts_unreadable_total", "Rows with facts that nobody can read, set aside in waitroom.bookings.dlq; the log names each."),
		outbox:      gauge("outbox_depth", "Facts that wait for Kafka, 100,000 at most, a second old. Each booker says the same of the one table."),
		oldest:      gauge("outbox_oldest_seconds", "How long the oldest fact has waited for Kafka, a second old."),
		stuck:       gauge("outbox_stuck_partitions", "Partitions of Kafka that take no facts; theirs wait, the others go on. Of the booker that carries."),
		leading:     gauge("outbox_leading", "1 in the booker that carries all bookers' facts to Kafka."),
	}
	reg.MustRegister(m.published, m.unpublished, m.unreadable, m.outbox, m.oldest, m.stuck, m.leading)
	return m
}
