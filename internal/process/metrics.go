package process

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// Prefix begins the name of every metric of ours; those of the Go runtime and of
// the process keep the names that everybody knows.
const Prefix = "waitroom_"

// Common registers what every binary tells: the runtime, the process, the build.
func Common(reg prometheus.Registerer) {
	build := ReadBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "waitroom", Name: "build_info",
		Help: "1, with the build in the labels.",
		ConstLabels: prometheus.Labels{
			"version": build.Version, "revision": build.Revision, "goversion": build.GoVersion}})
	info.Set(1)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
}

// Metric is one metric as its documentation names it.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

// Recorder is a Registerer that keeps what was registered, so that a metric is
// known before it has a series.
type Recorder struct {
	prometheus.Registerer
	found []prometheus.Collector
}

// NewRecorder returns a Recorder over a registry of its own.
func NewRecorder() *Recorder { return &Recorder{Registerer: prometheus.NewPedanticRegistry()} }

// Register registers and notes.
func (r *Recorder) Register(c prometheus.Collector) error {
	err := r.Registerer.Register(c)
	if err == nil {
		r.found = append(r.found, c)
	}
	return err
}

// MustRegister registers and notes.
func (r *Recorder) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// A Desc tells what it holds by its text alone.
var descText = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)", unit: "[^"]*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// Metrics returns every metric of ours that was registered, by name. It fails on
// what it can't read, rather than leave a metric out.
func (r *Recorder) Metrics() ([]Metric, error) {
	var all []Metric
	for _, c := range r.found {
		descs := make(chan *prometheus.Desc)
		go func() { // ends when the collector has described itself, which the loop below awaits
			defer close(descs)
			c.Describe(descs)
		}()
		for desc := range descs {
			part := descText.FindStringSubmatch(desc.String())
			if part == nil {
				return nil, fmt.Errorf("metric %s: not readable", desc)
			}
			if !strings.HasPrefix(part[1], Prefix) {
				continue
			}
			m := Metric{Name: part[1], Help: strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(part[2]), Type: typeOf(c, part[1])}
			for _, label := range strings.Split(part[3], ",") {
				if name, _, ok := strings.Cut(label, "="); ok {
					m.Labels = append(m.Labels, name)
				}
			}
			if part[4] != "" {
				m.Labels = append(m.Labels, strings.Split(part[4], ",")...)
			}
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// typeOf is the type as the text format names it. A collector of several metrics
// with types of their own tells gauges, or it has to be one for each.
func typeOf(c prometheus.Collector, name string) string {
	switch c.(type) {
	case *prometheus.CounterVec:
		return "counter"
	case *prometheus.GaugeVec:
		return "gauge"
	case *prometheus.HistogramVec:
		return "histogram"
	}
	if m, ok := c.(prometheus.Metric); ok {
		var d dto.Metric
		if m.Write(&d) == nil {
			switch {
			case d.Counter != nil:
				return "counter"
			case d.Histogram != nil:
				return "histogram"
			}
		}
	}
	return "gauge"
}

// MetricTable is the Markdown table of metrics, out of what was registered:
// docs/metrics.md holds it and a test compares.
func MetricTable(all []Metric) string {
	var b strings.Builder
	b.WriteString("\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range all {
		labels := ""
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, strings.ReplaceAll(m.Help, "|", `\|`))
	}
	return b.String()
}

// Exposition is the text format with one series for each metric, for a linter.
func Exposition(all []Metric) string {
	var b strings.Builder
	for _, m := range all {
		var labels []string
		for _, label := range m.Labels {
			labels = append(labels, label+`="x"`)
		}
		set := func(more ...string) string { return "{" + strings.Join(append(labels, more...), ",") + "}" }
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.Name, m.Help, m.Name, m.Type)
		if m.Type != "histogram" {
			fmt.Fprintf(&b, "%s%s 1\n", m.Name, set())
			continue
		}
		fmt.Fprintf(&b, "%s_bucket%s 1\n%s_sum%s 1\n%s_count%s 1\n", m.Name, set(`le="+Inf"`), m.Name, set(), m.Name, set())
	}
	return b.String()
}
