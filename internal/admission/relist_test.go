package admission

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

// unlisted is a world whose registry may lose a name alone. Recreate lists it.
type unlisted struct {
	*world

	mu      sync.Mutex
	missing map[room.Name]bool // guarded by mu
	told    map[room.Name]int  // how often a room was brought back; guarded by mu
}

func (u *unlisted) unlist(name room.Name) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.missing[name] = true
}

func (u *unlisted) Rooms(ctx context.Context) ([]room.Name, error) {
	names, err := u.world.Rooms(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.DeleteFunc(names, func(name room.Name) bool { return u.missing[name] }), err
}

func (u *unlisted) Recreate(ctx context.Context, name room.Name, caller room.Caller, saved room.Saved) error {
	err := u.world.Recreate(ctx, name, caller, saved)
	if err == nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.missing, name)
		u.told[name]++
	}
	return err
}

// A registry that is lost alone comes back as well, though every call of the lines in it
// goes well: a busy room's name and a resting one's. A room that was deleted stays so, and
// nothing else is written for rooms that are listed.
func TestARegistryLostAloneComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unlisted{world: newWorld("busy", "quiet", "gone", "listed"), missing: map[room.Name]bool{}, told: map[room.Name]int{}}
		u.join("busy", 5_000)
		_, logs, _ := serve(t, Config{}, u, u)
		time.Sleep(5 * time.Second) // the others rest
		u.unlist("busy")
		u.unlist("quiet")
		u.unlist("gone")
		u.remove("gone")
		time.Sleep(2*registryEvery + maxRound)
		names, err := u.Rooms(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		if want := []room.Name{"busy", "listed", "quiet"}; !slices.Equal(names, want) {
			t.Errorf("got the registry %v, want %v", names, want)
		}
		wantSaid(t, logs, "the registry lost the room, which is listed again", 2)
		time.Sleep(10 * time.Second)
		u.mu.Lock()
		defer u.mu.Unlock()
		if want := map[room.Name]int{"busy": 1, "quiet": 1}; !maps.Equal(u.told, want) {
			t.Errorf("got rooms brought back %v, want %v", u.told, want)
		}
	})
}

// What a line lost is called by its name: an operator's act is not all of its data.
func TestALostActIsCalledSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale)
		_, logs, _ := serve(t, Config{}, w, w)
		w.let(sale, room.Paused, time.Time{})
		w.let(sale, room.Paused, time.Time{})
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		w.lines[sale].state = room.Open
		w.lines[sale].rev--
		w.mu.Unlock()
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		if l := w.lines[sale]; l.state != room.Paused {
			t.Errorf("got %s, want the pause back", l.state)
		}
		w.mu.Unlock()
		wantSaid(t, logs, "the line lost an operator's act, which is brought back as this process remembers it", 1)
		wantSaid(t, logs, lostWhole, 0)
		w.lose(sale)
		time.Sleep(5 * time.Second)
		wantSaid(t, logs, lostWhole, 1)
	})
}
