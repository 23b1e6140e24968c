package page

import (
	"testing"
	"time"
)

// A page that was frozen for a while, as phones do, looks at once when it wakes. A
// nap over a living connection changes nothing; after a night the network has
// forgotten the connection without a word, and the turn came meanwhile.
func TestSleep(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	h.joined() // somebody is ahead
	p := openAlone(t, h.url())
	p.heard(setup, time.Time{}, 1, "position")
	was := stands(p)

	p.ask(nil, "freeze", nil)
	stand(t, 10*time.Second, func() string { return "" })
	woke := time.Now()
	p.ask(nil, "thaw", nil)
	p.heard(beat+slack, woke, 1, "position")
	if got, n := stands(p), p.count(time.Time{}, "dial"); got != was || n != 1 {
		t.Errorf("after a nap: got %+v after %d dials, want %+v after one", got, n, was)
	}

	p.ask(nil, "freeze", nil)
	h.front.swallow()
	h.admit(2)
	// Longer than the silence that ends a connection.
	stand(t, pick(silence+2*time.Second, 30*time.Second), func() string { return "" })
	woke = time.Now()
	p.ask(nil, "thaw", nil)
	p.heard(firstWait+slack, woke, 1, "admitted")
	t.Logf("hears its turn %.1f s after waking", time.Since(woke).Seconds())
	p.turn(slack)
	if got := number(p); got != was.number {
		t.Errorf("after a night: got number %v, want %v", got, was.number)
	}
}

// There and back again: from the browser's cache or loaded anew, the page stands
// on its place.
func TestBackToThePage(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	p := h.joined()
	was := stands(p)
	p.ask(nil, "evaluate", map[string]any{"code": "window.sameAsBefore = true"})
	for range 2 {
		p.ask(nil, "go", map[string]any{"url": h.shop.URL + "/elsewhere"})
		p.see(5*time.Second, "this is the shop")
		back := time.Now()
		p.ask(nil, "back", nil)
		p.returned(firstWait+5*time.Second, back)
		if got := stands(p); got != was {
			t.Errorf("after the way back: got %+v, want %+v", got, was)
		}
		var same bool
		p.ask(&same, "evaluate", map[string]any{"code": "window.sameAsBefore === true"})
		var why any
		p.ask(&why, "evaluate", map[string]any{"code": "JSON.stringify(performance.getEntriesByType('navigation')[0].notRestoredReasons)"})
		t.Logf("in line again %.1f s after the way back; out of the browser's cache: %v, %v", time.Since(back).Seconds(), same, why)
	}
}
