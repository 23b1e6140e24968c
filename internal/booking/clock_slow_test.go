package booking

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/seat"
)

// A look at the database that takes longer shows less of how far its clock is off. One such
// look among others changes nothing: neither does a shop stop whose database was set, nor
// does one go on whose own clock is wrong.
func TestOneSlowLook(t *testing.T) {
	const step = 2100 * time.Millisecond // a bit more than mostSkew
	for name, k := range map[string]struct {
		there  []time.Duration // of the database's clock, at each check
		takes  []time.Duration // its answer, at each check
		skewed bool
	}{
		"the database was set":       {there: []time.Duration{0, 0, -step}, takes: []time.Duration{0, 0, 0, 150 * time.Millisecond}},
		"in the very look":           {there: []time.Duration{0, 0, -step}, takes: []time.Duration{0, 0, 150 * time.Millisecond}},
		"it was set ahead":           {there: []time.Duration{0, 0, step}, takes: []time.Duration{0, 0, 0, 150 * time.Millisecond}},
		"a slower one":               {there: []time.Duration{0, 0, -step}, takes: []time.Duration{0, 0, 0, 900 * time.Millisecond}},
		"this clock is wrong":        {there: []time.Duration{-step}, takes: []time.Duration{0, 0, 0, 150 * time.Millisecond}, skewed: true},
		"it is, and a slower one":    {there: []time.Duration{-step}, takes: []time.Duration{0, 0, 0, 900 * time.Millisecond}, skewed: true},
		"it is, and it has to agree": {there: []time.Duration{-step}, takes: []time.Duration{0, 0, 0, 3 * time.Second}, skewed: true},
	} {
		t.Run(name, func(t *testing.T) {
			var run, there time.Duration
			var takes time.Duration
			clock := newSeatsClock(func() time.Time { return noon.Add(run) }, func(context.Context) (time.Time, error) {
				told := noon.Add(run + there) // and the answer is on its way for long
				if run += takes; there < 0 {  // or the question is
					told = told.Add(takes)
				}
				return told, nil
			}, zap.NewNop(), newMetrics(prometheus.NewRegistry()))
			clock.since = func() time.Duration { return run }
			for i := range 12 {
				if i < len(k.there) {
					there = k.there[i]
				}
				takes = 0
				if i < len(k.takes) {
					takes = k.takes[i]
				}
				_ = clock.check(t.Context())
				run += clockEvery
			}
			if _, err := clock.time(); (err != nil) != k.skewed {
				t.Errorf("got %v, want stopped %t", err, k.skewed)
			}
		})
	}
}

// An answer of the database that was long on its way says what time it was then. Who got it
// neither tells that as the time of now, nor takes another's time over by it.
func TestSlowLookTellsNobody(t *testing.T) {
	const takes = 3 * time.Second
	slow := func(m *machine, looks int) {
		m.clock.read = func(context.Context) (time.Time, error) {
			told := m.now().Add(m.there)
			if looks > 0 {
				m.run += takes
			}
			looks--
			return told, nil
		}
	}
	for name, k := range map[string]struct {
		tells  int // answers that who runs gets late, just before another one starts
		starts int // that who starts gets late
	}{
		"who tells":            {tells: 1},
		"who starts":           {starts: 1},
		"who starts, each one": {starts: 10},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFleet(t, sqliteDSN(t), 1)
			a := w.start(0)
			w.pass(10 * time.Second)
			if slow(a, k.tells); k.tells > 0 {
				if err := a.clock.check(t.Context()); err == nil {
					t.Error("nobody hears that the database is slow")
				}
			}
			b := w.machine(0)
			slow(b, k.starts)
			if err := b.starts(); err != nil {
				t.Fatal(err)
			}
			b.wantTime(t, "at the start", w.run)
			w.all = append(w.all, b)
			if _, sure := b.clock.ending(); sure {
				t.Error("it ends holds before it has listened")
			}
			b.clock.read = a.clock.read
			w.pass(2 * listenFor)
			a.wantTime(t, "who ran", w.run)
			b.wantTime(t, "who started", w.run)
			if _, sure := b.clock.ending(); !sure {
				t.Error("later, it ends no holds")
			}
		})
	}
}

// Where each look is slow, a clock that is further off than a slow look can hide stops its
// booker from starting.
func TestWrongClockBesideASlowDatabase(t *testing.T) {
	w := newFleet(t, sqliteDSN(t), 1)
	m := w.machine(-time.Minute)
	m.clock.read = func(context.Context) (time.Time, error) {
		w.run += 3 * time.Second
		return w.now(), nil
	}
	if err := m.starts(); !errors.Is(err, seat.ErrSkew) {
		t.Errorf("got %v, want %v", err, seat.ErrSkew)
	}
}
