package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waitroom/internal/embedded"
	"waitroom/internal/token"
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
	s := open(t, "--max-sockets=128", "--memory=1GiB")
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
	} else if !strings.Contains(body, "\ngo_gc_gomemlimit_bytes 1.073741824e+09\n") {
		t.Error("metrics: want the limit of --memory")
	}
}

// A booker that is to end is not ready at once, and serves until --drain-delay is
// over.
func TestDrainDelay(t *testing.T) {
	const delay = 2 * time.Second
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	writeKeys(t, jwks)
	s := open(t, "--drain-delay", delay.String(), "--jwks", jwks)
	ready := func() int { status, _ := ask(t, "GET", s.ops+"/readyz", "", ""); return status }
	for ready() != 200 {
		if t.Context().Err() != nil {
			t.Fatal("never ready")
		}
	}
	asked := time.Now()
	ended := make(chan int, 1)
	go func() { ended <- s.stop() }() // ends with the booker, awaited below
	for ready() != 503 {
		if time.Since(asked) > delay {
			t.Fatal("still ready at the end of the delay")
		}
	}
	for {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			break
		}
		c.Close()
		if time.Since(asked) < delay/2 {
			if status, _ := ask(t, "GET", s.url+"/rooms/gig/shop", "", ""); status != 200 {
				t.Errorf("within the delay: got %d, want 200", status)
			}
		}
	}
	if open := time.Since(asked); open < delay {
		t.Errorf("the public port was closed after %s, want not before %s", open, delay)
	}
	if code := <-ended; code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

// writeKeys writes a public key set that verifies.
func writeKeys(t *testing.T, path string) {
	t.Helper()
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := token.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, ring.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
}
