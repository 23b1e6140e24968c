package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// The cookie that remembers a language chosen by hand. It holds nothing else, and
// the page's script writes the same one.
const (
	langCookie = "lang"
	langKept   = 365 * 24 * time.Hour
)

// A lingo is a language: one file in lang/: a flat object from key to text, with plural
// forms as key.one, key.other and so on, after the names of CLDR.
type lingo struct {
	Code  string // of BCP 47, and the file's name
	Name  string // as its speakers write it
	texts map[string]string

	templates *template.Template // of all pages, in this language
}

// t returns the text of a key. A text that is missing is a mistake of ours, not of
// the visitor.
func (l lingo) t(key string) (string, error) {
	if text, ok := l.texts[key]; ok {
		return text, nil
	}
	return "", fmt.Errorf("text %q is not in %s.json", key, l.Code)
}

// shopWords begin the keys of texts that only the seat page says: the waiting page
// does not load them.
var shopWords = map[string]bool{"loading": true, "pass": true, "map": true, "seat": true, "legend": true, "side": true,
	"choose": true, "held": true, "shop": true, "done": true}

// words are the language as the pages load it: all of it for the seat page, and
// without the shop's words for the waiting page. Two names, since either handler
// may be the one that answers for both pages of an origin.
func (l lingo) words() (seats, waiting []byte) {
	seats, err := json.Marshal(l.texts)
	must(err)
	out := maps.Clone(l.texts)
	maps.DeleteFunc(out, func(key, _ string) bool {
		first, _, _ := strings.Cut(key, ".")
		return shopWords[first]
	})
	waiting, err = json.Marshal(out)
	must(err)
	return seats, waiting
}

// choice is a language in the switch of a page.
type choice struct {
	Code, Name string
	Now        bool
}

// among returns all languages, with l as the one in use.
func (l lingo) among(all []lingo) []choice {
	out := make([]choice, len(all))
	for i, other := range all {
		out[i] = choice{other.Code, other.Name, other.Code == l.Code}
	}
	return out
}

// languages reads every language file; English is the first, and so the one for
// visitors who ask for none of them.
func languages() ([]lingo, language.Matcher) {
	names, err := files.ReadDir("lang")
	must(err)
	var out []lingo
	for _, entry := range names {
		b, err := files.ReadFile("lang/" + entry.Name())
		must(err)
		l := lingo{Code: strings.TrimSuffix(entry.Name(), path.Ext(entry.Name()))}
		must(json.Unmarshal(b, &l.texts))
		l.Name = l.texts["lang.name"]
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b lingo) int {
		if (a.Code == "en") != (b.Code == "en") {
			return map[bool]int{true: -1, false: 1}[a.Code == "en"]
		}
		return strings.Compare(a.Code, b.Code)
	})
	tags := make([]language.Tag, len(out))
	for i, l := range out {
		tags[i] = language.MustParse(l.Code)
	}
	return out, language.NewMatcher(tags)
}

// speaks returns the language of a request: the one chosen by hand, or the best of
// Accept-Language by its weights, or English.
func (s *site) speaks(r *http.Request) int {
	if c, err := r.Cookie(langCookie); err == nil {
		if i := s.lang(c.Value); i >= 0 {
			return i
		}
	}
	tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil || len(tags) == 0 {
		return 0
	}
	_, i, confidence := s.matcher.Match(tags...)
	if confidence == language.No {
		return 0
	}
	return i
}

// lang returns the index of a language by its code, or -1.
func (s *site) lang(code string) int {
	return slices.IndexFunc(s.langs, func(l lingo) bool { return l.Code == code })
}

// choose answers ?lang=: the way to another language without a script. It
// remembers the choice and goes back to the plain address.
func (s *site) choose(w http.ResponseWriter, r *http.Request) bool {
	code := r.URL.Query().Get("lang")
	if s.lang(code) < 0 {
		return false
	}
	http.SetCookie(w, &http.Cookie{Name: langCookie, Value: code, Path: s.prefix + "/",
		MaxAge: int(langKept.Seconds()), SameSite: http.SameSiteLaxMode})
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", path.Base(r.URL.Path)) // relative: what stands in front may have another name
	w.WriteHeader(http.StatusSeeOther)
	return true
}
