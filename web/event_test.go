package web

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"waitroom/internal/room"
)

var gala = room.Event{Title: `Gala <b>"1"</b> & {{t "x"}}`, Venue: `Hall </title><script>`, StartsAt: time.Date(2026, 12, 24, 19, 30, 0, 0, time.FixedZone("", 3600)),
	Brand: room.Brand{Accent: "#ffd400", Logo: []byte("\x89PNG\r\n\x1a\npicture")}, Rev: 7}

// knows is a registry of one room "show" whose event may change, and one name
// that is not listed.
func knows(event *room.Event) func(room.Name) (room.Event, room.Known) {
	return func(name room.Name) (room.Event, room.Known) {
		switch name {
		case "show":
			return *event, room.Listed
		case "gone":
			return room.Event{}, room.Unlisted
		}
		return room.Event{}, room.Unsure
	}
}

func TestAnEventStandsOnBothPagesAsText(t *testing.T) {
	for page, at := range map[Page]string{Waiting: "/p/rooms/show", Seats: "/p/rooms/show/shop"} {
		event := gala
		h := Handler(Options{Page: page, Prefix: "/p", Rooms: knows(&event)})
		r := ask(t, h, "GET", at)
		got := body(t, r)
		for _, want := range []string{
			`<title>Gala &lt;b&gt;&#34;1&#34;&lt;/b&gt; &amp; {{t &#34;x&#34;}} · `,
			`<meta property="og:title" content="Gala &lt;b&gt;`,
			`<meta property="og:description" content="2026-12-24 18:30 UTC · Hall &lt;/title&gt;&lt;script&gt;">`,
			`<time id="starts" datetime="2026-12-24T18:30:00Z">2026-12-24 18:30 UTC</time>`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got no %q in %s", at, want, got)
			}
		}
		if strings.Contains(got, "<b>") || strings.Contains(got, "<script>") {
			t.Errorf("%s: got the operator's text as HTML: %s", at, got)
		}
		plain := ask(t, Handler(Options{Page: page, Prefix: "/p"}), "GET", at)
		if a, b := r.Header.Get("Content-Security-Policy"), plain.Header.Get("Content-Security-Policy"); a != b {
			t.Errorf("%s: got the policy %q, want %q as without an event", at, a, b)
		}
		links := regexp.MustCompile(`(?:href|src)="(/p/brand/show/[^"]+)"`).FindAllStringSubmatch(got, -1)
		if len(links) != 2 {
			t.Fatalf("%s: got %d links to the brand, want a stylesheet and a logo: %s", at, len(links), got)
		}
		for i, want := range []string{"text/css; charset=utf-8", "image/png"} {
			f := ask(t, h, "GET", links[i][1])
			if f.StatusCode != 200 || f.Header.Get("Content-Type") != want || f.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
				t.Errorf("GET %s: got %d, %s, %s, want 200, %s, kept for ever", links[i][1], f.StatusCode, f.Header.Get("Content-Type"), f.Header.Get("Cache-Control"), want)
			}
		}
		// Another process, which never rendered the page, answers too.
		if f := ask(t, Handler(Options{Page: page, Prefix: "/p", Rooms: knows(&event)}), "GET", links[1][1]); body(t, f) != string(gala.Brand.Logo) {
			t.Errorf("GET %s of another process: got another body, want the logo", links[1][1])
		}
		// A new revision changes the page and the names; the old name is not kept.
		etag := r.Header.Get("ETag")
		event.Brand.Accent, event.Rev = "#00ff00", 8
		if again := ask(t, h, "GET", at, "If-None-Match", etag); again.StatusCode != 200 {
			t.Errorf("%s after a change: got %d, want a new page", at, again.StatusCode)
		}
		if f := ask(t, h, "GET", links[0][1]); f.StatusCode != 200 || f.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s after a change: got %d, %s, want ours, not kept", links[0][1], f.StatusCode, f.Header.Get("Cache-Control"))
		}
	}
}

func TestAnUnlistedRoomIsA404(t *testing.T) {
	event := gala
	h := Handler(Options{Page: Waiting, Rooms: knows(&event)})
	for path, want := range map[string]int{
		"/rooms/gone": 404, "/rooms/unsure": 200, "/rooms/show": 200,
		"/brand/gone/0123.css": 404, "/brand/unsure/0123.css": 404, "/brand/Show/0.css": 404, "/brand/show/x.svg": 404, "/brand/show/x": 404,
	} {
		r := ask(t, h, "GET", path)
		if r.StatusCode != want {
			t.Errorf("GET %s: got %d, want %d", path, r.StatusCode, want)
		}
		if want == 404 && !strings.Contains(body(t, r), texts(t, "en")["missing.text"]) {
			t.Errorf("GET %s: got no page with a 404, want one", path)
		}
	}
}

func TestRenderedPagesAreKeptWithABound(t *testing.T) {
	event := gala
	s := newSite(Options{Page: Waiting, Rooms: func(room.Name) (room.Event, room.Known) { return event, room.Listed }})
	for i := range room.MaxRooms + 10 {
		s.dressed(room.Name(fmt.Sprintf("room-%d", i)), event)
	}
	if got := len(s.wardrobe.dresses); got != room.MaxRooms {
		t.Errorf("got %d rooms kept, want %d", got, room.MaxRooms)
	}
	a, b := s.roomPage("show", event, 0), s.roomPage("show", event, 0)
	if &a.plain[0] != &b.plain[0] {
		t.Error("got a page rendered twice, want it kept")
	}
	if ko := s.roomPage("show", event, 1); ko.etag == a.etag {
		t.Error("got one page for two languages, want one each")
	}
	s.roomPage("common", room.Event{}, 0)
	if _, ok := s.wardrobe.dresses["common"]; ok {
		t.Error("got a page kept for a room without an event, want the common one")
	}
}
