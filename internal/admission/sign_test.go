package admission

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

// What a replica's sign says of a room: the cause once it has lasted, since when,
// the last round's beside it, and nothing of a room that is gone.
func TestSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(sale, "gala")
		stop := room.StopPaused
		var fail error
		w.admit = func() *room.Round { return &room.Round{Stop: stop} }
		c := &client{world: w, at: func(call string, _ int) fault {
			w.mu.Lock()
			defer w.mu.Unlock()
			if call == "admit" && fail != nil {
				return notSent
			}
			return none
		}}
		s, _, end := serve(t, Config{}, c, c)
		set := func(next room.Stop, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			stop, fail = next, err
			w.lines[sale].rev++
		}
		of := func(name room.Name) (found room.RoomSign) {
			for _, r := range s.Signs() {
				if r.Room == name {
					found = r
				}
			}
			return found
		}
		check := func(what string, cause room.Stop, forAbout time.Duration, last room.Stop) {
			t.Helper()
			got := of(sale)
			held := time.Duration(got.CauseMS) * time.Millisecond
			if got.Cause != cause || got.Last != last || held < forAbout-200*time.Millisecond || held > forAbout+200*time.Millisecond {
				t.Errorf("%s: got %s for %s, last %q, want %s for %s, last %q", what, got.Cause, held, got.Last, cause, forAbout, last)
			}
		}
		// Everything below happens between two rounds: what comes in the same moment as one
		// would be before it or after it by chance.
		time.Sleep(505 * time.Millisecond)
		check("before anything lasted", room.StopPaused, 500*time.Millisecond, "")
		if got := of("gala"); got.Epoch != "aaaaaaaa" || got.RoundMS < 0 || got.RoundMS > 100 {
			t.Errorf("gala: got %+v, want a round of its epoch a moment ago", got)
		}
		time.Sleep(4500 * time.Millisecond)
		check("five seconds", room.StopPaused, 5*time.Second, "")
		set(room.StopRate, nil)
		time.Sleep(500 * time.Millisecond)
		check("resumed", room.StopPaused, 5500*time.Millisecond, room.StopRate)
		time.Sleep(1500 * time.Millisecond)
		check("for two seconds", room.StopRate, 2*time.Second, "")
		set(room.StopCap, nil)
		for range 10 { // a slot comes back now and then
			time.Sleep(1200 * time.Millisecond)
			set(room.StopRate, nil)
			time.Sleep(200 * time.Millisecond)
			set(room.StopCap, nil)
		}
		check("full", room.StopCap, 14*time.Second, room.StopRate)
		set("", errors.New("away"))
		time.Sleep(3 * time.Second)
		check("away", room.StopAway, 3*time.Second, "")
		if got := of(sale); !strings.Contains(got.Error, "refused") || got.RoundMS < 2500 {
			t.Errorf("away: got %+v, want the error, and the last round 3 s ago", got)
		}
		set(room.StopEmpty, nil)
		time.Sleep(2 * time.Second)
		check("back", room.StopEmpty, 2*time.Second, "")
		w.remove("gala")
		eventually(t, "gala is gone from the signs", func() bool { return of("gala").Room == "" })
		if got := of(sale).Error; got != "" {
			t.Errorf("back: got the error %q, want it gone", got)
		}
		end()
		if got := s.Signs(); len(got) != 0 {
			t.Errorf("after the end: got %+v, want no room served", got)
		}
	})
}

// The counts of a sign: what was admitted over a minute, and how long a slot is
// taken.
func TestBoard(t *testing.T) {
	b := &board{}
	at := time.Unix(1_000_000, 0)
	line := func(epoch room.Epoch) room.Status { return room.Status{Conf: room.Conf{Epoch: epoch}, Active: 100} }
	b.begin(line("aaaaaaaa"), at)
	// A shop of 100 slots, each taken for 50 s, in balance: 2 a second in and out.
	total := int64(0)
	step := func(seconds int, perSecond, slots int64) {
		for range seconds * 10 {
			at = at.Add(100 * time.Millisecond)
			if at.Nanosecond() == 0 {
				total += perSecond
			}
			b.round(room.Round{Stop: room.StopCap, Total: total, Slots: slots}, at)
		}
	}
	step(5, 2, 100)
	if got := b.sign(sale, at); got.InsideMS != 0 || got.Admitted != 10 {
		t.Errorf("after 5 s: got %+v, want 10 admitted, and nothing said of the time inside", got)
	}
	step(600, 2, 100)
	got := b.sign(sale, at)
	if got.InsideMS < 49_000 || got.InsideMS > 51_000 {
		t.Errorf("got %d ms inside, want 50 s", got.InsideMS)
	}
	last := got.Past[len(got.Past)-1]
	if len(got.Past) > 8 || last[0] < 60_000 || last[0] > 80_000 || got.Admitted-last[1] < last[0]/1000*2-2 || got.Admitted-last[1] > last[0]/1000*2+2 {
		t.Errorf("got %v of %d, want at most 8 counts, the oldest over a minute ago, 2 a second apart", got.Past, got.Admitted)
	}
	if got.Cause != room.StopCap || got.CauseMS > 1_000 {
		t.Errorf("full and moving: got %s for %d ms, want the cap since the last one was let in", got.Cause, got.CauseMS)
	}
	if len(b.past) > samples {
		t.Errorf("got %d samples kept, want %d at most", len(b.past), samples)
	}
	step(120, 0, 100)
	if got := b.sign(sale, at); got.CauseMS < 119_000 || got.CauseMS > 121_000 {
		t.Errorf("standing still for two minutes: got the cap for %d ms", got.CauseMS)
	}
	if got := b.sign(sale, at); len(got.Past) != 2 || got.Past[1][1] != got.Admitted || got.Past[1][0] < 60_000 {
		t.Errorf("standing still: got %v, want the newest and one over a minute ago", got.Past)
	}
	// The line lost writes: what was counted before is worth nothing.
	total = 7
	step(1, 0, 3)
	if got := b.sign(sale, at); len(got.Past) != 1 || got.Past[0][1] != 7 || got.InsideMS != 0 {
		t.Errorf("after lost writes: got %+v, want to begin anew", got)
	}
	step(60, 1, 3)
	b.begin(line("bbbbbbbb"), at)
	if got := b.sign(sale, at); got.Epoch != "bbbbbbbb" || got.Admitted != 0 || len(got.Past) != 1 || got.Past[0] != [2]int64{} {
		t.Errorf("another epoch: got %+v, want nothing of the old one", got)
	}
}
