package page

import (
	"strings"
	"testing"
	"time"
)

// From the HTML to `joined` there are three requests with their answers: the
// modules, the upgrade, the join. Nothing else is asked for before the join.
func TestDepth(t *testing.T) {
	h := newHall(t, 1)
	const delay = 300 * time.Millisecond // twice a slow network's, so that a wave stands out from work
	h.front.slow(delay)
	p := open(t, h.url())
	p.heard(setup, time.Time{}, 1, "joined")

	var html, modules, upgrade, opened, join, joined entry
	late := map[string]string{} // what was asked for after the modules' wave began, by id
	var page string
	for _, e := range p.read() {
		switch {
		case e.What == "request" && html.At == 0 && page == "":
			page = e.ID
		case e.What == "answer" && e.ID == page:
			html = e
		case e.What == "request" && join.At == 0 && html.At > 0:
			// The modules are asked for as the HTML is read, before any of them came. The
			// icon is the browser's own wish.
			if !strings.Contains(e.URL, "/favicon") && e.time().Sub(html.time()) > delay*2/3 {
				late[e.ID] = e.URL
			}
		case e.What == "whole" && upgrade.At == 0:
			modules = e
		case e.What == "upgrade":
			upgrade = e
		case e.What == "open":
			opened = e
		case e.says() == "join" && e.What == "sent":
			join = e
		case e.says() == "joined":
			joined = e
		}
	}
	since := func(e entry) time.Duration { return e.time().Sub(html.time()).Round(time.Millisecond) }
	t.Logf("after the HTML: last file %v, upgrade asked %v, answered %v, join %v, joined %v", since(modules), since(upgrade), since(opened), since(join), since(joined))
	for _, url := range late {
		t.Errorf("asked for %s before the join, want only what the HTML names", url[strings.LastIndexByte(url, '/')+1:])
	}
	// Over HTTP/1.1 a browser has six connections to a host: what exceeds them waits
	// for a free one, which is no question of the page's. Hence the modules' wave
	// counts from its end.
	if gap := upgrade.time().Sub(modules.time()); gap > 2*delay/3 {
		t.Errorf("the upgrade was asked for %v after the last file, want at once", gap)
	}
	if gap := join.time().Sub(opened.time()); gap > 2*delay/3 {
		t.Errorf("the join was sent %v after the upgrade, want at once", gap)
	}
	if got, want := since(joined), 3*delay+delay+delay*2/3; got > want {
		t.Errorf("joined %v after the HTML, want at most %v: three requests, one more wave of files, and work", got, want)
	}
}

// The words may fail twice; the page asks again, and is in line meanwhile.
func TestWordsFailTwice(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	p := open(t, h.url(), failing{Part: "/lang/", Times: 2, Status: 0})
	p.heard(setup, time.Time{}, 1, "position")
	p.until(30*time.Second, "the page shows its position in words", func(s seen) bool {
		return s.Phase == "waiting" && strings.Contains(s.flat(), "You are the only one waiting")
	})
	asked := 0
	for _, e := range p.read() {
		if e.What == "request" && strings.Contains(e.URL, "/lang/") {
			asked++
		}
	}
	if asked != 3 {
		t.Errorf("the words were asked for %d times, want 3: two failed", asked)
	}
}

// A module that never comes is noticed by what the HTML brought along, after the
// quarter of a minute that a slow network may take.
func TestModuleMissing(t *testing.T) {
	sideBySide(t)
	h := newHall(t, 1)
	var pages []*tab
	for _, module := range []string{"/waiting.js", "/line.js"} {
		pages = append(pages, open(t, h.url(), failing{Part: module, Times: 1000, Status: 404}))
	}
	for _, p := range pages {
		p.see(25*time.Second, "did not load")
	}
}
