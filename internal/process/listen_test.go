package process

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The ops port answers what it should, and nothing else: above all not the
// command line, which may hold a password.
func TestOps(t *testing.T) {
	reg := prometheus.NewRegistry()
	Common(reg)
	var ready Ready
	server := httptest.NewServer(Ops(reg, &ready))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	ask := func(method, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		b, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.StatusCode, string(b)
	}
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/healthz", 200, "alive"},
		{"GET", "/readyz", 503, "not ready"},
		{"GET", "/metrics", 200, `waitroom_build_info{goversion="go1.`},
		{"GET", "/debug/pprof/", 200, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile: total"},
		{"GET", "/debug/pprof/heap", 200, ""},
		{"GET", "/debug/pprof/profile?seconds=1", 200, ""},
		{"GET", "/debug/pprof/trace?seconds=0.01", 200, ""},
		{"GET", "/debug/pprof/symbol", 200, "num_symbols"},
		{"POST", "/debug/pprof/symbol", 200, "num_symbols"},
		{"GET", "/debug/pprof/cmdline", 404, ""},
		{"POST", "/debug/pprof/heap", 405, ""},
		{"GET", "/", 404, ""},
	} {
		if status, body := ask(c.method, c.path); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: got %d %.80q, want %d with %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
	ready.Set(true)
	if status, body := ask("GET", "/readyz"); status != 200 || body != "ready\n" {
		t.Errorf("once ready: got %d %q, want 200", status, body)
	}
}
