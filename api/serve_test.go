package api_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/api"
	"waitroom/web"
)

// get asks a handler.
func get(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The contracts and their page stand under {prefix}/api/, with the policy that the seat
// page has; everything else is the page's.
func TestServed(t *testing.T) {
	seats := web.Handler(web.Options{Page: web.Seats, Prefix: "/tickets"})
	h := api.Handler("/tickets", seats)
	policy := get(seats, "/tickets/rooms/gig/shop").Header().Get("Content-Security-Policy")
	for path, want := range map[string]struct{ kind, text string }{
		"":                                  {"text/html; charset=utf-8", `<main id="api">`},
		"page.js":                           {"text/javascript; charset=utf-8", "SwaggerUIBundle"},
		"page.css":                          {"text/css; charset=utf-8", "nav"},
		"swagger-ui-bundle.js":              {"text/javascript; charset=utf-8", "SwaggerUIBundle"},
		"swagger-ui.css":                    {"text/css; charset=utf-8", ".swagger-ui"},
		"swagger-ui.LICENSE.txt":            {"text/plain; charset=utf-8", "Apache License 2.0"},
		"openapi.yaml":                      {"application/yaml", "openapi: 3.1.0"},
		"openapi.json":                      {"application/json", `"openapi": "3.1.0"`},
		"asyncapi.yaml":                     {"application/yaml", "asyncapi: 3.1.0"},
		"schemas/waitroom.admitted.v1.json": {"application/json", "urn:waitroom:waitroom.admitted.v1"},
	} {
		w := get(h, "/tickets/api/"+path)
		if w.Code != 200 || w.Header().Get("Content-Type") != want.kind || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%q: got %d %s %.80q, want %s with %q", path, w.Code, w.Header().Get("Content-Type"), w.Body, want.kind, want.text)
		}
		if got := w.Header().Get("Content-Security-Policy"); got != policy || policy == "" {
			t.Errorf("%q: got the policy %q, want the seat page's %q", path, got, policy)
		}
		etag := w.Header().Get("ETag")
		if again := get(h, "/tickets/api/"+path, "If-None-Match", etag); again.Code != 304 || etag == "" {
			t.Errorf("%q with its ETag %s: got %d, want 304", path, etag, again.Code)
		}
	}
	packed := get(h, "/tickets/api/swagger-ui-bundle.js", "Accept-Encoding", "gzip, br")
	r, err := gzip.NewReader(packed.Body)
	if err != nil || packed.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("got %v, %v, want the library packed", packed.Header(), err)
	}
	plain, err := io.ReadAll(r)
	if err != nil || string(plain) != get(h, "/tickets/api/swagger-ui-bundle.js").Body.String() {
		t.Errorf("got another library packed than plain, %v", err)
	}
	if w := get(h, "/tickets/api"); w.Code != http.StatusTemporaryRedirect && w.Code != http.StatusMovedPermanently {
		t.Errorf("without its slash: got %d, want a redirect", w.Code)
	}
	for path, status := range map[string]int{"/tickets/rooms/gig/shop": 200, "/tickets/api/page/index.html": 404, "/tickets/api/none": 404, "/api/": 404} {
		if w := get(h, path); w.Code != status || !strings.Contains(w.Body.String(), "<html") {
			t.Errorf("%s: got %d %.60q, want %d from the seat page", path, w.Code, w.Body, status)
		}
	}
}

// What is embedded is what the lockfile names: `npm ci` in this folder, then npm run pack.
func TestLibraryIsThatOfTheLockfile(t *testing.T) {
	if os.Getenv("WAITROOM_E2E") == "" {
		t.Skip("WAITROOM_E2E is not set: npm has installed nothing")
	}
	for _, name := range []string{"swagger-ui-bundle.js", "swagger-ui.css"} {
		want, err := os.ReadFile(filepath.Join("node_modules", "swagger-ui-dist", name))
		if err != nil {
			t.Fatalf("%v: run npm ci in api", err)
		}
		if got := get(api.Handler("", http.NotFoundHandler()), "/api/"+name).Body.Bytes(); string(got) != string(want) {
			t.Errorf("%s: got %d bytes, want the %d of the package: npm run pack", name, len(got), len(want))
		}
	}
}
