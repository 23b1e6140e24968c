package browser_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"waitroom/api"
)

// The page of the API works under the policy of the other pages, below a prefix too, and
// asks nobody else for anything.
func TestPageOfTheAPI(t *testing.T) {
	needBrowser(t)
	server := httptest.NewServer(api.Handler("/tickets/2026", http.NotFoundHandler()))
	t.Cleanup(server.Close)
	node(t, time.Minute, "api.mjs", server.URL+"/tickets/2026/api/")
}
