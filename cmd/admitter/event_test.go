package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// brandFile writes a brand and its logo, and returns the brand's path and the
// logo's bytes.
func brandFile(t *testing.T) (path string, logo []byte) {
	t.Helper()
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "logo.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(file, image.NewPaletted(image.Rect(0, 0, 64, 32), color.Palette{color.White})); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if logo, err = os.ReadFile(file.Name()); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "brand.json")
	if err := os.WriteFile(path, []byte(`{"accent": "#1c6b5f", "logo": "logo.png"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, logo
}

// An operator says what the sale is for, changes it and clears it; status shows it
// and --acts who did what.
func TestEvent(t *testing.T) {
	t.Parallel()
	url := redisURL(t)
	brand, logo := brandFile(t)
	sum := sha256.Sum256(logo)
	hash := hex.EncodeToString(sum[:])
	for _, step := range []struct {
		args []string
		code int
		out  string // a pattern of the whole output
		err  string // a pattern within the errors
	}{
		{[]string{"room", "create", "sale", "--title", "Gala <1>", "--starts-at", "2030-01-01T20:00:00+01:00", "--venue", "Hall 1", "--brand", brand}, 0, `[a-z2-7]{8}\n`, ``},
		{[]string{"status", "sale"}, 0, `(?s).*title +Gala <1>\n +venue +Hall 1\n +starts at +2030-01-01T19:00:00Z\n +accent +#1c6b5f\n +logo +image/png, \d+ bytes, sha256 ` + hash[:16] + `\n.*`, ``},
		{[]string{"set", "sale", "--title", "Ball", "--actor", "bob"}, 0, `title: Gala <1> -> Ball\n`, ``},
		{[]string{"set", "sale", "--title", "Ball", "--brand", brand}, 0, `nothing to change\n`, ``},
		{[]string{"set", "sale", "--title", "", "--starts-at", "never"}, 0, `title: Ball -> ""\nstarts_at: 2030-01-01T19:00:00Z -> ""\n`, ``},
		{[]string{"set", "sale", "--title", strings.Repeat("x", 121), "--venue", "a\nb", "--starts-at", "soon", "--brand", "nowhere.json", "--rate", "0"}, 2, ``,
			`(?s)rate 0.*--starts-at "soon".*--brand "nowhere.json".*title: .*venue: .*nothing was changed`},
		{[]string{"room", "create", "other", "--title", strings.Repeat("x", 121), "--brand", "nowhere.json", "--state", "ajar"}, 2, ``, `(?s)--brand "nowhere.json".*title: .*state "ajar"`},
		{[]string{"set", "sale", "--brand", "none"}, 0, `accent: #1c6b5f -> ""\nlogo: \d+ bytes, sha256 ` + hash[:16] + ` -> ""\n`, ``},
		{[]string{"status", "sale", "--acts"}, 0, `(?s).*bob: set title "Gala <1>" → "Ball"\n.*`, ``},
	} {
		code, out, errOut := run(t, append(step.args, "--redis", url)...)
		if code != step.code {
			t.Errorf("%q: got exit code %d, want %d; %s", step.args, code, step.code, errOut)
		}
		if !regexp.MustCompile(`^(?:` + step.out + `)$`).MatchString(out) {
			t.Errorf("%q: got output %q, want %q", step.args, out, step.out)
		}
		if !regexp.MustCompile(step.err).MatchString(errOut) || (step.err == "" && errOut != "") {
			t.Errorf("%q: got errors %q, want %q", step.args, errOut, step.err)
		}
	}
	if code, _, errOut := run(t, "set", "sale", "--brand", brand, "--redis", url); code != 0 {
		t.Fatal(errOut)
	}
	_, out, _ := run(t, "status", "sale", "--json", "--redis", url)
	var v statusView
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	want := logoView{Type: "image/png", Bytes: len(logo), SHA256: hash}
	if v.Event.Rev != 5 || v.Event.Venue != "Hall 1" || v.Event.Title != "" || v.Event.StartsAt != "" || v.Event.Logo == nil || *v.Event.Logo != want {
		t.Errorf("status --json: got %s, want rev 5, the venue, no title, no time and logo %+v", out, want)
	}
}
