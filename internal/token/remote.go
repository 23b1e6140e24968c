package token

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// refreshGap is the least time between two looks at the URL: strangers with
	// invented kids must not turn a shop into a load generator.
	refreshGap = 10 * time.Second
	// firstGap is the same while no key is known at all, so that a shop that
	// started before its waiting room works a second after it.
	firstGap = time.Second
	// maxAge is when a known key is asked for again, so that a key taken out of
	// the set stops verifying.
	maxAge      = 5 * time.Minute
	fetchLimit  = 5 * time.Second
	maxJWKSSize = 64 << 10
)

// remote reads a JWK Set from a URL and keeps it. While the URL is away, what was
// read last goes on verifying.
type remote struct {
	url    string
	client *http.Client

	mu     sync.Mutex // held during a fetch: the others wait for its answer
	keys   publicKeys
	loaded time.Time // of keys
	asked  time.Time // last try
}

func newRemote(url string) *remote {
	return &remote{url: url, client: &http.Client{Timeout: fetchLimit}}
}

func (r *remote) key(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	_, known := r.keys[kid]
	gap := refreshGap
	if r.keys == nil {
		gap = firstGap
	}
	if (!known || now.Sub(r.loaded) > maxAge) && (r.asked.IsZero() || now.Sub(r.asked) >= gap) {
		r.asked = now
		// The caller's end must not end what the others wait for.
		if keys, err := r.fetch(context.WithoutCancel(ctx)); err == nil {
			r.keys, r.loaded = keys, now
		}
	}
	if r.keys == nil {
		return nil, ErrKeysAway
	}
	return r.keys.key(ctx, kid)
}

func (r *remote) fetch(ctx context.Context) (publicKeys, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", r.url, resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKSSize))
	if err != nil {
		return nil, err
	}
	return parsePublic(b)
}
