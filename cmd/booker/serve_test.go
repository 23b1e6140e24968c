package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"waitroom/internal/embedded"
)

// open is a booker over servers of its own.
func open(t *testing.T, args ...string) shop {
	t.Helper()
	kafka, stop, err := embedded.Kafka()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return run(t, append([]string{"--db", "sqlite:" + filepath.Join(t.TempDir(), "shop.db"), "--kafka", kafka,
		"--jwks", "http://127.0.0.1:1/jwks.json"}, args...)...)
}

// Silent sockets up to the bound keep no page out.
func TestSilentSockets(t *testing.T) {
	const bound = 128
	s := open(t, "--max-sockets=128")
	for range bound + 20 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	if status, body := ask(t, "GET", s.url+"/rooms/gig/shop", "", ""); status != 200 {
		t.Errorf("a page: got %d %.80s, want 200", status, body)
	}
	if _, body := ask(t, "GET", s.ops+"/metrics", "", ""); !strings.Contains(body, `waitroom_sockets_closed_total{cause="evicted"} 21`) {
		t.Errorf("metrics: want 21 sockets closed for others, 20 silent ones and a page")
	}
}
