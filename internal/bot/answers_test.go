package bot

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"waitroom/internal/wire"
)

// golden is an exchange with the shop, as its own tests have it.
type golden struct {
	Method, Path string
	Status       int
	Header       map[string]string
	Body         json.RawMessage
}

// The bot reads every answer that the shop gives: what it takes out of a success is
// what stands there, and of a problem the code, whether to come back, and when.
func TestReadsTheAnswersOfTheShop(t *testing.T) {
	files, err := filepath.Glob("../shop/testdata/answers/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("got no answers of the shop, %v", err)
	}
	var g golden
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range g.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(g.Status)
		_, _ = w.Write(g.Body)
	}))
	t.Cleanup(server.Close)
	// What is read of each success; the others have no body.
	into := map[string]any{"held": &holdAnswer{}, "held_repeated": &holdAnswer{}, "confirmed": &bookingAnswer{},
		"pass": &visitAnswer{}, "pass_held_late": &visitAnswer{}, "pass_held": &visitAnswer{}, "pass_booked": &visitAnswer{}, "pass_left": &visitAnswer{}, "extended": &holdAnswer{}}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g = golden{}
		if err := json.Unmarshal(b, &g); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := &shopping{v: &visitor{config: Config{Room: "gig"}, http: server.Client()}, bases: []string{server.URL}, pass: "pass"}
		_, path, _ := strings.Cut(g.Path, "/rooms/gig")
		again, after, err := s.once(t.Context(), g.Method, path, nil, into[name])
		if g.Status < 300 {
			if err != nil || again {
				t.Errorf("%s: got %v, again %t, want it read", name, err, again)
			}
			if len(g.Body) == 0 {
				continue
			}
			// All that the bot knows of it, and as much as it knows.
			got, _ := json.Marshal(into[name])
			var read, sent map[string]any
			if json.Unmarshal(got, &read) != nil || json.Unmarshal(g.Body, &sent) != nil {
				t.Fatalf("%s: got %s of %s", name, got, g.Body)
			}
			for field, value := range read {
				if value != nil && value != false && !contains(sent[field], value) {
					t.Errorf("%s: %s: got %v, want %v", name, field, value, sent[field])
				}
			}
			if bytes.Contains(g.Body, []byte(`"A-1"`)) != bytes.Contains(got, []byte(`"A-1"`)) {
				t.Errorf("%s: got %s read of %s, want its seats", name, got, g.Body)
			}
			continue
		}
		var p wire.Problem
		if json.Unmarshal(g.Body, &p) != nil || !told(err, p.Code) {
			t.Errorf("%s: got %v, want %s", name, err, p.Code)
		}
		if want := g.Status >= 500 || g.Status == 429 || g.Status == 408; again != want {
			t.Errorf("%s: got again %t, want %t", name, again, want)
		}
		if want := g.Header["Retry-After"] != ""; (after >= time.Second) != want {
			t.Errorf("%s: got %s to wait, want some of it: %t", name, after, want)
		}
	}
}

// contains reports whether what was sent has all that was read of it.
func contains(sent, read any) bool {
	s, isMap := sent.(map[string]any)
	r, both := read.(map[string]any)
	if !isMap || !both {
		return reflect.DeepEqual(sent, read)
	}
	for field, value := range r {
		if !contains(s[field], value) {
			return false
		}
	}
	return true
}
