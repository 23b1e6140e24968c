package booking

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// fleet has one true time, the clocks of a database and of machines that may be set,
// and machines that may stand still. A second of it is a check of each.
type fleet struct {
	t     *testing.T
	dsn   string
	store *Store
	run   time.Duration // since noon
	there time.Duration // by which the database's clock is ahead
	all   []*machine
}

type machine struct {
	*fleet
	*Booker
	logs  *observer.ObservedLogs
	stood time.Duration // how long it stood still, by no clock of its own
	set   time.Duration // by which its clock was set
	drift time.Duration // by which its clocks gain in a second
	gain  time.Duration
	still bool
	gone  bool
}

func newFleet(t *testing.T, dsn string, seats int) *fleet {
	t.Helper()
	return &fleet{t: t, dsn: dsn, store: newStore(t, dsn, seats)}
}

func (w *fleet) now() time.Time { return noon.Add(w.run) }

// machine is one whose booker has not looked at a clock yet; its clock is set by set.
func (w *fleet) machine(set time.Duration) *machine {
	w.t.Helper()
	parts := newBookerParts(w.t, w.dsn)
	parts.Now = time.Now // the start has no others; it is made again below
	b, err := New(w.t.Context(), config, parts)
	if err != nil {
		w.t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	m := &machine{fleet: w, Booker: b, logs: logs, set: set}
	runs := func() time.Duration { return w.run - m.stood + m.gain }
	began := runs()
	b.clock = newSeatsClock(func() time.Time { return noon.Add(runs() + m.set) },
		func(context.Context) (time.Time, error) { return w.now().Add(w.there), nil }, zap.New(core), newMetrics(prometheus.NewRegistry()))
	b.clock.since = func() time.Duration { return runs() - began }
	b.clock.others = &moments{b.store}
	return m
}

// start is a machine whose booker has started, as New does.
func (w *fleet) start(set time.Duration) *machine {
	w.t.Helper()
	m := w.machine(set)
	if err := m.starts(); err != nil {
		w.t.Fatalf("start: %v", err)
	}
	w.all = append(w.all, m)
	return m
}

func (m *machine) starts() error { return m.clock.begin(m.t.Context()) }

// pass lets time pass. Who stands still or is gone checks nothing.
func (w *fleet) pass(d time.Duration) {
	w.t.Helper()
	for range d / clockEvery {
		w.run += clockEvery
		for _, m := range w.all {
			switch {
			case m.gone:
			case m.still:
				m.stood += clockEvery
			default:
				m.gain += m.drift
				if err := m.clock.check(w.t.Context()); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
}

// sweep has every booker that runs end holds, all at once and then each alone: one passes
// over a hold that another just looks at.
func (w *fleet) sweep() {
	w.t.Helper()
	var group sync.WaitGroup
	for _, m := range w.all {
		group.Go(m.sweep)
	}
	group.Wait()
	for _, m := range w.all {
		m.sweep()
	}
}

func (m *machine) sweep() {
	if m.gone || m.still {
		return
	}
	for more := true; more; {
		var err error
		if more, err = m.expire(m.t.Context()); err != nil {
			m.t.Errorf("expire: %v", err)
			return
		}
	}
}

// wantTime compares the seats' clock of a machine with the time that passed since noon:
// what lies between two checks may be missing, and what is too little to be put right.
func (m *machine) wantTime(t *testing.T, what string, want time.Duration) {
	t.Helper()
	if got := m.clock.at().Sub(noon); got > want || got < want-clockEvery-warnSkew {
		t.Errorf("%s: the seats' clock shows %v after noon, want %v", what, got, want)
	}
}
