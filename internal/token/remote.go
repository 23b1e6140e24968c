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

	turn  sync.Mutex // held during a fetch: who needs a new key waits for its answer
	asked time.Time  // last try; guarded by turn

	mu     sync.Mutex // taken with or without turn, never around it
	keys   publicKeys
	loaded time.Time // of keys
}

func newRemote(url string) *remote {
	return &remote{url: url, client: &http.Client{Timeout: fetchLimit}}
}

// key answers a known kid at once, but for the one caller that refreshes keys
// past their age: a URL that hangs must not hold everybody up.
func (r *remote) key(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	keys, fresh := r.have()
	if _, known := keys[kid]; known {
		if !fresh && r.turn.TryLock() {
			r.refresh(ctx)
			r.turn.Unlock()
		}
	} else {
		r.turn.Lock()
		if keys, _ = r.have(); keys[kid] == nil { // nobody brought it while we waited
			r.refresh(ctx)
		}
		r.turn.Unlock()
	}
	if keys, _ = r.have(); keys == nil {
		return nil, ErrKeysAway
	}
	return keys.key(ctx, kid)
}

func (r *remote) have() (keys publicKeys, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys, time.Since(r.loaded) <= maxAge
}

func (r *remote) load(ctx context.Context) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	if keys, _ := r.have(); keys != nil {
		return nil
	}
	return r.read(ctx)
}

// refresh fetches, unless the last try is too young. The caller holds turn.
func (r *remote) refresh(ctx context.Context) {
	now := time.Now()
	gap := refreshGap
	if keys, _ := r.have(); keys == nil {
		gap = firstGap
	}
	if !r.asked.IsZero() && now.Sub(r.asked) < gap {
		return
	}
	// The caller's end must not end what the others wait for. After an error what
	// was read last goes on verifying.
	_ = r.read(context.WithoutCancel(ctx))
}

// read fetches and keeps what came. The caller holds turn.
func (r *remote) read(ctx context.Context) error {
	now := time.Now()
	r.asked = now
	keys, err := r.fetch(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeysAway, err)
	}
	r.mu.Lock()
	r.keys, r.loaded = keys, now
	r.mu.Unlock()
	return nil
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
		return nil, fmt.Errorf("status %d", resp.StatusCode) // the URL may hold a password
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKSSize))
	if err != nil {
		return nil, err
	}
	return parsePublic(b)
}
