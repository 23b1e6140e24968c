package main

import (
	"strings"
	"testing"
)

// The contracts are served to who asked for them by --api-docs, below the prefix, and the
// seat page stands beside them.
func TestAPIDocs(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
	}{{[]string{"--prefix", "/tickets"}, 404}, {[]string{"--prefix", "/tickets", "--api-docs"}, 200}} {
		s := open(t, c.args...)
		for path, text := range map[string]string{"": `<main id="api">`, "openapi.json": `"openapi": "3.1.0"`, "openapi.yaml": "openapi: 3.1.0"} {
			status, body := ask(t, "GET", s.url+"/tickets/api/"+path, "", "")
			if status != c.status || strings.Contains(body, text) != (c.status == 200) {
				t.Errorf("%q: /tickets/api/%s: got %d %.80s, want %d", c.args, path, status, body, c.status)
			}
		}
		if status, body := ask(t, "GET", s.url+"/tickets/rooms/gig/shop", "", ""); status != 200 {
			t.Errorf("%q: the seat page: got %d %.80s, want 200", c.args, status, body)
		}
	}
}
