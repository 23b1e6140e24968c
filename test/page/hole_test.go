package page

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"waitroom/test/internal/child"
)

// What PROTOCOL.md promises of a silent connection, and the page's waits.
const (
	beat      = 6 * time.Second        // beat_ms
	silence   = 2*beat + 2*time.Second // then the connection is lost
	firstWait = 4 * time.Second        // most before the first try to come back
	// A claim on a dead connection: 3 s without a frame, half a second of jitter or
	// the gap to the last dial, then the new connection.
	claimWithin = 6 * time.Second
	slack       = 2 * time.Second // for the way through four processes and a browser
)

// A phone that changed cells while it waits: the connection is open and dead.
func TestBlackHoleWhileWaiting(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	p := h.joined()
	was := number(p)
	at := time.Now()
	if n := h.front.swallow(); n != 1 {
		t.Fatalf("swallowed %d WebSockets, want 1", n)
	}
	p.until(silence+slack, "the page no longer says that it is live", func(s seen) bool { return s.Link != "live" })
	back := p.returned(setup, at)
	if dial := last(p, "upgrade").time().Sub(at); dial > silence+firstWait+slack {
		t.Errorf("dialled %.1f s after the black hole, want at most %v", dial.Seconds(), silence+firstWait+slack)
	}
	t.Logf("in line again %.1f s after the black hole", back.Sub(at).Seconds())
	if got := number(p); got != was {
		t.Errorf("the place after the black hole: got number %v, want %v", got, was)
	}
	p.until(slack, "the page is live again", func(s seen) bool { return s.Link == "live" && s.Phase == "waiting" })
}

// The same at the turn: "Choose seats" on a dead connection opens the shop.
func TestBlackHoleAtTheTurn(t *testing.T) {
	h := newHall(t, 1)
	p := h.joined()
	h.admit(1)
	p.turn(setup)
	h.front.swallow()
	at := time.Now()
	p.click("#claim")
	p.heard(claimWithin, at, 1, "pass")
	p.until(slack, "the page went to the shop", func(s seen) bool { return strings.HasPrefix(s.URL, h.shop.URL) })
	t.Logf("in the shop %.1f s after the click", time.Since(at).Seconds())
}

// The same until the turn has passed: it was missed, nobody used the place. One
// of the two had pressed the button in time, in vain.
func TestBlackHolePastTheTurn(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1, "--claim", "6s")
	calm, eager := h.joined(), h.joined()
	h.admit(2)
	for _, p := range []*tab{calm, eager} {
		p.turn(setup)
	}
	h.front.refuse(true)
	h.front.swallow()
	eager.click("#claim")
	at := time.Now()
	missed := 0
	child.Await(t, setup, "the line counts both as missed", func() (bool, string) {
		round, err := h.round(0)
		missed += round.Missed
		return missed == 2, fmt.Sprint(missed, err)
	})
	h.front.refuse(false)
	for _, p := range []*tab{calm, eager} {
		s := p.until(time.Until(at.Add(silence+30*time.Second+slack)), "the page tells the end of the turn", func(s seen) bool { return s.Phase == "over" })
		if text := s.flat(); !strings.Contains(text, "Your turn has passed") || strings.Contains(text, "used") {
			t.Errorf("after a turn behind a black hole: got %q, want that it has passed", text)
		}
	}
}
