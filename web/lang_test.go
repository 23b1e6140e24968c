package web

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// forms are the plural categories that CLDR gives a language for whole numbers.
var forms = map[string][]string{"en": {"one", "other"}, "ko": {"other"}}

// placeholders returns the {names} of a text, sorted.
func placeholders(text string) []string {
	return slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`\{\w+\}`).FindAllString(text, -1))))
}

func TestLanguagesSayTheSameThings(t *testing.T) {
	langs, _ := languages()
	if len(langs) < 2 || langs[0].Code != "en" {
		t.Fatalf("got %d languages, the first %q, want two or more and English first", len(langs), langs[0].Code)
	}
	// By key without its plural form: the placeholders of "other", or of the text.
	shape := func(l lingo) map[string][]string {
		out := map[string][]string{}
		for key, text := range l.texts {
			if plurals.MatchString(key) && !strings.HasSuffix(key, ".other") {
				continue
			}
			out[key] = placeholders(text)
		}
		return out
	}
	want := shape(langs[0])
	for _, l := range langs {
		got := shape(l)
		for key := range want {
			if holes, ok := got[key]; !ok {
				t.Errorf("%s.json: got no %q, want what en.json has", l.Code, key)
			} else if !slices.Equal(holes, want[key]) {
				t.Errorf("%s.json: %q has %v, want %v", l.Code, key, holes, want[key])
			}
		}
		for key := range got {
			if _, ok := want[key]; !ok {
				t.Errorf("%s.json: got %q, which en.json has not", l.Code, key)
			}
		}
		for key, text := range l.texts {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s.json: %q is empty", l.Code, key)
			}
			if base := plurals.ReplaceAllString(key, ""); base != key {
				var have []string
				for _, form := range []string{"few", "many", "one", "other", "two", "zero"} {
					if _, ok := l.texts[base+"."+form]; ok {
						have = append(have, form)
					}
				}
				if !slices.Equal(have, forms[l.Code]) {
					t.Errorf("%s.json: %q has the forms %v, want %v", l.Code, base, have, forms[l.Code])
				}
				for _, hole := range placeholders(text) {
					if !slices.Contains(want[base+".other"], hole) {
						t.Errorf("%s.json: %q has %s, want what en.json gives it", l.Code, key, hole)
					}
				}
			}
		}
		if l.texts["lang.code"] != l.Code || l.Name == "" || !slices.Contains([]string{"ltr", "rtl"}, l.texts["lang.dir"]) {
			t.Errorf("%s.json: got code %q, name %q, dir %q, want its own", l.Code, l.texts["lang.code"], l.Name, l.texts["lang.dir"])
		}
	}
}

