package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/socket"
)

// metrics are labelled by cause only: codes of wire's table, or socket's reasons.
type metrics struct {
	refused *prometheus.CounterVec
	ended   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, g *Gateway) *metrics {
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "waitroom", Name: name, Help: help}, value))
	}
	gauge("connections", "WebSocket connections, with those in their handshake and those that are closing.", g.connections)
	gauge("connections_busy", "Connections that do not take what they are sent; after 15 s they are cut.", func() float64 { return float64(g.server.Busy()) })
	gauge("limited_addresses", "Addresses that the limits per address remember.", func() float64 { return float64(g.limits.Addresses()) })
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Name: name, Help: help}, []string{"cause"})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		refused: counter("upgrades_refused_total", "Connections refused before the upgrade; cause is the code."),
		ended:   counter("connections_ended_total", "Connections that ended; cause is why."),
	}
	for _, why := range socket.Whys() { // a cause that has not come yet is 0, and not missing
		m.ended.WithLabelValues(why.String())
	}
	return m
}
