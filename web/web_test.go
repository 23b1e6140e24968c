package web

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waitroom/internal/wire"
)

func ask(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = "tickets.example:8443"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatIsWhere(t *testing.T) {
	for _, tc := range []struct {
		page         Page
		prefix, path string
		status       int
	}{
		{Waiting, "", "/rooms/show", 200},
		{Waiting, "", "/rooms/show/shop", 404},
		{Waiting, "", "/rooms/Show", 404},
		{Waiting, "", "/rooms/-show", 404},
		{Waiting, "", "/rooms/" + strings.Repeat("a", 63), 200},
		{Waiting, "", "/rooms/" + strings.Repeat("a", 64), 404},
		{Waiting, "", "/", 404},
		{Waiting, "", "/assets/any/waiting.js", 200},
		{Waiting, "", "/assets/any/lang/en.json", 200},
		{Waiting, "", "/assets/any/lang/waiting/en.json", 200},
		{Seats, "", "/assets/any/lang/waiting/en.json", 200},
		{Waiting, "", "/assets/any/lang/fr.json", 404},
		{Waiting, "", "/assets/any/pages/waiting.html", 404},
		{Waiting, "", "/assets/any/../web.go", 307},
		{Waiting, "/a/b", "/a/b/rooms/show", 200},
		{Waiting, "/a/b", "/rooms/show", 404},
		{Waiting, "/a/b", "/a/b/assets/any/waiting.css", 200},
		{Seats, "", "/rooms/show/shop", 200},
		{Seats, "", "/rooms/show", 404},
		{Seats, "/a/b", "/a/b/rooms/show/shop", 200},
	} {
		r := ask(t, Handler(Options{Page: tc.page, Prefix: tc.prefix}), "GET", tc.path)
		if got := r.StatusCode; got != tc.status {
			t.Errorf("page %d, prefix %q, GET %s: got %d, want %d", tc.page, tc.prefix, tc.path, got, tc.status)
		}
	}
}

func TestEveryAnswerIsStrict(t *testing.T) {
	h := Handler(Options{Page: Waiting, Prefix: "/p"})
	want := map[string]string{
		"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
			"connect-src 'self' ws://tickets.example:8443 wss://tickets.example:8443; base-uri 'none'; frame-ancestors 'none'; " +
			"form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	}
	for _, path := range []string{"/p/rooms/show", "/p/assets/x/waiting.css", "/nothing"} {
		r := ask(t, h, "GET", path)
		for name, value := range want {
			if got := r.Header.Get(name); got != value {
				t.Errorf("GET %s: %s: got %q, want %q", path, name, got, value)
			}
		}
	}
}

func TestAHostCannotWriteThePolicy(t *testing.T) {
	for _, tc := range []struct {
		page Page
		host string
		want string
	}{
		{Waiting, "[::1]:8080", "connect-src 'self' ws://[::1]:8080 wss://[::1]:8080;"},
		{Waiting, "a; script-src *", "connect-src 'self';"},
		{Waiting, "a b", "connect-src 'self';"},
		{Seats, "shop.example", "connect-src 'self';"},
	} {
		got := newSite(Options{Page: tc.page}).policy(tc.host)
		if !strings.Contains(got, tc.want) || strings.Contains(got, "script-src *") {
			t.Errorf("policy(%q): got %q, want %q in it", tc.host, got, tc.want)
		}
	}
}

func TestAssetsAreKeptForEverUnderTheirVersionOnly(t *testing.T) {
	h := Handler(Options{Page: Seats, Prefix: "/p"})
	page := body(t, ask(t, h, "GET", "/p/rooms/show/shop"))
	links := regexp.MustCompile(`(?:src|href)="(/p/assets/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 5 {
		t.Fatalf("got %d assets in the page, want its styles and modules: %s", len(links), page)
	}
	for _, link := range links {
		r := ask(t, h, "GET", link[1])
		if got, want := r.Header.Get("Cache-Control"), "public, max-age=31536000, immutable"; r.StatusCode != 200 || got != want {
			t.Errorf("GET %s: got %d and %q, want 200 and %q", link[1], r.StatusCode, got, want)
		}
	}
	r := ask(t, h, "GET", "/p/assets/0123456789ab/seats.js")
	if got, want := r.Header.Get("Cache-Control"), "no-store"; r.StatusCode != 200 || got != want {
		t.Errorf("another version: got %d and %q, want 200 and %q", r.StatusCode, got, want)
	}
	if got, want := ask(t, h, "GET", "/p/rooms/show/shop").Header.Get("Cache-Control"), "no-cache"; got != want {
		t.Errorf("the page: got %q, want %q", got, want)
	}
}

func TestAPageIsRevalidatedAndPacked(t *testing.T) {
	h := Handler(Options{Page: Waiting})
	first := ask(t, h, "GET", "/rooms/show")
	plain := body(t, first)
	again := ask(t, h, "GET", "/rooms/show", "If-None-Match", first.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || body(t, again) != "" {
		t.Errorf("If-None-Match %s: got %d, want 304 without a body", first.Header.Get("ETag"), again.StatusCode)
	}
	packed := ask(t, h, "GET", "/rooms/show", "Accept-Encoding", "br, gzip")
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != plain {
		t.Errorf("gzip: got %d bytes and %v, want the plain page of %d", len(b), err, len(plain))
	}
	if head := ask(t, h, "HEAD", "/rooms/show"); head.StatusCode != 200 || body(t, head) != "" {
		t.Errorf("HEAD: got %d and a body, want 200 without", head.StatusCode)
	}
	if post := ask(t, h, "POST", "/rooms/show"); post.StatusCode < 400 {
		t.Errorf("POST: got %d, want a refusal", post.StatusCode)
	}
}

// Every module of a page is asked for by its HTML, so that they all come in one
// round trip whatever imports what.
func TestModulesComeInOneRound(t *testing.T) {
	importing := regexp.MustCompile(`(?m)^import [^;]*'\./([a-z]+\.js)';`)
	for _, name := range []string{"waiting", "seats"} {
		want := map[string]bool{}
		var walk func(module string)
		walk = func(module string) {
			if want[module] {
				return
			}
			want[module] = true
			for _, m := range importing.FindAllStringSubmatch(sources(t, "assets/"+module)["assets/"+module], -1) {
				walk(m[1])
			}
		}
		walk(name + ".js")
		got := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?:modulepreload" href|module" src)="\{\{\.Assets\}\}/([a-z]+\.js)"`).FindAllStringSubmatch(sources(t, name+".html")["pages/"+name+".html"], -1) {
			got[m[1]] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s.html asks for %v, want what its modules import: %v", name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// sources returns what the pages are made of, by name.
func sources(t *testing.T, suffixes ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
			return err
		}
		b, err := files.ReadFile(name)
		out[name] = string(b)
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("sources %v: got %d files and %v", suffixes, len(out), err)
	}
	return out
}

func texts(t *testing.T, lang string) map[string]string {
	t.Helper()
	var out map[string]string
	if err := json.Unmarshal([]byte(sources(t, ".json")["lang/"+lang+".json"]), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// plurals are the last words of a plural form's key, by CLDR.
var plurals = regexp.MustCompile(`\.(?:zero|one|two|few|many|other)$`)

// Keys are always written out in full, so that this test can find them: a string
// of dotted words whose first word begins some text is a key. A key of plural
// forms is written without its last word.
func TestEveryTextIsUsedAndEveryUseHasAText(t *testing.T) {
	have, first := map[string]bool{}, map[string]bool{}
	for key := range texts(t, "en") {
		have[plurals.ReplaceAllString(key, "")] = true
		first[key[:strings.Index(key, ".")]] = true
	}
	used := map[string]bool{"lang.name": true} // read by the server, for the switch
	literal := regexp.MustCompile(`['"]([a-z_]+(?:\.[a-z_]+)+)['"]`)
	for name, source := range sources(t, ".js", ".html") {
		for _, m := range literal.FindAllStringSubmatch(source, -1) {
			key := m[1]
			if !first[key[:strings.Index(key, ".")]] || strings.HasSuffix(key, ".js") {
				continue
			}
			used[key] = true
			if !have[key] {
				t.Errorf("%s: got key %q, want one of en.json", name, key)
			}
		}
		for _, m := range regexp.MustCompile(`\b(?:t|plural|phrase)\(\s*['"]([^'"]*)['"]|\{\{t "([^"]*)"`).FindAllStringSubmatch(source, -1) {
			if !have[m[1]+m[2]] {
				t.Errorf("%s: got key %q, want one of en.json", name, m[1]+m[2])
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if !used[key] {
			t.Errorf("en.json: got %q that nothing uses, want it used or gone", key)
		}
	}
}

// The waiting page does not load what only the seat page says.
func TestTheWaitingPageSaysNothingOfTheShop(t *testing.T) {
	for name, source := range sources(t, "waiting.html", "waiting.js", "show.js", "line.js", "page.js", "turn.js", "share.js") {
		for _, m := range regexp.MustCompile(`['"]([a-z_]+)\.[a-z_.]+['"]`).FindAllStringSubmatch(source, -1) {
			if shopWords[m[1]] {
				t.Errorf("%s: got %s, which the waiting page does not load", name, m[0])
			}
		}
	}
}

// What the HTML says first can be said anew in another language: the key it came
// from stands beside it, unless a render sets it.
func TestWhatThePagesSayFirstNamesItsKey(t *testing.T) {
	rendered := regexp.MustCompile(`\bid="(?:name|link-word|waiting|claim|again|turn-title|turn-text|keep|choose-title|confirm)"`)
	for name, source := range sources(t, "waiting.html", "seats.html") {
		for _, m := range regexp.MustCompile(`<(\w+)([^>]*)>\{\{t "([^"]+)"\}\}<`).FindAllStringSubmatch(source, -1) {
			if m[1] != "title" && !strings.Contains(m[2], `data-t="`+m[3]+`"`) && !rendered.MatchString(m[2]) {
				t.Errorf("%s: <%s%s> says %q: got no data-t of that key, want one", name, m[1], m[2], m[3])
			}
		}
		for _, m := range regexp.MustCompile(`aria-label="\{\{t "([^"]+)"\}\}"([^>]*)>`).FindAllStringSubmatch(source, -1) {
			if !strings.Contains(m[2], `data-t-label="`+m[1]+`"`) {
				t.Errorf("%s: label %q: got no data-t-label of that key, want one", name, m[1])
			}
		}
	}
}

// Words stand in the language files and nowhere else.
func TestPagesHoldNoWordsOfTheirOwn(t *testing.T) {
	for name, source := range sources(t, ".html") {
		text := regexp.MustCompile(`(?s)<!doctype html>|<[^>]*>|\{\{[^}]*\}\}`).ReplaceAllString(source, "")
		if got := regexp.MustCompile(`\pL+`).FindAllString(text, -1); got != nil {
			t.Errorf("%s: got the words %q, want them in en.json", name, got)
		}
		if got := regexp.MustCompile(`(?:aria-label|title|alt|placeholder)="[^{"][^"]*"`).FindAllString(source, -1); got != nil {
			t.Errorf("%s: got %q, want them in en.json", name, got)
		}
	}
}

func TestEveryErrorCodeHasASentence(t *testing.T) {
	// What a page can never be answered.
	have := map[string]bool{}
	code := regexp.MustCompile(`(?m)^  ([a-z_]+): \{ text: '([a-z_.]+)'`)
	for _, name := range []string{"assets/line.js", "assets/shop.js"} {
		for _, m := range code.FindAllStringSubmatch(sources(t, ".js")[name], -1) {
			have[m[1]] = true
		}
	}
	for c := range wire.Codes {
		if !have[string(c)] {
			t.Errorf("code %q: got no sentence on a page, want one in CODES of line.js or shop.js", c)
		}
	}
}

func TestScriptsSetTextOnly(t *testing.T) {
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\('(?:style|on)`)
	for name, source := range sources(t, ".js") {
		if got := bad.FindString(source); got != "" {
			t.Errorf("%s: got %q, want text set as text", name, got)
		}
		if !strings.HasPrefix(source, "// @ts-check\n") {
			t.Errorf("%s: got no // @ts-check, want it first", name)
		}
	}
	for name, source := range sources(t, ".html") {
		if got := regexp.MustCompile(`<style|\sstyle=|\son[a-z]+=|<script(?:[^>]*[^>"])?>[^<]`).FindString(source); got != "" {
			t.Errorf("%s: got %q, want nothing inline", name, got)
		}
	}
}

func TestColoursArePropertiesOnly(t *testing.T) {
	for name, source := range sources(t, ".css") {
		for i, line := range strings.Split(source, "\n") {
			if regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b`).MatchString(line) && !strings.HasPrefix(strings.TrimSpace(line), "--") {
				t.Errorf("%s:%d: got %q, want the colour as a property", name, i+1, line)
			}
		}
	}
}

// The steps of both pages are pure functions with tests of their own in test/.
func TestSteps(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the pages' steps are not run")
	}
	tests, err := fs.Glob(os.DirFS("test"), "*.test.js")
	if err != nil || len(tests) == 0 {
		t.Fatalf("got %d test files and %v, want some", len(tests), err)
	}
	args := []string{"--test"}
	for _, name := range tests {
		args = append(args, "test/"+name)
	}
	out, err := exec.CommandContext(t.Context(), node, args...).CombinedOutput()
	if err != nil {
		t.Errorf("node --test: got %v, want success\n%s", err, out)
	}
}
