package admission

import (
	"testing"
	"testing/synctest"
	"time"

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
		if n := logs.FilterMessageSnippet("brought back").Len(); n != 2 {
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
