package shop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
	"waitroom/internal/token"
)

// tape notes what a live map tells, with what is another one in each run made the same.
type tape struct {
	t     *testing.T
	base  string
	lives []string          // of maps, in order of their appearance
	said  map[string]string // by the names of the files
}

var (
	versions = regexp.MustCompile(`\b([a-z2-7]{8})\.(\d+)\.\d+`)
	retries  = regexp.MustCompile(`"retry_ms":\d+`)
)

// same names the lives of maps in their order, and the log's ids and pauses alike.
func (p *tape) same(text string) string {
	text = versions.ReplaceAllStringFunc(text, func(v string) string {
		m := versions.FindStringSubmatch(v)
		if !slices.Contains(p.lives, m[1]) {
			p.lives = append(p.lives, m[1])
		}
		return fmt.Sprintf("LIFE%d.%s.9", slices.Index(p.lives, m[1])+1, m[2])
	})
	return retries.ReplaceAllString(text, `"retry_ms":2000`)
}

// listener reads one live map.
type listener struct {
	tape   *tape
	answer *http.Response
	lines  *bufio.Reader
}

func (p *tape) get(path string, pass token.Pass) *http.Response {
	p.t.Helper()
	r, _ := http.NewRequestWithContext(p.t.Context(), "GET", p.base+path, nil)
	r.Header.Set("Authorization", bearer(pass))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func (p *tape) listen(pass token.Pass) *listener {
	p.t.Helper()
	answer := p.get("/rooms/gig/live", pass)
	return &listener{p, answer, bufio.NewReader(answer.Body)}
}

// hears reads on to an event that has the text, and notes it; a name of "" notes nothing.
func (l *listener) hears(name, text string) {
	l.tape.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { l.answer.Body.Close() }) // a beat comes after 5
	defer late.Stop()
	for event := ""; ; {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			l.tape.t.Fatalf("%s: got %q and %v, want an event with %q", name, event, err, text)
		}
		if event += line; line != "\n" {
			continue
		}
		if strings.Contains(event, text) {
			if name != "" {
				l.tape.said[name+".txt"] = l.tape.same(event)
			}
			return
		}
		event = ""
	}
}

// Every event of a live map is the one of its file, as it is on the wire, and so are the
// answer that it comes with and the plan that it speaks of: testdata/live is read by the
// page's tests. WAITROOM_UPDATE_ANSWERS=1 writes the files.
func TestLiveMapIsGolden(t *testing.T) {
	t.Parallel() // it waits for a beat
	var shown *seatmap.Maps
	b := newShop(t, bookingtest.SQLite(t), 12, func(p *Parts) { shown = p.Maps })
	server := httptest.NewServer(b.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	p := &tape{t: t, base: server.URL, said: map[string]string{}}
	body := func(name, path string) {
		var text bytes.Buffer
		if _, err := text.ReadFrom(p.get(path, bookingtest.Pass()).Body); err != nil {
			t.Fatal(err)
		}
		p.said[name+".json"] = p.same(text.String()) + "\n"
	}
	change := func(changes ...seat.Seat) {
		err := b.below.DB.Tx(t.Context(), func(tx *sqlx.Tx) error {
			for _, c := range changes {
				if _, err := tx.Exec("UPDATE seats SET state = ? WHERE room = 'gig' AND id = ?", c.State, c.ID); err != nil {
					return err
				}
			}
			return seatmap.Log(t.Context(), tx, "gig", b.clock.Now(), changes)
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	buyer := bookingtest.Pass()
	page := p.listen(buyer)
	page.hears("hello", "event: hello")
	page.hears("seats", "event: seats")
	body("plan", "/rooms/gig/plan")
	head := golden{Method: "GET", Path: "/rooms/gig/live", Status: page.answer.StatusCode, Header: map[string]string{}}
	for name := range page.answer.Header {
		if name != "Date" {
			head.Header[name] = page.answer.Header.Get(name)
		}
	}
	text, err := json.MarshalIndent(head, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	p.said["answer.json"] = string(text) + "\n"
	page.hears("beat", ": beat")
	b.below.MustHold(t, buyer, "A-2 A-3")
	page.hears("changes", `"h":[1,2]`)
	change(seat.Seat{ID: "A-1", State: "blocked"}, seat.Seat{ID: "A-2", State: seat.Booked}, seat.Seat{ID: "A-3", State: seat.Free}, seat.Seat{ID: "B-1", State: seat.Held})
	page.hears("changes_of_all_states", `"x":[0]`)
	b.below.AddSeats(t, 14)
	page.hears("seats_of_another_plan", "event: seats")
	body("another_plan", "/rooms/gig/plan")

	p.listen(buyer).hears("", "event: hello")
	p.listen(buyer).hears("", "event: hello")
	page.hears("bye_tabs", "event: bye")
	other := p.listen(bookingtest.Pass())
	other.hears("", "event: seats")
	b.clock.Set(buyer.Expires.Add(-time.Second))
	p.listen(bookingtest.Pass()).hears("bye_pass", "event: bye")
	shown.Drain()
	other.hears("bye_draining", "event: bye")

	for name, got := range p.said {
		path := filepath.Join("testdata", "live", name)
		if os.Getenv("WAITROOM_UPDATE_ANSWERS") != "" {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || got != string(want) {
			t.Errorf("%s: got %q, want %q, %v", name, got, want, err)
		}
	}
	files, err := filepath.Glob("testdata/live/*")
	if err != nil || len(files) != len(p.said) {
		t.Errorf("got the files %v, %v, want %v", files, err, slices.Sorted(maps.Keys(p.said)))
	}
}
