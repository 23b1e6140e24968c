package process

import (
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A metric is known with its type and labels before it has a series; the
// runtime's are left out.
func TestRecorder(t *testing.T) {
	rec := NewRecorder()
	Common(rec)
	rec.MustRegister(
		prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waitroom", Name: "a_total", Help: `So "many" as \ is.`}, []string{"room", "cause"}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "waitroom", Name: "b", Help: "B."}, func() float64 { return 1 }),
		prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "waitroom", Name: "c_seconds", Help: "C."}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "waitroom", Name: "d_seconds", Help: "D."}, []string{"room"}),
		prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Name: "e_total", Help: "E."}))
	if err := rec.Register(prometheus.NewCounter(prometheus.CounterOpts{Namespace: "waitroom", Name: "e_total", Help: "E."})); err == nil {
		t.Error("a second metric of a name: got no error")
	}
	got, err := rec.Metrics()
	want := []Metric{
		{"waitroom_a_total", "counter", `So "many" as \ is.`, []string{"room", "cause"}},
		{"waitroom_b", "gauge", "B.", nil},
		{"waitroom_build_info", "gauge", "1, with the build in the labels.", []string{"goversion", "revision", "version"}},
		{"waitroom_c_seconds", "histogram", "C.", nil},
		{"waitroom_d_seconds", "histogram", "D.", []string{"room"}},
		{"waitroom_e_total", "counter", "E.", nil},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if row := "| `waitroom_d_seconds` | histogram | `room` | D. |\n"; !strings.Contains(MetricTable(got), row) {
		t.Errorf("table: got %s, want %s in it", MetricTable(got), row)
	}
	if text := "# TYPE waitroom_d_seconds histogram\nwaitroom_d_seconds_bucket{room=\"x\",le=\"+Inf\"} 1\n"; !strings.Contains(Exposition(got), text) {
		t.Errorf("exposition: got %s, want %s in it", Exposition(got), text)
	}
}
