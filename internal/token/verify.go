package token

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"waitroom/internal/room"
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

// Verifier verifies places and passes. It is safe for concurrent use.
type Verifier struct{ keys source }

// LoadVerifier verifies with the public keys of a JWK Set: an http(s) URL or a
// file. A file must be readable now. A URL is first asked for by Load or when a
// token comes, so that a shop starts before its waiting room.
func LoadVerifier(where string) (*Verifier, error) {
	if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
		return &Verifier{keys: newRemote(where)}, nil
	}
	b, err := os.ReadFile(where)
	if err != nil {
		return nil, fmt.Errorf("public keys: %w", err)
	}
	keys, err := parsePublic(b)
	if err != nil {
		return nil, fmt.Errorf("public keys in %s: %w", where, err)
	}
	return &Verifier{keys: keys}, nil
}

// Load returns nil once at least one key is known: without one every token is
// answered with ErrKeysAway. Otherwise it asks now, however lately somebody else
// did, and its error is ErrKeysAway with the reason. How often is the caller's.
func (v *Verifier) Load(ctx context.Context) error { return v.keys.load(ctx) }

var parser = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
	jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())

// ParsePlace verifies a place for room want. It says nothing about the epoch:
// the line knows which one lives.
func (v *Verifier) ParsePlace(ctx context.Context, token string, want room.Name) (Place, error) {
	var c placeClaims
	if err := v.parse(ctx, token, &c); err != nil {
		return Place{}, err
	}
	if c.Typ != typPlace || c.Line != lineName {
		return Place{}, ErrForeign
	}
	_, err1 := room.ParseName(string(c.Room))
	_, err2 := room.ParseEpoch(string(c.Epoch))
	_, err3 := room.ParseVisitorID(string(c.Visitor))
	if errors.Join(err1, err2, err3) != nil || c.Number < 1 || c.Number > room.MaxNumber {
		return Place{}, ErrMalformed
	}
	if c.Room != want {
		return Place{}, ErrOtherRoom
	}
	return Place{Room: c.Room, Epoch: c.Epoch, Place: room.Place{Visitor: c.Visitor, Number: c.Number}}, nil
}

// ParsePass verifies a pass for room want at now.
func (v *Verifier) ParsePass(ctx context.Context, token string, want room.Name, now time.Time) (Pass, error) {
	var c passClaims
	if err := v.parse(ctx, token, &c); err != nil {
		return Pass{}, err
	}
	if c.Typ != typPass || c.Iss != issuer {
		return Pass{}, ErrForeign
	}
	a, err := room.ParseAdmission(c.Jti)
	if err != nil || string(a.Room) != string(c.Aud) || c.Exp <= 0 {
		return Pass{}, ErrMalformed
	}
	if a.Room != want {
		return Pass{}, ErrOtherRoom
	}
	p := Pass{Admission: a, Expires: time.Unix(c.Exp, 0)}
	if !now.Before(p.Expires) {
		return Pass{}, ErrExpired
	}
	return p, nil
}

// parse checks size, form and signature. Errors are ours: the library's own may
// quote the token, and a token belongs in no log.
func (v *Verifier) parse(ctx context.Context, token string, c jwt.Claims) error {
	if token == "" || len(token) > MaxToken || strings.ContainsAny(token, "\r\n") {
		return ErrMalformed // the strict decoder still passes over line breaks
	}
	_, err := parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if kid == "" {
			return nil, ErrForeign
		}
		return v.keys.key(ctx, kid)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrKeysAway):
		return ErrKeysAway
	case errors.Is(err, ErrForeign), errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return ErrForeign
	case errors.Is(err, ctx.Err()) && ctx.Err() != nil:
		return ctx.Err()
	}
	return ErrMalformed
}
