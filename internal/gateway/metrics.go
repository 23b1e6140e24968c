package gateway

import "github.com/prometheus/client_golang/prometheus"

// metrics are labelled by cause only: codes of wire's table.
type metrics struct {
	refused *prometheus.CounterVec
	closed  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, open func() float64) *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		m := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Name: name, Help: help}, []string{"cause"})
		reg.MustRegister(m)
		return m
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "waitroom", Name: "connections",
		Help: "WebSocket connections, with those in their handshake."}, open))
	return &metrics{
		refused: counter("upgrades_refused_total", "Connections refused before the upgrade; cause is the code."),
		closed:  counter("connections_cut_total", "Connections cut without a farewell; cause is the code."),
	}
}
