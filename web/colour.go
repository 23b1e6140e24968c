package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// colour is sRGB with parts from 0 to 1.
type colour [3]float64

// The surfaces and inks of base.css that an operator's accent has to stand on; a
// test compares them with the file.
var (
	lightPaper, lightCard, lightInk = parse("#f4f3ee"), parse("#fffefb"), parse("#1b2429")
	darkPaper, darkCard, darkInk    = parse("#11171b"), parse("#1a2227"), parse("#eaf0f1")
	white, black                    = parse("#ffffff"), parse("#000000")
)

// Contrasts that the pages hold (WCAG 2.2, 1.4.3 and 1.4.11). Colours are written
// in whole steps of 1/255, so a little is asked beyond.
const (
	readable = 4.55
	visible  = 3.05
)

// parse reads "#rrggbb"; anything else is black.
func parse(s string) colour {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "#"), 16, 24)
	if err != nil {
		return colour{}
	}
	return colour{float64(n>>16&255) / 255, float64(n>>8&255) / 255, float64(n&255) / 255}
}

func (c colour) String() string {
	part := func(v float64) int { return int(math.Round(v * 255)) }
	return fmt.Sprintf("#%02x%02x%02x", part(c[0]), part(c[1]), part(c[2]))
}

// toward mixes c with other: 0 is c, 1 is other.
func (c colour) toward(other colour, share float64) colour {
	for i := range c {
		c[i] += (other[i] - c[i]) * share
	}
	return c
}

// luminance is the relative luminance of WCAG.
func (c colour) luminance() float64 {
	var sum float64
	for i, weight := range [3]float64{0.2126, 0.7152, 0.0722} {
		v := c[i]
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

// contrast of two colours, from 1 to 21.
func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// until mixes c toward other in small steps as far as it takes to be fit.
func (c colour) until(other colour, fit func(colour) bool) colour {
	for step := 0; step <= 64; step++ {
		if mixed := parse(c.toward(other, float64(step)/64).String()); fit(mixed) {
			return mixed
		}
	}
	return other
}

// palette is what a page takes from an accent, in one scheme.
type palette struct{ accent, strong, on, wash colour }

// palettes derives both schemes from whatever accent the operator likes: the hue
// stays, its lightness goes as far as the contrasts need. On the accent stands
// white in the light scheme and nearly black in the dark one.
func palettes(accent string) (light, dark palette) {
	c := parse(accent)

	light.on = white
	light.accent = c.until(black, func(c colour) bool {
		return contrast(c, white) >= readable && contrast(c, lightPaper) >= visible && contrast(c, lightCard) >= visible
	})
	light.wash = lightCard.toward(light.accent, 0.10)
	light.strong = light.accent.toward(black, 0.15).until(black, func(c colour) bool {
		return contrast(c, light.wash) >= readable && contrast(c, lightCard) >= readable && contrast(c, white) >= readable
	})

	dark.accent = c.until(white, func(c colour) bool {
		return contrast(c, darkCard) >= readable && contrast(c, darkPaper) >= readable
	})
	dark.on = dark.accent.toward(black, 0.85).until(black, func(c colour) bool { return contrast(c, dark.accent) >= readable })
	dark.wash = darkCard.toward(dark.accent, 0.14)
	dark.strong = dark.accent.toward(white, 0.25).until(white, func(c colour) bool {
		return contrast(c, dark.wash) >= readable && contrast(c, darkCard) >= readable && contrast(c, dark.on) >= readable
	})
	return light, dark
}

// sheet is the stylesheet of an accent. It is made of our own numbers only: no
// byte of the operator's text is in it.
func sheet(accent string) []byte {
	light, dark := palettes(accent)
	rules := func(p palette) string {
		return fmt.Sprintf(":root { --accent: %v; --accent-strong: %v; --on-accent: %v; --accent-wash: %v; }", p.accent, p.strong, p.on, p.wash)
	}
	return []byte(rules(light) + "\n@media (prefers-color-scheme: dark) { " + rules(dark) + " }\n")
}
