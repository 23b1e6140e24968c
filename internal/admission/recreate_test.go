package admission

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/room"
)

// A room that Redis lost whole, registry and all, is brought back by an admitter that is
// alone with it, as it was last read: paused; also when it rested. A deleted one is not.
func TestLostRoomsAreBroughtBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("busy", "quiet", "gone")
		_, logs, _ := serve(t, Config{}, w, w)
		w.join("busy", 2000)
		time.Sleep(5 * time.Second) // the others rest
		w.mu.Lock()
		w.lines["quiet"].state, w.lines["quiet"].rev = room.Paused, 9
		w.lines["quiet"].stats.Joined++ // a pulse
		busy := w.lines["busy"].epoch
		w.mu.Unlock()
		time.Sleep(5 * time.Second)
		w.lose("busy")
		w.lose("quiet")
		w.remove("gone")
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if l := w.lines["busy"]; l == nil || l.epoch != busy || l.seq < 2000 {
			t.Errorf("the busy room: got %+v, want it back with every number that was heard of", l)
		}
		if l := w.lines["quiet"]; l == nil || l.state != room.Paused || l.rev != 9 {
			t.Errorf("the quiet room: got %+v, want it back and paused", l)
		}
		if w.lines["gone"] != nil {
			t.Error("a deleted room came back")
		}
		if n := logs.FilterMessageSnippet("as this process remembers it").Len(); n != 2 {
			t.Errorf("got %d lines about it, want 2", n)
		}
		// An act that the line lost with its last second.
		w.lines["quiet"].state, w.lines["quiet"].rev = room.Open, 8
		w.lines["quiet"].stats.Joined++
		w.mu.Unlock()
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		if l := w.lines["quiet"]; l.state != room.Paused || l.rev != 9 {
			t.Errorf("the quiet room: got %s of rev %d, want the pause back", l.state, l.rev)
		}
	})
}

// What an admitter brings back is of the life that it read last, though nothing else of
// the conf changed since: by it the line tells a Redis that was emptied from one that
// began anew.
func TestTheLifeOfWhatIsBroughtBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("sale")
		serve(t, Config{}, w, w)
		w.join("sale", 2000)
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		w.lines["sale"].fence() // a restart that lost nothing
		life := w.lines["sale"].life.ID
		w.mu.Unlock()
		time.Sleep(5 * time.Second)
		w.lose("sale")
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.brought.Life != life {
			t.Errorf("got the life %q, want %q", w.brought.Life, life)
		}
	})
}

// What a line lost is told: in the log when it is noticed and when it is over, in the
// metrics meanwhile; a restart that lost nothing is one calm line.
func TestLossesAreTold(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	reg := prometheus.NewRegistry()
	l := &losses{name: sale, log: zap.New(core), metrics: newMetrics(reg)}
	at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	said := func(want ...string) {
		t.Helper()
		var got []string
		for _, e := range logs.TakeAll() {
			got = append(got, e.Message[:12])
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	l.note(room.Life{}, at)
	said()
	if l.due(room.Round{}, time.Now()) {
		t.Error("a line that lost nothing is asked")
	}
	if !l.due(room.Round{Losses: 1}, time.Now()) {
		t.Error("a line that noticed a loss is not asked")
	}
	lost := room.Life{LostAt: at, Fences: 1, Asking: true}
	l.note(lost, at)
	said()
	lost.Asking, lost.Lost, lost.HoldUntil = false, 500, at.Add(10*time.Second)
	l.note(lost, at.Add(time.Second))
	said("the line los")
	lost.Restored = 499
	l.note(lost, at.Add(2*time.Second))
	said()
	l.note(lost, at.Add(11*time.Second))
	said("places are b")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"waitroom_admitter_line_losses": 1, "waitroom_admitter_line_unknown": 500,
		"waitroom_admitter_line_returned": 499, "waitroom_admitter_line_held_seconds": 0}
	for _, f := range families {
		if value, has := want[f.GetName()]; has {
			delete(want, f.GetName())
			if got := f.GetMetric()[0].GetGauge().GetValue(); got != value {
				t.Errorf("%s: got %v, want %v", f.GetName(), got, value)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("nobody exports %v", want)
	}
	l.note(room.Life{LostAt: at.Add(time.Minute), Fences: 2, Asking: true}, at.Add(time.Minute))
	l.note(room.Life{LostAt: at.Add(time.Minute), Fences: 2}, at.Add(time.Minute+time.Second))
	said("redis had be")
}
