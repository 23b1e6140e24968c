package token

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

func TestVerifierFromFile(t *testing.T) {
	r := ring(t)
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, r.JWKS(), 0o644); err != nil {
		t.Fatal(err)
	}
	v, err := LoadVerifier(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.ParsePass(t.Context(), must(t)(r.Pass(admission, now.Add(time.Minute))), "show", now); err != nil {
		t.Errorf("got %v, want the pass good", err)
	}
	if _, err := LoadVerifier(path + ".absent"); err == nil {
		t.Error("an absent file: got no error")
	}
}

// The keys come back without a restart, and strangers' kids cost one request per
// refreshGap. The transport is a function, so that time is the test's own.
func TestRemoteKeys(t *testing.T) {
	old, next := ring(t), ring(t)
	oldPass, nextPass := must(t)(old.Pass(admission, time.Now().Add(100*time.Hour))), must(t)(next.Pass(admission, time.Now().Add(100*time.Hour)))
	synctest.Test(t, func(t *testing.T) {
		var serving *Keyring
		var asked atomic.Int64
		remote := newRemote("http://keys")
		remote.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			if serving == nil {
				return nil, errors.New("refused")
			}
			w := httptest.NewRecorder()
			w.Write(serving.JWKS())
			return w.Result(), nil
		})
		v := newVerifier(remote)
		check := func(what, token string, want error, wantAsked int64) {
			t.Helper()
			if _, err := v.ParsePass(t.Context(), token, "show", time.Now()); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", what, err, want)
			}
			if got := asked.Load(); got != wantAsked {
				t.Errorf("%s: got %d requests, want %d", what, got, wantAsked)
			}
		}
		check("away", oldPass, ErrKeysAway, 1)
		serving = old
		check("away, asked again too soon", oldPass, ErrKeysAway, 1)
		time.Sleep(firstGap)
		check("there", oldPass, nil, 2)
		check("a new kid, too soon", nextPass, ErrForeign, 2)
		time.Sleep(refreshGap)
		check("a new kid that the set does not have", nextPass, ErrForeign, 3)
		serving = next
		time.Sleep(refreshGap)
		check("a new kid that the set has", nextPass, nil, 4)
		serving = nil
		time.Sleep(maxAge + time.Second)
		check("away later", nextPass, nil, 5)
	})
}

// Load says why there is no key yet, pays no heed to who else asked lately, and
// asks nobody once there is one.
func TestLoad(t *testing.T) {
	good := ring(t)
	synctest.Test(t, func(t *testing.T) {
		answer, asked := "", 0
		remote := newRemote("http://keys.test/")
		remote.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			w := httptest.NewRecorder()
			switch answer {
			case "":
				return nil, errors.New("refused")
			case "404":
				w.WriteHeader(http.StatusNotFound)
			default:
				w.WriteString(answer)
			}
			return w.Result(), nil
		})
		v := newVerifier(remote)
		for _, c := range []struct{ answer, want string }{
			{"", "refused"}, {"404", "status 404"}, {"<html>", "not a JWK Set"}, {`{"keys":[]}`, "0 keys"}, {string(good.JWKS()), ""},
		} {
			answer = c.answer
			err := v.Load(t.Context())
			if c.want == "" && err == nil {
				continue
			}
			if !errors.Is(err, ErrKeysAway) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the URL answers %q: got %v, want %v with %q", c.answer, err, ErrKeysAway, c.want)
			}
		}
		answer = ""
		if err := v.Load(t.Context()); err != nil || asked != 5 {
			t.Errorf("away after a key was read: got %v and %d requests, want none of the two beyond 5", err, asked)
		}
	})
	if err := good.Verifier().Load(t.Context()); err != nil {
		t.Errorf("keys of its own: got %v, want them loaded", err)
	}
}

// A URL that hangs delays the one caller that refreshes, not those whose key is
// known.
func TestHangingURLDelaysOneCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := NewKey()
		if err != nil {
			t.Fatal(err)
		}
		ring, err := NewKeyring(key)
		if err != nil {
			t.Fatal(err)
		}
		pass, err := ring.Pass(room.Admission{Room: "show", Epoch: room.NewEpoch(), Number: 1, Visitor: room.NewVisitorID()}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		hangs := false
		remote := newRemote("http://keys.test/")
		remote.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if hangs {
				<-r.Context().Done() // the client's own limit
				return nil, r.Context().Err()
			}
			w := httptest.NewRecorder()
			w.Write(ring.JWKS())
			return w.Result(), nil
		})
		v := newVerifier(remote)
		ask := func() time.Duration {
			start := time.Now()
			if _, err := v.ParsePass(t.Context(), pass, "show", time.Now()); err != nil {
				t.Errorf("got %v, want a good pass", err)
			}
			return time.Since(start)
		}
		ask()
		hangs = true
		time.Sleep(maxAge + time.Second)
		var delayed atomic.Int64
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if ask() > 0 {
					delayed.Add(1)
				}
			})
		}
		wg.Wait()
		if got := delayed.Load(); got != 1 {
			t.Errorf("got %d of 10 callers delayed, want 1", got)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
