package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Key is one private signing key. It prints as its kid: the secret half never
// reaches a log by accident.
type Key struct {
	id      string
	private ed25519.PrivateKey
}

// NewKey makes a fresh random key.
func NewKey() (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	return keyOf(private), nil
}

func keyOf(private ed25519.PrivateKey) Key {
	return Key{id: thumbprint(private.Public().(ed25519.PublicKey)), private: private}
}

// ID is the key's `kid`: the JWK thumbprint of RFC 7638, so two files that hold
// the same key name it alike.
func (k Key) ID() string { return k.id }

// String and GoString return the kid only.
func (k Key) String() string   { return "key " + k.id }
func (k Key) GoString() string { return k.String() }

// Keyring holds private keys, the signing one first. It never changes after it
// was made, so it is safe for concurrent use.
type Keyring struct {
	keys      []Key
	public    publicKeys        // of passes
	macs      map[string][]byte // of places, by kid
	placeHead string
	jwks      []byte
}

// NewKeyring makes a keyring of keys; the first signs.
func NewKeyring(keys ...Key) (*Keyring, error) {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return nil, fmt.Errorf("a keyring of %d keys: want 1 to %d", len(keys), MaxKeys)
	}
	r := &Keyring{keys: slices.Clone(keys), public: publicKeys{}, macs: map[string][]byte{}}
	set := jwkSet{}
	for _, k := range keys {
		if k.private == nil {
			return nil, errors.New("a keyring needs keys made by NewKey or read from a file")
		}
		if _, twice := r.public[k.id]; twice {
			return nil, fmt.Errorf("%s stands twice in the keyring", k)
		}
		public := k.private.Public().(ed25519.PublicKey)
		mac, err := macKey(k.private)
		if err != nil {
			return nil, fmt.Errorf("%s: derive the key of places: %w", k, err)
		}
		r.public[k.id], r.macs[k.id] = public, mac
		set.Keys = append(set.Keys, newJWK(k.id, public, nil))
	}
	var err1, err2 error
	r.placeHead, err1 = placeHead(keys[0].id)
	r.jwks, err2 = json.Marshal(set)
	return r, errors.Join(err1, err2)
}

// LoadFile reads a keyring from a JWK Set (RFC 7517) with private keys. A file
// that others may read is refused: who reads it may sign places and passes.
func LoadFile(path string) (*Keyring, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: want 0600, it holds private keys", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	keys, err := parsePrivate(b)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	r, err := NewKeyring(keys...)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return r, nil
}

// Prepend returns a keyring in which k signs and all keys of r still verify.
func (r *Keyring) Prepend(k Key) (*Keyring, error) {
	return NewKeyring(append([]Key{k}, r.keys...)...)
}

// Standby returns a keyring in which k verifies and is next to sign: in a fleet
// every node must know a key before any node signs with it.
func (r *Keyring) Standby(k Key) (*Keyring, error) {
	return NewKeyring(slices.Insert(slices.Clone(r.keys), 1, k)...)
}

// Promote returns a keyring in which the standby key signs; the one that signed
// until now goes on verifying.
func (r *Keyring) Promote() (*Keyring, error) {
	if len(r.keys) < 2 {
		return nil, errors.New("a keyring of one key has none to promote")
	}
	keys := slices.Clone(r.keys)
	keys[0], keys[1] = keys[1], keys[0]
	return NewKeyring(keys...)
}

// Drop returns a keyring without its n oldest keys; one stays.
func (r *Keyring) Drop(n int) (*Keyring, error) {
	if n >= len(r.keys) && n > 0 {
		return nil, fmt.Errorf("drop %d of %d keys: one has to stay", n, len(r.keys))
	}
	return NewKeyring(r.keys[:len(r.keys)-n]...)
}

// WriteFile writes the private keys to path with mode 0600, all or nothing: a
// reader never sees half a file.
func (r *Keyring) WriteFile(path string) error {
	set := jwkSet{}
	for _, k := range r.keys {
		set.Keys = append(set.Keys, newJWK(k.id, k.private.Public().(ed25519.PublicKey), k.private.Seed()))
	}
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	// CreateTemp makes the file with mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), ".keys-*")
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
		return fmt.Errorf("write keys: %w", err)
	}
	return nil
}

// String and GoString return the kids only: printed as it is, a struct shows the
// unexported fields of its fields too.
func (r Keyring) String() string   { return fmt.Sprintf("keyring %v", r.keys) }
func (r Keyring) GoString() string { return r.String() }

// SigningID is the kid of the key that signs.
func (r *Keyring) SigningID() string { return r.keys[0].id }

// JWKS is the public half of every key as a JWK Set, for the endpoint that shops
// read. The caller must not change it.
func (r *Keyring) JWKS() []byte { return r.jwks }

// Verifier verifies passes with the keyring's own public keys.
func (r *Keyring) Verifier() *Verifier { return newVerifier(r.public) }
