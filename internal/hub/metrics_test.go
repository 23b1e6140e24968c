package hub

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The age of the positions grows while Redis is away, in the metrics and in the
// node's sign, and neither speaks of a room without visitors.
func TestStaleness(t *testing.T) {
	inBubble(t, func(b *bench) {
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(newPresence(b.hub.Signs, b.hub.lost))
		stale := func() (seconds float64, rooms int) {
			b.Helper()
			families, err := reg.Gather()
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == "waitroom_positions_stale_seconds" {
					return f.GetMetric()[0].GetGauge().GetValue(), len(f.GetMetric())
				}
			}
			return 0, 0
		}
		check := func(what string, least, most time.Duration, visitors int64) {
			b.Helper()
			signs := b.hub.Signs()
			seconds, rooms := stale()
			if visitors == 0 {
				if len(signs) != 0 || rooms != 0 {
					b.Errorf("%s: got %v and %d rooms, want nothing", what, signs, rooms)
				}
				return
			}
			if len(signs) != 1 || rooms != 1 || signs[0].Room != show || signs[0].Visitors != visitors {
				b.Fatalf("%s: got %+v and %d rooms, want one with %d visitors", what, signs, rooms, visitors)
			}
			if ms := time.Duration(signs[0].StaleMS) * time.Millisecond; ms < least || ms > most || seconds < least.Seconds() || seconds > most.Seconds() {
				b.Errorf("%s: got positions %s old and %v s, want %s to %s", what, ms, seconds, least, most)
			}
		}
		check("nobody", 0, 0, 0)
		b.pass(time.Hour)
		sessions, sinks := b.join(2)
		check("two came", 0, PositionTick, 2)
		b.pass(5 * time.Second)
		check("well", 0, PositionTick, 2)
		b.line.set(func() { b.line.away = true })
		b.pass(30 * time.Second)
		check("away", 29*time.Second, 31*time.Second, 2)
		b.line.set(func() { b.line.away = false })
		b.pass(2 * time.Second)
		check("back", 0, PositionTick, 2)
		for i, v := range sessions {
			v.Detach(sinks[i])
		}
		b.pass(time.Hour)
		check("all gone", 0, 0, 0)
		b.join(1)
		check("one came after an hour", 0, PositionTick, 1)
	})
}

// metric is the value of a series of the room, of a collector that has no other.
func metric(b *bench, c prometheus.Collector, name string) (value float64) {
	b.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	b.Fatalf("no metric %s", name)
	return 0
}
