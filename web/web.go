// Package web holds the two pages that visitors see: the waiting page, served by
// waitroom, and the seat page, served by booker. They are plain files (HTML, CSS,
// ES modules, a file per language), embedded and sent as they are but for comments:
// no build step.
//
// It promises that no page runs or loads anything but its own files, that a
// page's address is all it needs to know its room and its path prefix, and that a
// changed file is never answered from an old copy: assets live under a version
// made of their content, pages are revalidated each time.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"

	"waitroom/internal/room"
)

//go:embed pages/*.html assets/*.js assets/*.css assets/*.svg lang/*.json
var files embed.FS

// Page says which of the two pages a handler serves.
type Page int

// The pages and where they are: Waiting at {prefix}/rooms/{room}, Seats at
// {prefix}/rooms/{room}/shop.
const (
	Waiting Page = iota
	Seats
)

// Options of a Handler.
type Options struct {
	Page Page

	// Prefix is the public path in front of /rooms: "" or "/tickets".
	Prefix string

	// WaitingURL is where the seat page sends someone whose pass is no good, with
	// {room} in place of the name; "" shows no link. Only the Seats page uses it.
	WaitingURL string

	// Rooms says what the process knows of a room, out of memory: it is asked for
	// each page. nil: every well-formed name has a page, without an event.
	Rooms func(room.Name) (room.Event, room.Known)
}

// Handler answers the page's address, {prefix}/assets/ and {prefix}/brand/; for
// anything else it answers a 404 page, so that it can stand as the last route of a
// server. It keeps rendered pages, and has no goroutine. It panics when the embedded files do not fit each
// other, which a test of this package would have found.
func Handler(o Options) http.Handler {
	s := newSite(o)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+o.Prefix+"/assets/{version}/{name...}", s.asset)
	switch o.Page {
	case Waiting:
		mux.HandleFunc("GET "+o.Prefix+"/rooms/{room}", s.room)
	case Seats:
		mux.HandleFunc("GET "+o.Prefix+"/rooms/{room}/shop", s.room)
	}
	mux.HandleFunc("GET "+o.Prefix+"/brand/{room}/{file}", s.brand)
	mux.HandleFunc("/", s.missing)
	return mux
}

// file is one body as it is sent, plain and packed; set once, then only read.
type file struct {
	kind  string // media type
	etag  string
	plain []byte
	zip   []byte
}

func newFile(kind string, b []byte) file {
	sum := sha256.Sum256(b)
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression) // the level is valid
	_, _ = w.Write(b)                                     // a Buffer takes everything
	_ = w.Close()
	return file{kind: kind, etag: `W/"` + hex.EncodeToString(sum[:8]) + `"`, plain: b, zip: z.Bytes()}
}

// site is one page with its assets. All but the wardrobe is set when the process
// starts.
type site struct {
	prefix   string
	version  string
	waiting  string // where the seat page sends people
	name     string // of the page's template
	rooms    func(room.Name) (room.Event, room.Known)
	langs    []lingo
	matcher  language.Matcher
	pages    []file // without an event, by language
	lost     []file // by language
	assets   map[string]file
	socket   bool // the page opens a WebSocket
	wardrobe wardrobe
}

var kinds = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json",
}

// sheets are the stylesheets as pages load them: one request each, made of the
// shared one and the page's own.
var sheets = map[string][]string{
	"waiting.css": {"assets/base.css", "assets/waiting.css"},
	"seats.css":   {"assets/base.css", "assets/seats.css"},
	"missing.css": {"assets/base.css"},
}

func newSite(o Options) *site {
	s := &site{prefix: o.Prefix, waiting: o.WaitingURL, rooms: o.Rooms, assets: map[string]file{}, socket: o.Page == Waiting,
		name:     map[Page]string{Waiting: "waiting.html", Seats: "seats.html"}[o.Page],
		wardrobe: wardrobe{dresses: map[room.Name]*dress{}}}
	bodies := map[string][]byte{}
	must(fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || kinds[path.Ext(name)] == "" || path.Ext(name) == ".css" {
			return err
		}
		b, err := files.ReadFile(name)
		if path.Ext(name) == ".js" {
			b = withoutComments(b)
		}
		bodies[strings.TrimPrefix(name, "assets/")] = b
		return err
	}))
	for name, parts := range sheets {
		for _, part := range parts {
			b, err := files.ReadFile(part)
			must(err)
			bodies[name] = append(bodies[name], b...)
		}
	}
	s.langs, s.matcher = languages()
	for _, l := range s.langs {
		bodies["lang/"+l.Code+".json"], bodies["lang/waiting/"+l.Code+".json"] = l.words()
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		fmt.Fprintf(sum, "%s %d\n", name, len(bodies[name]))
		sum.Write(bodies[name])
		s.assets[name] = newFile(kinds[path.Ext(name)], bodies[name])
	}
	s.version = hex.EncodeToString(sum.Sum(nil)[:6])

	for i := range s.langs {
		l := &s.langs[i]
		l.templates = template.Must(template.New("pages").Funcs(template.FuncMap{"t": l.t}).ParseFS(files, "pages/*.html"))
		s.pages = append(s.pages, s.render(i, s.name, pageData{}))
		s.lost = append(s.lost, s.render(i, "missing.html", pageData{}))
	}
	return s
}

