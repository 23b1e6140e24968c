package room

import (
	"slices"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []Name{"a", "concert", "concert-2", "concerto", "gala", "gig", "show", "snow"}
	for _, c := range []struct {
		typed string
		want  []Name
	}{
		{"shwo", []Name{"show"}},                    // two letters swapped
		{"conert", []Name{"concert", "concerto"}},   // one missing; the nearest first
		{"concertt", []Name{"concert", "concerto"}}, // one too many, one other
		{"shew", []Name{"show"}},
		{"gog", []Name{"gig"}},
		{"sow", []Name{"show", "snow"}},
		{"b", nil},     // every name of one letter is one slip away
		{"opera", nil}, // nothing is near
		{"", nil},
	} {
		if got := Nearest(c.typed, names); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.typed, got, c.want)
		}
	}
}
