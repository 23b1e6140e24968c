package token

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"waitroom/internal/room"
)

type passClaims struct {
	unchecked
	Typ string   `json:"typ"`
	Iss string   `json:"iss"`
	Aud audience `json:"aud"`
	Jti string   `json:"jti"`
	Exp int64    `json:"exp"`
}

// audience is written as one string; RFC 7519 (4.1.3) lets others write a list.
type audience string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience(one)
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil || len(list) != 1 {
		return errors.New("aud is not one room")
	}
	*a = audience(list[0])
	return nil
}

// Pass is a verified pass.
type Pass struct {
	room.Admission
	Expires time.Time
}

// Pass signs the pass of an admission. The same admission and expiry give the
// same bytes; the expiry is cut to whole seconds, so a pass never outlives its
// slot.
func (r *Keyring) Pass(a room.Admission, expires time.Time) (string, error) {
	return r.signPass(passClaims{Typ: typPass, Iss: issuer, Aud: audience(a.Room), Jti: a.String(), Exp: expires.Unix()})
}

func (r *Keyring) signPass(c passClaims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"] = r.keys[0].id
	return t.SignedString(r.keys[0].private)
}

var passParser = newParser(jwt.SigningMethodEdDSA)

// ParsePass verifies a pass for room want at now.
func (v *Verifier) ParsePass(ctx context.Context, token string, want room.Name, now time.Time) (Pass, error) {
	var c passClaims
	if err := parse(passParser, token, &c, func(kid string) (any, error) { return v.keys.key(ctx, kid) }); err != nil {
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
