package room

import (
	"strings"
	"testing"
	"time"
)

func TestEventValid(t *testing.T) {
	png := []byte("\x89PNG\r\n\x1a\n....")
	webp := []byte("RIFF....WEBPVP8 ")
	for _, c := range []struct {
		name string
		is   Event
		bad  string // within the error; "": valid
	}{
		{"nothing", Event{}, ""},
		{"all", Event{Title: strings.Repeat("é", MaxTitle), Venue: "Hall 1", Brand: Brand{Accent: "#1c6b5f", Logo: png}}, ""},
		{"webp", Event{Brand: Brand{Logo: webp}}, ""},
		{"long title", Event{Title: strings.Repeat("é", MaxTitle+1)}, "title"},
		{"two lines", Event{Title: "a\nb"}, "title"},
		{"no utf-8", Event{Venue: "\xff"}, "venue"},
		{"starts", Event{StartsAt: time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)}, ""},
		{"starts long ago", Event{StartsAt: time.Date(226, 11, 21, 18, 0, 0, 0, time.UTC)}, "starts at"},
		{"starts beyond RFC 3339", Event{StartsAt: time.Date(20260, 1, 1, 0, 0, 0, 0, time.UTC)}, "starts at"},
		{"colour by name", Event{Brand: Brand{Accent: "red"}}, "accent"},
		{"svg", Event{Brand: Brand{Logo: []byte("<svg xmlns='http://www.w3.org/2000/svg'/>")}}, "PNG or WebP"},
		{"large logo", Event{Brand: Brand{Logo: append(png, make([]byte, MaxLogo)...)}}, "at most 32768"},
	} {
		err := c.is.Valid()
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.bad)
		}
	}
}

func TestEventChange(t *testing.T) {
	logo := []byte("\x89PNG\r\n\x1a\n....")
	was := Event{Title: "Gala", Venue: "Hall 1", Brand: Brand{Accent: "#1c6b5f", Logo: logo}, Rev: 3}
	empty := ""
	got := EventChange{Venue: &empty, Brand: &Brand{Accent: "#000000"}}.On(was)
	if got.Title != "Gala" || got.Venue != "" || got.Brand.Accent != "#000000" || got.Brand.Logo != nil || got.Rev != 3 {
		t.Errorf("got %+v, want the title kept, the venue cleared and the brand replaced as a whole", got)
	}
	if got := (EventChange{}).On(was); got.Title != was.Title || got.Brand.LogoSum() != was.Brand.LogoSum() {
		t.Errorf("no change: got %+v, want %+v", got, was)
	}
	if got, want := was.Brand.LogoSum(), "12 bytes, sha256 "; !strings.HasPrefix(got, want) || len(got) != len(want)+16 {
		t.Errorf("the logo's sum: got %q, want %q and 64 bits", got, want)
	}
	if got := (Brand{}).LogoSum(); got != "" {
		t.Errorf("the sum of no logo: got %q", got)
	}
}
