package web

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestAnyAccentCanBeRead(t *testing.T) {
	accents := []string{"#1c6b5f", "#ffffff", "#000000", "#ffff00", "#00ff00", "#0000ff", "#ff0000", "#ff6600", "#808080", "#fdfdf0", "#010203", "#e6007e"}
	for r := 0; r < 256; r += 15 {
		for g := 0; g < 256; g += 15 {
			for b := 0; b < 256; b += 15 {
				accents = append(accents, fmt.Sprintf("#%02x%02x%02x", r, g, b))
			}
		}
	}
	for _, accent := range accents {
		light, dark := palettes(accent)
		for _, c := range []struct {
			what string
			a, b colour
			want float64
		}{
			{"light: text on the accent", light.on, light.accent, 4.5},
			{"light: text on the accent under the pointer", light.on, light.strong, 4.5},
			{"light: strong on its wash", light.strong, light.wash, 4.5},
			{"light: strong on a card", light.strong, lightCard, 4.5},
			{"light: ink on the wash", lightInk, light.wash, 4.5},
			{"light: the accent on a card", light.accent, lightCard, 3},
			{"light: the accent on paper", light.accent, lightPaper, 3},
			{"dark: text on the accent", dark.on, dark.accent, 4.5},
			{"dark: text on the accent under the pointer", dark.on, dark.strong, 4.5},
			{"dark: strong on its wash", dark.strong, dark.wash, 4.5},
			{"dark: strong on a card", dark.strong, darkCard, 4.5},
			{"dark: ink on the wash", darkInk, dark.wash, 4.5},
			{"dark: the accent on a card", dark.accent, darkCard, 3},
			{"dark: the accent on paper", dark.accent, darkPaper, 3},
		} {
			// As the browser sees them: in whole steps.
			a, b := parse(c.a.String()), parse(c.b.String())
			if got := contrast(a, b); got < c.want {
				t.Errorf("%s, %s: got a contrast of %.2f (%v on %v), want %v", accent, c.what, got, a, b, c.want)
			}
		}
	}
}

// What base.css paints on is what the accent was measured on.
func TestSurfacesAreThoseOfTheStylesheet(t *testing.T) {
	css := sources(t, "base.css")["assets/base.css"]
	schemes := strings.SplitN(css, "prefers-color-scheme: dark", 2)
	for i, want := range []map[string]colour{
		{"paper": lightPaper, "card": lightCard, "ink": lightInk}, {"paper": darkPaper, "card": darkCard, "ink": darkInk},
	} {
		for name, c := range want {
			if m := regexp.MustCompile(`--` + name + `: (#[0-9a-f]{6});`).FindStringSubmatch(schemes[i]); m == nil || m[1] != c.String() {
				t.Errorf("base.css, scheme %d: got --%s %v, want %v", i, name, m, c)
			}
		}
	}
}

func TestAnAccentIsNoStylesheet(t *testing.T) {
	css := string(sheet("#123456; } * { display: none"))
	if !regexp.MustCompile(`^[a-z:{}()@;#0-9\n -]+$`).MatchString(css) || strings.Contains(css, "display") {
		t.Errorf("got %q, want nothing but our own rules", css)
	}
}
