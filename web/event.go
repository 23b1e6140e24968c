package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"sync"
	"time"

	"waitroom/internal/room"
)

// dress is a room's page in its event's colours; its maker holds the lock, and a
// finished one is only read.
type dress struct {
	event room.Event
	pages []file // by language; a file without a kind is not rendered yet
	sheet brandFile
	logo  brandFile
}

// brandFile is what a brand is served as: under a name made of its content.
type brandFile struct {
	name string // with its extension; "" when there is none
	file file
}

// wardrobe keeps the dresses of rooms that have an event: at most as many as a
// registry has rooms. At the bound any one goes and is made again when asked for.
type wardrobe struct {
	mu      sync.Mutex
	dresses map[room.Name]*dress
}

// known asks what the process knows of a room.
func (s *site) known(name room.Name) (room.Event, room.Known) {
	if s.rooms == nil {
		return room.Event{}, room.Unsure
	}
	return s.rooms(name)
}

// roomPage is the page of a room in a language; the common one while nothing is known of an event.
func (s *site) roomPage(name room.Name, event room.Event, lang int) file {
	if event.Rev == 0 {
		return s.pages[lang]
	}
	s.wardrobe.mu.Lock()
	defer s.wardrobe.mu.Unlock()
	d := s.dressed(name, event)
	if d.pages[lang].kind == "" {
		d.pages[lang] = s.render(lang, s.name, pageData{Event: event, Sheet: d.sheet.link(s, name), Logo: d.logo.link(s, name)})
	}
	return d.pages[lang]
}

// dressed returns the room's dress, made anew when the event is another. The
// caller holds the lock: a page takes about a millisecond, once per revision.
func (s *site) dressed(name room.Name, event room.Event) *dress {
	if d, ok := s.wardrobe.dresses[name]; ok && same(d.event, event) {
		return d
	}
	if _, ok := s.wardrobe.dresses[name]; !ok && len(s.wardrobe.dresses) >= room.MaxRooms {
		for other := range s.wardrobe.dresses {
			delete(s.wardrobe.dresses, other)
			break
		}
	}
	d := &dress{event: event, pages: make([]file, len(s.langs))}
	if event.Brand.Accent != "" {
		b := sheet(event.Brand.Accent)
		d.sheet = brandFile{hashed(b) + ".css", newFile(kinds[".css"], b)}
	}
	if kind := event.Brand.LogoType(); kind != "" {
		// A picture is packed already.
		logo := file{kind: kind, etag: `W/"` + hashed(event.Brand.Logo) + `"`, plain: event.Brand.Logo}
		d.logo = brandFile{hashed(event.Brand.Logo) + "." + path.Base(kind), logo}
	}
	s.wardrobe.dresses[name] = d
	return d
}

// same reports whether two events look the same. The revision alone would not do:
// a room that was deleted and created again begins to count anew.
func same(a, b room.Event) bool {
	return a.Rev == b.Rev && a.Title == b.Title && a.Venue == b.Venue && a.StartsAt.Equal(b.StartsAt) &&
		a.Brand.Accent == b.Brand.Accent && bytes.Equal(a.Brand.Logo, b.Brand.Logo)
}

func hashed(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// link is where the file is served: its name changes with its content, so it is
// kept for ever. The room stands in it, so that any process that knows the room
// can answer, also one that never rendered its page.
func (b brandFile) link(s *site, name room.Name) string {
	if b.name == "" {
		return ""
	}
	return s.prefix + "/brand/" + string(name) + "/" + b.name
}

// brand answers a room's stylesheet and logo.
func (s *site) brand(w http.ResponseWriter, r *http.Request) {
	name, err := room.ParseName(r.PathValue("room"))
	if err != nil {
		s.missing(w, r)
		return
	}
	event, known := s.known(name)
	if known != room.Listed || event.Rev == 0 {
		s.missing(w, r)
		return
	}
	s.wardrobe.mu.Lock()
	d := s.dressed(name, event)
	s.wardrobe.mu.Unlock()
	for _, b := range []brandFile{d.sheet, d.logo} {
		switch asked := r.PathValue("file"); {
		case b.name == "" || path.Ext(asked) != path.Ext(b.name):
			continue
		case asked == b.name:
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		default:
			// A page of another revision, here or of another node: it gets ours, and
			// nobody keeps it under that name.
			w.Header().Set("Cache-Control", "no-store")
		}
		s.send(w, r, b.file, http.StatusOK)
		return
	}
	s.missing(w, r)
}

// pageData is what the templates read beside the texts.
type pageData struct {
	Event room.Event
	Sheet string // addresses; "" for none
	Logo  string
}

// Starts is the event's time for the page's script, which says it in the
// visitor's own zone; "" when it is not told.
func (d pageData) Starts() string {
	if d.Event.StartsAt.IsZero() {
		return ""
	}
	return d.Event.StartsAt.UTC().Format(time.RFC3339)
}

// StartsText is the same to be read before the script has come, and in the
// preview of a link: the server knows nobody's zone, so it names its own.
func (d pageData) StartsText() string {
	if d.Event.StartsAt.IsZero() {
		return ""
	}
	return d.Event.StartsAt.UTC().Format("2006-01-02 15:04") + " UTC"
}
