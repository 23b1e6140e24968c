package seatmap

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	streams prometheus.Gauge
	ended   *prometheus.CounterVec
	loads   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Subsystem: "booker", Name: "map_streams",
			Help: "Live seat maps that are open."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "map_streams_ended_total",
			Help: "Live seat maps that ended; cause is gone (the visitor), slow (it did not read), pass (it expired), tabs (a newer one of the same pass), draining, or refused (--max-streams were open, or the pass's older ones did not end)."}, []string{"cause"}),
		loads: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Subsystem: "booker", Name: "map_reads_total",
			Help: "Whole reads of a room's seats for the map."}),
	}
	for _, cause := range []string{causeGone, causeSlow, causePass, causeTabs, causeDraining, causeRefused} {
		m.ended.WithLabelValues(cause)
	}
	reg.MustRegister(m.streams, m.ended, m.loads)
	return m
}
