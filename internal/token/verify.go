package token

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// source finds the public key of a kid: ErrForeign when there is none,
// ErrKeysAway when it cannot be known now.
type source interface {
	key(ctx context.Context, kid string) (ed25519.PublicKey, error)
	load(ctx context.Context) error // nil once any key is known
}

type publicKeys map[string]ed25519.PublicKey

func (p publicKeys) key(_ context.Context, kid string) (ed25519.PublicKey, error) {
	if k, ok := p[kid]; ok {
		return k, nil
	}
	return nil, ErrForeign
}

func (p publicKeys) load(context.Context) error { return nil } // parsePublic wants one at least

// Verifier verifies passes, with public keys and so anywhere; a place is verified
// by a Keyring, which has the secret. It is safe for concurrent use.
type Verifier struct {
	keys source
	seen *verified
}

func newVerifier(keys source) *Verifier {
	return &Verifier{keys: keys, seen: newVerified(verifiedMost)}
}

// LoadVerifier verifies with the public keys of a JWK Set: an http(s) URL or a
// file. A file must be readable now. A URL is first asked for by Load or when a
// token comes, so that a shop starts before its waiting room.
func LoadVerifier(where string) (*Verifier, error) {
	if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
		return newVerifier(newRemote(where)), nil
	}
	b, err := os.ReadFile(where)
	if err != nil {
		return nil, fmt.Errorf("public keys: %w", err)
	}
	keys, err := parsePublic(b)
	if err != nil {
		return nil, fmt.Errorf("public keys in %s: %w", where, err)
	}
	return newVerifier(keys), nil
}

// Load returns nil once at least one key is known: without one every token is
// answered with ErrKeysAway. Otherwise it asks now, however lately somebody else
// did, and its error is ErrKeysAway with the reason. How often is the caller's.
func (v *Verifier) Load(ctx context.Context) error { return v.keys.load(ctx) }

// unchecked satisfies the library's Claims. We ask it for form and signature
// only: what the claims must say is ours to check, with the caller's clock.
type unchecked struct{}

func (unchecked) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (unchecked) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (unchecked) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (unchecked) GetIssuer() (string, error)                   { return "", nil }
func (unchecked) GetSubject() (string, error)                  { return "", nil }
func (unchecked) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

// newParser makes a parser of tokens that are signed by method and no other: the
// call decides the algorithm, and a token's own `alg` can only disagree.
func newParser(method jwt.SigningMethod) *jwt.Parser {
	return jwt.NewParser(jwt.WithValidMethods([]string{method.Alg()}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
}

// formed looks at the size, and at line breaks, which the strict decoder passes over.
func formed(token string) bool {
	return token != "" && len(token) <= MaxToken && !strings.ContainsAny(token, "\r\n")
}

// parse checks size, form and signature; key finds what verifies a kid, in the
// type of its algorithm. Errors are ours: the library's own may quote the token,
// and a token belongs in no log.
func parse(parser *jwt.Parser, token string, c jwt.Claims, key func(kid string) (any, error)) error {
	if !formed(token) {
		return ErrMalformed
	}
	_, err := parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if kid == "" {
			return nil, ErrForeign
		}
		return key(kid)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrKeysAway):
		return ErrKeysAway
	case errors.Is(err, ErrForeign), errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return ErrForeign
	}
	return ErrMalformed
}
