package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// jwk is a key of kind OKP (RFC 8037). D is the private half.
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	Kid string `json:"kid"`
	Alg string `json:"alg,omitempty"`
	Use string `json:"use,omitempty"`
	X   string `json:"x"`
	D   string `json:"d,omitempty"`
}

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

var b64 = base64.RawURLEncoding.Strict()

func newJWK(id string, public ed25519.PublicKey, seed []byte) jwk {
	return jwk{Kty: "OKP", Crv: "Ed25519", Kid: id, Alg: "EdDSA", Use: "sig",
		X: b64.EncodeToString(public), D: b64.EncodeToString(seed)}
}

// thumbprint is RFC 7638 over the required members of an OKP key.
func thumbprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + b64.EncodeToString(public) + `"}`))
	return b64.EncodeToString(sum[:])
}

func (k jwk) ours() bool { return k.Kty == "OKP" && k.Crv == "Ed25519" }

func (k jwk) public() (ed25519.PublicKey, error) {
	x, err := b64.DecodeString(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("key %.64q: x is not an Ed25519 public key", k.Kid)
	}
	return x, nil
}

func decodeSet(b []byte) ([]jwk, error) {
	var set jwkSet
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, errors.New("not a JWK Set") // the cause could quote a private key
	}
	if len(set.Keys) == 0 || len(set.Keys) > MaxKeys {
		return nil, fmt.Errorf("a JWK Set of %d keys: want 1 to %d", len(set.Keys), MaxKeys)
	}
	return set.Keys, nil
}

func parsePrivate(b []byte) ([]Key, error) {
	set, err := decodeSet(b)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for i, j := range set {
		seed, err := b64.DecodeString(j.D)
		if !j.ours() || err != nil || len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("key %d is not a private Ed25519 key", i+1)
		}
		k := keyOf(ed25519.NewKeyFromSeed(seed))
		if j.X != b64.EncodeToString(k.private.Public().(ed25519.PublicKey)) {
			return nil, fmt.Errorf("key %d: x and d do not belong together", i+1)
		}
		if j.Kid != "" {
			k.id = j.Kid
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// parsePublic reads a JWK Set. Keys of other kinds are skipped, as RFC 7517
// (section 5) asks: a set may serve others too.
func parsePublic(b []byte) (publicKeys, error) {
	set, err := decodeSet(b)
	if err != nil {
		return nil, err
	}
	keys := publicKeys{}
	for _, j := range set {
		if !j.ours() || j.Kid == "" {
			continue
		}
		public, err := j.public()
		if err != nil {
			return nil, err
		}
		keys[j.Kid] = public
	}
	if len(keys) == 0 {
		return nil, errors.New("a JWK Set without a named Ed25519 key")
	}
	return keys, nil
}
