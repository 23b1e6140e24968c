package room

import (
	"bytes"
	"crypto/sha256"
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

	// A year outside of these is a slip of the finger, and can't be written as
	// RFC 3339 from 10000 on.
	minYear, maxYear = 2000, 9999
)

// Known says what a process knows of a room's name.
type Known int

// What can be known. Listed is also a name that was listed once and is gone: its
// room was deleted, which its visitors are to be told, and not that it never was.
const (
	Unsure   Known = iota // the registry is empty, or was not read lately
	Listed                // there is such a room, or was
	Unlisted              // there is none, and this process never saw one
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
	if year := e.StartsAt.UTC().Year(); !e.StartsAt.IsZero() && (year < minYear || year > maxYear) {
		errs = append(errs, fmt.Errorf("starts at: want a year from %d to %d", minYear, maxYear))
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

// LogoSum says which logo it is without its bytes, for the audit stream and for
// people: "2048 bytes, sha256 5f70bf18a0860070", the first 64 bits of the sum; ""
// when there is none.
func (b Brand) LogoSum() string {
	if len(b.Logo) == 0 {
		return ""
	}
	sum := sha256.Sum256(b.Logo)
	return fmt.Sprintf("%d bytes, sha256 %x", len(b.Logo), sum[:8])
}

// EventChange sets some fields of a room's event; a nil field stays as it is.
type EventChange struct {
	Title    *string
	Venue    *string
	StartsAt *time.Time // whole ms; the zero time: not told
	Brand    *Brand     // as a whole: what it lacks is cleared
}

// On returns e with the change's fields in place.
func (ch EventChange) On(e Event) Event {
	put(&e.Title, ch.Title)
	put(&e.Venue, ch.Venue)
	put(&e.StartsAt, ch.StartsAt)
	put(&e.Brand, ch.Brand)
	return e
}

// EventRev names one version of a room's event. A room that was deleted and made
// again counts from the start, so Rev alone does not: of two versions the one of
// the line made later is newer, and within a line the one with the greater Rev.
type EventRev struct {
	Epoch     Epoch
	CreatedMS int64 // when the line was made, ms since 1970 by its own clock; 0: by a version that did not note it
	Rev       int64
}
