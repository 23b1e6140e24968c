package admission

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/room"
)

// eventful is a world whose lines take an event that is newer than theirs, as the line does.
type eventful struct{ *world }

func (e eventful) Recreate(ctx context.Context, name room.Name, caller room.Caller, saved room.Saved) error {
	err := e.world.Recreate(ctx, name, caller, saved)
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.lines[name]; err == nil && saved.Event.Rev > l.event.Rev {
		l.event = saved.Event
	}
	return err
}

func (w *world) title(name room.Name) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.lines[name]; l != nil {
		return l.event.Title
	}
	return "†"
}

// eventlessly is a process that brings a line back and knows nothing of its event, but
// that there is one.
func (w *world) eventlessly(t *testing.T, name room.Name, saved room.Saved) {
	t.Helper()
	saved.Event = room.Event{}
	if err := w.Recreate(t.Context(), name, room.Caller{Epoch: saved.Epoch()}, saved); err != nil {
		t.Fatal(err)
	}
}

// A room that Redis lost comes back with what its sale is for, whoever brings it back
// first, and the shop hears neither that it is gone nor that it is for nothing.
func TestALostRoomKeepsItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := eventful{newWorld("busy", "quiet", "second", "plain")}
		for _, name := range []room.Name{"busy", "quiet", "second"} {
			w.describe(name, "first word")
			w.describe(name, "Gala")
		}
		w.join("busy", 10_000)
		w.join("second", 3)
		_, _, stop := serve(t, Config{}, w, w)
		time.Sleep(5 * time.Second) // the others rest
		second, err := w.Status(t.Context(), "second")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []room.Name{"busy", "quiet", "second", "plain"} {
			w.lose(name)
		}
		w.eventlessly(t, "second", second.Saved)
		time.Sleep(10 * time.Second)
		for name, want := range map[room.Name]string{"busy": "Gala", "quiet": "Gala", "second": "Gala", "plain": ""} {
			if got := w.title(name); got != want {
				t.Errorf("room %s: got the event %q, want %q", name, got, want)
			}
		}
		if got, count := w.told(t); count != 4 || got["busy"] != "Gala" || got["quiet"] != "Gala" || got["second"] != "Gala" {
			t.Errorf("told: got %v in %d records, want the four of the start", got, count)
		}
		w.describe("quiet", "Ball")
		time.Sleep(5 * time.Second)
		if got, count := w.told(t); count != 5 || got["quiet"] != "Ball" {
			t.Errorf("told: got %v in %d records, want the change in one more", got, count)
		}
		w.lose("quiet")
		time.Sleep(5 * time.Second)
		if got := w.title("quiet"); got != "Ball" {
			t.Errorf("got the event %q, want the one read last", got)
		}
		stop()
	})
}

// A room that is lost gets no tombstone before somebody deletes it.
func TestDescribeBuriesNoLostRoom(t *testing.T) {
	w := newWorld(sale, "other")
	d := newDescriber(w, w, zap.NewNop())
	look := func(names ...room.Name) {
		t.Helper()
		if err := d.look(t.Context(), servedRooms{names: names}); err != nil {
			t.Fatal(err)
		}
	}
	w.describe(sale, "Gala")
	look("other", sale)
	w.lose(sale)
	look("other")
	if got, count := w.told(t); got[sale] != "Gala" || count != 2 {
		t.Errorf("told: got %v in %d records, want the description alone", got, count)
	}
	w.remove(sale)
	w.mu.Lock()
	delete(w.lost, sale)
	w.mu.Unlock()
	look("other")
	if got, count := w.told(t); got[sale] != "†" || count != 3 {
		t.Errorf("told: got %v in %d records, want a tombstone once there is one", got, count)
	}
}

// halfway is a line whose conf tells of an event that is not there.
type halfway struct{ *world }

func (halfway) Event(context.Context, room.Name) (room.Event, error) { return room.Event{}, nil }

// A line that came back without its event says nothing of it, and people are told.
func TestDescribeTellsNoEmptyEventOfALostOne(t *testing.T) {
	w := newWorld(sale)
	w.describe(sale, "Gala")
	d := newDescriber(halfway{w}, w, zap.NewNop())
	err := d.look(t.Context(), servedRooms{names: []room.Name{sale}})
	if err == nil || !strings.Contains(err.Error(), string(sale)) {
		t.Errorf("got %v, want an error that names the room", err)
	}
	if got, count := w.told(t); count != 0 {
		t.Errorf("told: got %v, want nothing", got)
	}
}

// A line that tells an older event than it told before, and lost nothing else that shows,
// gets the later one back, and the shop does not hear of the older.
func TestAnEventLostAloneComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := eventful{newWorld(sale)}
		w.describe(sale, "Gala")
		older := w.lines[sale].event
		w.describe(sale, "Ball")
		w.join(sale, 10_000)
		_, logs, stop := serve(t, Config{}, w, w)
		time.Sleep(3 * time.Second)
		w.mu.Lock()
		w.lines[sale].event = older
		w.mu.Unlock()
		time.Sleep(3 * time.Second)
		if got := w.title(sale); got != "Ball" {
			t.Errorf("got the event %q, want the later one", got)
		}
		if got, count := w.told(t); got[sale] != "Ball" || count != 1 {
			t.Errorf("told: got %v in %d records, want the later one, once", got, count)
		}
		wantSaid(t, logs, lostEvent, 1)
		stop()
	})
}
