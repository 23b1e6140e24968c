package room

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of an event's data.
const (
	MaxTitle = 120      // characters: one heading
	MaxVenue = 120      // characters: one line
	MaxLogo  = 32 << 10 // bytes: a page must not wait for it
)

// Event is what a room's sale is for, as visitors read it. Every field may be
// empty: a page then shows the room's name.
type Event struct {
	Title    string
	Venue    string
	StartsAt time.Time // zero: not told
	Brand    Brand
	Rev      int64 // +1 per change; 0: nothing was ever set
}

// Brand is how a page looks: one colour that the pages derive the others from,
// and a logo.
type Brand struct {
	Accent string // "#rrggbb", lower case; empty: the pages' own
	Logo   []byte // PNG or WebP; empty: none
}

var accentPattern = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// Valid reports every value out of bounds, joined.
func (e Event) Valid() error {
	var errs []error
	for _, text := range []struct {
		what  string
		value string
		most  int
	}{{"title", e.Title, MaxTitle}, {"venue", e.Venue, MaxVenue}} {
		if !utf8.ValidString(text.value) || utf8.RuneCountInString(text.value) > text.most || bytes.ContainsFunc([]byte(text.value), unicode.IsControl) {
			errs = append(errs, fmt.Errorf("%s: want one line of at most %d characters of UTF-8", text.what, text.most))
		}
	}
	if e.Brand.Accent != "" && !accentPattern.MatchString(e.Brand.Accent) {
		errs = append(errs, fmt.Errorf("accent %q: want a colour such as #1c6b5f", e.Brand.Accent))
	}
	if len(e.Brand.Logo) > 0 {
		if len(e.Brand.Logo) > MaxLogo {
			errs = append(errs, fmt.Errorf("logo of %d bytes: want at most %d", len(e.Brand.Logo), MaxLogo))
		}
		if e.Brand.LogoType() == "" {
			errs = append(errs, errors.New("logo: want a PNG or WebP file"))
		}
	}
	return errors.Join(errs...)
}

// LogoType is the media type of the logo by its first bytes; "" when there is
// none, or it is neither PNG nor WebP.
func (b Brand) LogoType() string {
	switch l := b.Logo; {
	case bytes.HasPrefix(l, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case len(l) >= 12 && bytes.HasPrefix(l, []byte("RIFF")) && bytes.Equal(l[8:12], []byte("WEBP")):
		return "image/webp"
	}
	return ""
}
