package admission

import (
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

// More rooms than the registry may have: those that it names are served, and the
// others are told of.
func TestTooManyRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.over = true
		w.join(sale, 3)
		_, logs, _ := serve(t, Config{}, w, w)
		time.Sleep(3 * time.Second)
		if !w.settled(sale) {
			t.Error("the rooms that were named are not served")
		}
		wantSaid(t, logs, "the registry has more rooms than an admitter serves, the last ones by name are left out", 1)
		wantSaid(t, logs, "the registry can't be read, the rooms known are served on", 0)
	})
}

// Closed rooms whose time has come are removed once a minute.
func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		w.expire = []room.Name{"old"}
		_, logs, _ := serve(t, Config{}, w, w)
		time.Sleep(10*time.Minute + time.Second)
		if got := w.calls()["expire"]; got < 10 || got > 11 {
			t.Errorf("got %d times in ten minutes, want once a minute", got)
		}
		wantSaid(t, logs, "closed room removed: its time has come", 1)
	})
}
