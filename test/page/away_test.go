package page

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"waitroom/test/internal/child"
)

// heardWithin is how long a page may be deaf once Redis answers again: the nodes
// read the room every second, the pages spread their joins over some, and a try
// that met the old silence takes its time.
const heardWithin = 15 * time.Second

// A page that came back while Redis was away was told so, and is in line again by
// itself afterwards; also when its turn came, or passed, before it was.
func TestRedisAway(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	brief := h.and("brief", "--claim", "1s")
	admitted, missed, waiting := h.joined(), brief.joined(), h.joined()
	was := stands(waiting)

	h.redis.Kill()
	at := time.Now()
	h.front.cut()
	for _, p := range []*tab{admitted, missed, waiting} {
		p.heard(setup, at, 1, "error")
	}
	fresh := open(t, h.url())
	fresh.heard(setup, at, 1, "error")

	h.redis.Restart()
	back := time.Now()
	h.admit(1)
	brief.admit(1)
	child.Await(t, setup, "the line counts a turn as missed", func() (bool, string) {
		round, err := brief.round(0)
		return round.Missed == 1, fmt.Sprint(round, err)
	})
	in := func() time.Duration { return time.Until(back.Add(heardWithin)) }
	admitted.turn(in())
	// The line only knows that the place is over; the page that never heard its turn
	// cannot tell whether it was missed or used, but it says that, and offers a way.
	missed.see(in(), "(your turn has passed|your visit is over).*join the line")
	waiting.heard(in(), back, 1, "position")
	if got := stands(waiting); got.number != was.number || got.place != was.place {
		t.Errorf("after Redis came back: got %+v, want the place of %+v", got, was)
	}
	fresh.heard(in(), back, 1, "position")
	t.Logf("all heard %.1f s after Redis was back", time.Since(back).Seconds())
}

// The same with a Redis that hangs instead of being gone.
func TestRedisHangs(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	waiting := h.joined()
	was := stands(waiting)
	h.redis.Pause()
	at := time.Now()
	h.front.cut()
	waiting.heard(setup, at, 1, "error")
	fresh := open(t, h.url())
	fresh.heard(setup, at, 1, "error")
	h.redis.Resume()
	back := time.Now()
	for _, p := range []*tab{waiting, fresh} {
		p.heard(time.Until(back.Add(heardWithin)), back, 1, "position")
	}
	if got := stands(waiting); got != was {
		t.Errorf("after Redis came back: got %+v, want %+v", got, was)
	}
}

// most is how often a page may dial within half a minute while nothing answers
// well: a try and then waits that are random parts of 4, 8, 16, 30, … s. Eight of
// them are over within half a minute once in a thousand runs, within 20 s once in
// twenty thousand.
const most = 9

// Nobody answers: dials become rare, and the first ones are spread.
func TestBackoff(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	pages := make([]*tab, 8)
	var opening sync.WaitGroup
	for i := range pages {
		opening.Go(func() { pages[i] = h.joined() })
	}
	opening.Wait()
	h.front.refuse(true)
	at := time.Now()
	h.front.cut()
	stand(t, 20*time.Second, func() string { return "" })
	var latest time.Duration
	for i, p := range pages {
		n, first := 0, time.Duration(0)
		var lost entry
		for _, e := range p.read() {
			switch {
			case e.time().Before(at):
			case e.What == "closed" && lost.At == 0:
				lost = e
			case e.What == "upgrade":
				if n++; n == 1 {
					first = e.time().Sub(lost.time())
				}
			}
		}
		t.Logf("page %d: %d dials, the first after %.1f s", i, n, first.Seconds())
		if n > most || n == 0 {
			t.Errorf("page %d dialled %d times within 20 s, want 1 to %d", i, n, most)
		}
		latest = max(latest, first)
	}
	// Of eight random parts of 4 s one is above 1.2 s, but for once in 15,000 runs.
	if latest < 1200*time.Millisecond {
		t.Errorf("all came back within %.1f s of the cut, want them spread over some seconds", latest.Seconds())
	}
	h.front.refuse(false)
	again := time.Now()
	for _, p := range pages {
		p.heard(time.Until(again.Add(30*time.Second+slack)), again, 1, "position")
	}
}

// A node that is full answers 503 before the WebSocket.
func TestFullNode(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 0)
	h.node("--max-connections", "1")
	h.nodes[0].Ready()
	h.front.to(h.at...)
	h.joined()
	at := time.Now()
	late := open(t, h.url())
	stand(t, 20*time.Second, func() string { return "" })
	n := late.count(at, "dial")
	if n > most || n < 2 {
		t.Errorf("a page at a full node dialled %d times within 20 s, want 2 to %d", n, most)
	}
	if s := late.until(slack, "the page shows something", func(s seen) bool { return s.Phase != "" }); s.Link == "live" {
		t.Errorf("a page that a full node turns away: got %s, want no word of a live connection", s)
	}
}

// An error is no success: a page that is told `sold_out` and then cut, again and
// again, waits longer each time.
func TestErrorsDoNotResetBackoff(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	h.sellOut()
	at := time.Now()
	p := open(t, h.url())
	errors := 0
	stand(t, 20*time.Second, func() string {
		if n := len(p.messages(at, "heard", "error")); n > errors {
			errors = n
			h.front.cut()
		}
		return ""
	})
	n := p.count(at, "dial")
	t.Logf("%d dials, %d errors heard", n, errors)
	if n > most || errors < 2 {
		t.Errorf("a page that hears errors only dialled %d times within 20 s and heard %d, want at most %d and 2 or more", n, errors, most)
	}
}

// stand looks on for a time; a fault that look tells ends the test.
func stand(t *testing.T, lasts time.Duration, look func() string) {
	t.Helper()
	end := time.After(lasts)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
			if fault := look(); fault != "" {
				t.Fatal(fault)
			}
		}
	}
}
