package web

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"waitroom/internal/room"
)

// What a visitor's phone loads to stand in line, packed.
const (
	mostBytes    = 30 << 10
	mostRequests = 8
)

func TestTheWaitingPageIsSmall(t *testing.T) {
	event := gala
	for _, prefix := range []string{"", "/tickets/2026"} {
		for _, lang := range []string{"en", "ko"} {
			h := Handler(Options{Page: Waiting, Prefix: prefix, Rooms: knows(&event)})
			load := func(path string) (string, int) {
				r := ask(t, h, "GET", path, "Accept-Encoding", "gzip", "Accept-Language", lang)
				b, err := io.ReadAll(r.Body)
				if err != nil || r.StatusCode != 200 {
					t.Fatalf("GET %s: got %d and %v", path, r.StatusCode, err)
				}
				if path != prefix+"/rooms/common" && !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
					t.Errorf("GET %s: got %q, want an immutable name", path, r.Header.Get("Cache-Control"))
				}
				return body(t, ask(t, h, "GET", path, "Accept-Language", lang)), len(b)
			}
			page, sum := load(prefix + "/rooms/common")
			requests := 1
			assets := regexp.MustCompile(`"(` + prefix + `/assets/\w+/)`).FindStringSubmatch(page)[1]
			seen := map[string]bool{}
			for _, m := range regexp.MustCompile(`(?:src|href)="(`+prefix+`/[^"]+)"`).FindAllStringSubmatch(page, -1) {
				seen[m[1]] = true
			}
			seen[assets+"lang/waiting/"+lang+".json"] = true
			for path := range seen {
				_, n := load(path)
				sum += n
				requests++
			}
			if sum > mostBytes || requests > mostRequests {
				t.Errorf("prefix %q, %s: got %d bytes in %d requests, want at most %d in %d", prefix, lang, sum, requests, mostBytes, mostRequests)
			}
			// What is loaded later, when the place is there or someone asks.
			late := 0
			for _, name := range []string{"turn.js", "share.js", "qr.js"} {
				if seen[assets+name] {
					t.Errorf("%s: got it loaded with the page, want it after the join", name)
				}
				_, n := load(assets + name)
				late += n
			}
			// An event of its own look adds its stylesheet and its logo.
			dressed := body(t, ask(t, h, "GET", prefix+"/rooms/show"))
			if got := strings.Count(dressed, `"`+prefix+"/brand/show/"); got != 2 {
				t.Errorf("prefix %q: got %d files of a brand, want 2 and a logo of at most %d bytes", prefix, got, room.MaxLogo)
			}
			t.Logf("prefix %q, %s: %d bytes in %d requests; %d bytes after the join", prefix, lang, sum, requests, late)
		}
	}
}

// Comments are taken away by lines: nothing may stand behind a block's end, no
// text of several lines may look like one, and code stays as it is.
func TestOnlyCommentsAreLeftOut(t *testing.T) {
	source := "// a\nlet x = 1; // b\n/** c */\n/** @type {any} */ (x).y = 2;\n  /*\n   * d\n   */\nlet z = '//';\n/* e */ f();"
	want := "\nlet x = 1; // b\n\n/** @type {any} */ (x).y = 2;\n\n\n\nlet z = '//';\n/* e */ f();"
	if got := string(withoutComments([]byte(source))); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, source := range sources(t, ".js") {
		// A template text over several lines could hold what looks like a comment.
		for i, line := range strings.Split(source, "\n") {
			if !strings.HasPrefix(strings.TrimSpace(line), "*") && !strings.HasPrefix(strings.TrimSpace(line), "/") && strings.Count(line, "`")%2 != 0 {
				t.Errorf("%s:%d: got a text over several lines, want it in one: %s", name, i+1, line)
			}
		}
		for i, line := range strings.Split(source, "\n") {
			text := strings.TrimSpace(line)
			if strings.HasPrefix(text, "*") && strings.Contains(text, "*/") && !strings.HasSuffix(text, "*/") {
				t.Errorf("%s:%d: got code behind a comment's end, want it on a line of its own: %s", name, i+1, line)
			}
		}
		if got := strings.Count(string(withoutComments([]byte(source))), "\n"); got != strings.Count(source, "\n") {
			t.Errorf("%s: got %d lines, want those of the source", name, got)
		}
	}
}

func TestFilesArePackedOnce(t *testing.T) {
	s := newSite(Options{Page: Waiting})
	a, b := s.assets["waiting.js"], s.assets["waiting.js"]
	if len(a.zip) == 0 || &a.zip[0] != &b.zip[0] {
		t.Error("got an asset that is not packed at the start, want it once")
	}
}
