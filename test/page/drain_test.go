package page

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/testenv"
	"waitroom/test/internal/child"
)

// backWithin is how long a page may take to stand in line again after its node
// was told to stop: the drain, the spread of who comes back, a slow try.
const backWithin = 15 * time.Second

// A rolling deploy: both nodes are restarted one after the other. Everybody is in
// line again on the same place, and who is let in during the second one gets in.
func TestDrain(t *testing.T) {
	sideBySide(t)
	crowd := pick(6, 40)
	h := newHall(t, 2, "--state", "opening", "--rate", fmt.Sprint(crowd/3), "--burst", "1")
	kafka := testenv.Kafka(t)
	h.front.to(h.at[0])
	pages := make([]*tab, crowd)
	var opening sync.WaitGroup
	for i := range pages {
		opening.Go(func() { pages[i] = h.joined() })
	}
	opening.Wait()
	if t.Failed() {
		t.FailNow()
	}
	before := make([]standing, crowd)
	for i, p := range pages {
		before[i] = stands(p)
	}

	// The first: nobody is let in meanwhile, so nothing may change.
	h.front.to(h.at...)
	at := time.Now()
	h.nodes[0].Terminate()
	var slowest time.Duration
	for i, p := range pages {
		back := p.returned(time.Until(at.Add(backWithin)), at)
		if got := stands(p); got != before[i] {
			t.Errorf("page %d after the drain: got %+v, want %+v", i, got, before[i])
		}
		if n := p.count(at, "open"); n != 1 {
			t.Errorf("page %d opened %d connections after the drain, want 1", i, n)
		}
		slowest = max(slowest, back.Sub(at))
	}
	t.Logf("%d pages are in line again, the last after %.1f s", crowd, slowest.Seconds())
	h.nodes[0].Start()
	h.nodes[0].Ready()

	// The second: the admitter lets everybody in while it goes on.
	ops := child.Address(t)
	admitter := child.New(t, h.dir, "admitter-1", ops, append(h.env, "WAITROOM_KAFKA="+kafka), "run", "--ops-listen", ops, "--room", string(h.room))
	admitter.Start()
	admitter.Ready()
	h.operate("room", "open")
	h.nodes[1].Terminate()
	for i, p := range pages {
		// The node has ended, so who was told its turn there has yet to come back: its
		// button works on a connection only.
		s := p.until(30*time.Second, "the turn came, and a connection", func(s seen) bool {
			return s.Phase == "turn" && s.Link == "live" || s.Phase == "over"
		})
		if s.Phase != "turn" {
			t.Errorf("page %d during the second drain: got %s, want its turn", i, s)
		}
	}
	for _, p := range pages {
		p.click("#claim")
		p.until(10*time.Second, "the page went to the shop", func(s seen) bool { return strings.HasPrefix(s.URL, h.shop.URL) })
	}
	admitter.Terminate()
}

// standing is where a page is in line.
type standing struct {
	number   any
	place    string
	position string
}

func stands(p *tab) standing {
	s := p.until(5*time.Second, "the page shows its position", func(s seen) bool { return s.Phase == "waiting" && s.Position != "" && s.Position != "···" })
	return standing{number: number(p), place: s.Place, position: s.Position}
}

// Two tabs are one visitor, before and after a drain; the ninth takes the oldest
// one's connection, which is told.
func TestTabs(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 2)
	h.front.to(h.at[0])
	first := h.joined()
	second := first.again()
	second.heard(setup, time.Time{}, 1, "position")
	was := stands(first)
	if got := stands(second); got != was {
		t.Errorf("the second tab: got %+v, want %+v", got, was)
	}
	h.front.to(h.at...)
	at := time.Now()
	h.nodes[0].Terminate()
	for i, p := range []*tab{first, second} {
		p.returned(time.Until(at.Add(backWithin)), at)
		if got := stands(p); got != was {
			t.Errorf("tab %d after the drain: got %+v, want %+v", i+1, got, was)
		}
	}
	// Who came back first is the oldest now.
	oldest := first
	if last(second, "open").At < last(first, "open").At {
		oldest = second
	}
	all := []*tab{first, second}
	for len(all) < 9 {
		p := first.again()
		p.heard(setup, time.Time{}, 1, "position")
		all = append(all, p)
	}
	oldest.see(setup, "another tab.*use this tab")
	for i, p := range all {
		if p == oldest {
			continue
		}
		if got := stands(p); got.number != was.number {
			t.Errorf("tab %d of nine: got number %v, want %v", i+1, got.number, was.number)
		}
	}
}

// last is the last entry of a kind, and the zero entry where there is none.
func last(p *tab, what string) (found entry) {
	for _, e := range p.read() {
		if e.What == what {
			found = e
		}
	}
	return found
}
