package room

import (
	"strings"
	"testing"
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