// render makes a page. What is the operator's goes in as text: html/template
// escapes it for where it stands.
func (s *site) render(lang int, name string, about pageData) file {
	l := s.langs[lang]
	var b bytes.Buffer
	must(l.templates.ExecuteTemplate(&b, name, struct {
		pageData
		Assets, Waiting string
		Icons           map[string]template.URL
		Langs           []choice
	}{about, s.prefix + "/assets/" + s.version, s.waiting,
		map[string]template.URL{"Line": icon("favicon.svg"), "Turn": icon("favicon-turn.svg")}, l.among(s.langs)}))
	return newFile("text/html; charset=utf-8", b.Bytes())
}

// withoutComments blanks the lines of a module that are comment and nothing else:
// a third of what a phone would load. The lines stay, so that a browser names the
// same ones as the source. It knows no JavaScript: a test holds the sources to
// what it takes for granted.
func withoutComments(b []byte) []byte {
	lines := strings.Split(string(b), "\n")
	inside := false
	for i, line := range lines {
		text := strings.TrimSpace(line)
		opens := !inside && strings.HasPrefix(text, "/*")
		closes := strings.Contains(text, "*/")
		switch {
		case inside, opens && !closes, opens && strings.Index(text, "*/") == len(text)-2, strings.HasPrefix(text, "//"):
			lines[i] = ""
		}
		inside = (inside || opens) && !closes
	}
	return []byte(strings.Join(lines, "\n"))
}

// icon is one of our own small pictures as an address, which saves a request.
func icon(name string) template.URL {
	b, err := files.ReadFile("assets/" + name)
	must(err)
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(b))
}

func must(err error) {
	if err != nil {
		panic("web: " + err.Error())
	}
}

func (s *site) room(w http.ResponseWriter, r *http.Request) {
	name, err := room.ParseName(r.PathValue("room"))
	if err != nil {
		s.missing(w, r)
		return
	}
	event, known := s.known(name)
	if known == room.Unlisted {
		s.missing(w, r)
		return
	}
	if s.choose(w, r) {
		return
	}
	// Revalidated each time: the page names the version of its assets.
	w.Header().Set("Cache-Control", "no-cache")
	s.page(w, r, s.roomPage(name, event, s.speaks(r)), http.StatusOK)
}

func (s *site) missing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	s.page(w, r, s.lost[s.speaks(r)], http.StatusNotFound)
}

// page sends what depends on the visitor's language.
func (s *site) page(w http.ResponseWriter, r *http.Request, f file, status int) {
	w.Header().Add("Vary", "Accept-Language, Cookie")
	s.send(w, r, f, status)
}

func (s *site) asset(w http.ResponseWriter, r *http.Request) {
	f, ok := s.assets[r.PathValue("name")]
	switch {
	case !ok:
		s.missing(w, r)
		return
	case r.PathValue("version") == s.version:
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	default:
		// While a fleet changes versions, a page of one node may ask another for
		// its files: it gets ours, and nobody keeps them under that name.
		w.Header().Set("Cache-Control", "no-store")
	}
	s.send(w, r, f, http.StatusOK)
}

func (s *site) send(w http.ResponseWriter, r *http.Request, f file, status int) {
	h := w.Header()
	h.Set("Content-Security-Policy", s.policy(r.Host))
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", f.etag)
	h.Add("Vary", "Accept-Encoding")
	if status == http.StatusOK && strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.plain
	if f.zip != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = f.zip
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a failed write means the visitor went away
	}
}

// hostPattern is a host with a port: nothing that could end a CSP source.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)

// policy is the page's CSP. Older Safari does not count a WebSocket of the same
// host as 'self', so the waiting page's host is named as well.
func (s *site) policy(host string) string {
	connect := "connect-src 'self'"
	if s.socket && hostPattern.MatchString(host) {
		connect += " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " + connect +
		"; base-uri 'none'; frame-ancestors 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}