func TestTheLanguageOfAPage(t *testing.T) {
	h := Handler(Options{Page: Waiting, Prefix: "/p"})
	for _, tc := range []struct {
		accept, cookie, want string
	}{
		{"", "", "en"},
		{"ko", "", "ko"},
		{"ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "", "ko"},
		{"en-GB,en;q=0.9,ko;q=0.8", "", "en"},
		{"en;q=0.5,ko;q=0.7", "", "ko"},
		{"ko;q=0,en", "", "en"},
		{"fr-CH, fr;q=0.9, ko;q=0.7, *;q=0.5", "", "ko"},
		{"fr,de", "", "en"},
		{"*", "", "en"},
		{"ko;q=abc", "", "en"},
		{";;;", "", "en"},
		{strings.Repeat("x-", 4000), "", "en"},
		{"en", "ko", "ko"},
		{"ko", "en", "en"},
		{"ko", "fr", "ko"},
		{"ko", `"><script>`, "ko"},
	} {
		header := []string{"Accept-Language", tc.accept}
		if tc.cookie != "" {
			header = append(header, "Cookie", "lang="+tc.cookie)
		}
		r := ask(t, h, "GET", "/p/rooms/show", header...)
		page := body(t, r)
		if got := regexp.MustCompile(`<html lang="(\w+)"`).FindStringSubmatch(page); got == nil || got[1] != tc.want {
			t.Errorf("Accept-Language %q, cookie %q: got %v, want %s", tc.accept, tc.cookie, got, tc.want)
		}
		// The first sentence is in it too, and caches know what it hangs on.
		if want := texts(t, tc.want)["line.connecting"]; !strings.Contains(page, want) {
			t.Errorf("Accept-Language %q, cookie %q: got no %q, want the first sentence", tc.accept, tc.cookie, want)
		}
		if got := strings.Join(r.Header.Values("Vary"), ", "); got != "Accept-Language, Cookie, Accept-Encoding" {
			t.Errorf("Vary: got %q, want Accept-Language, Cookie, Accept-Encoding", got)
		}
	}
	if got := ask(t, h, "GET", "/p/assets/x/lang/ko.json").Header.Values("Vary"); !slices.Equal(got, []string{"Accept-Encoding"}) {
		t.Errorf("an asset's Vary: got %q, want Accept-Encoding", got)
	}
	etags := map[string]bool{}
	for _, lang := range []string{"en", "ko"} {
		etags[ask(t, h, "GET", "/p/rooms/show", "Accept-Language", lang).Header.Get("ETag")] = true
	}
	if len(etags) != 2 {
		t.Errorf("ETag: got %v, want one per language", slices.Collect(maps.Keys(etags)))
	}
}

func TestALanguageIsChosenByHandWithoutAScript(t *testing.T) {
	for _, tc := range []struct {
		page             Page
		prefix, at, back string
	}{
		{Waiting, "/p", "/p/rooms/show", "show"},
		{Waiting, "", "/rooms/show", "show"},
		{Seats, "/p", "/p/rooms/show/shop", "shop"},
	} {
		h := Handler(Options{Page: tc.page, Prefix: tc.prefix})
		r := ask(t, h, "GET", tc.at+"?lang=ko")
		if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != tc.back {
			t.Errorf("GET %s?lang=ko: got %d to %q, want 303 to %q", tc.at, r.StatusCode, r.Header.Get("Location"), tc.back)
		}
		want := "lang=ko; Path=" + tc.prefix + "/; Max-Age=31536000; SameSite=Lax"
		if got := r.Header.Get("Set-Cookie"); got != want {
			t.Errorf("GET %s?lang=ko: got cookie %q, want %q", tc.at, got, want)
		}
		for _, other := range []string{"?lang=fr", "?lang=", "?lang=ko%0d%0aX:1", "?utm=1"} {
			if r := ask(t, h, "GET", tc.at+other); r.StatusCode != 200 || r.Header.Get("Set-Cookie") != "" {
				t.Errorf("GET %s%s: got %d and cookie %q, want the page alone", tc.at, other, r.StatusCode, r.Header.Get("Set-Cookie"))
			}
		}
		if page := body(t, ask(t, h, "GET", tc.at)); !strings.Contains(page, `<a href="?lang=ko" hreflang="ko" lang="ko" data-lang="ko">한국어</a>`) {
			t.Errorf("GET %s: got no switch to 한국어, want one", tc.at)
		}
	}
}

// Both pages of an origin may have their files answered by one handler, so each
// page's words have a name of their own, and either handler has both.
func TestEachPageFindsItsWords(t *testing.T) {
	for _, answers := range []Page{Waiting, Seats} {
		h := Handler(Options{Page: answers})
		for path, shop := range map[string]bool{"/assets/x/lang/en.json": true, "/assets/x/lang/waiting/en.json": false} {
			text := body(t, ask(t, h, "GET", path))
			if strings.Contains(text, `"map.title"`) != shop || !strings.Contains(text, `"line.title"`) {
				t.Errorf("page %d: %s: got the shop's words %v, want %v, and the line's", answers, path, !shop, shop)
			}
		}
	}
	one, two := body(t, ask(t, Handler(Options{Page: Waiting}), "GET", "/rooms/a")), body(t, ask(t, Handler(Options{Page: Seats}), "GET", "/rooms/a/shop"))
	version := regexp.MustCompile(`/assets/(\w+)/`)
	if a, b := version.FindStringSubmatch(one)[1], version.FindStringSubmatch(two)[1]; a != b {
		t.Errorf("got versions %s and %s of the same files, want one", a, b)
	}
}
