package token

import (
	"context"
	"crypto/sha256"
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

// ParsePass is TryPass where everybody may try.
func (v *Verifier) ParsePass(ctx context.Context, token string, want room.Name, now time.Time) (Pass, error) {
	return v.TryPass(ctx, token, want, now, func() error { return nil })
}

// TryPass verifies a pass for room want at now. Of a pass that it verified before it
// asks its keys only whether the one that signed it still verifies, so that a key which
// is taken out of a set ends its passes as ever. Any other one asks try first, whose error
// is the answer then, and nothing else is done: to look at a signature costs the processor
// a hundred times as much.
func (v *Verifier) TryPass(ctx context.Context, token string, want room.Name, now time.Time, try func() error) (Pass, error) {
	if !formed(token) {
		if err := try(); err != nil {
			return Pass{}, err
		}
		return Pass{}, ErrMalformed
	}
	d := digest(sha256.Sum256([]byte(token)))
	c, known := v.seen.find(d)
	if known {
		switch key, err := v.keys.key(ctx, c.kid); {
		case err != nil:
			if errors.Is(err, ErrForeign) {
				v.seen.forget(d)
			}
			return Pass{}, err
		case !key.Equal(c.key):
			v.seen.forget(d)
			known = false
		}
	}
	if !known {
		if err := try(); err != nil {
			return Pass{}, err
		}
		var err error
		if c, err = v.signed(ctx, token); err != nil {
			return Pass{}, err
		}
		v.seen.keep(d, c)
	}
	if c.pass.Room != want {
		return Pass{}, ErrOtherRoom
	}
	if !now.Before(c.pass.Expires) {
		return Pass{}, ErrExpired
	}
	return c.pass, nil
}

// signed checks all of a pass but its room and its time.
func (v *Verifier) signed(ctx context.Context, token string) (claimed, error) {
	var (
		c    passClaims
		good claimed
	)
	err := parse(passParser, token, &c, func(kid string) (any, error) {
		key, err := v.keys.key(ctx, kid)
		good.kid, good.key = kid, key
		return key, err
	})
	if err != nil {
		return claimed{}, err
	}
	if c.Typ != typPass || c.Iss != issuer {
		return claimed{}, ErrForeign
	}
	a, err := room.ParseAdmission(c.Jti)
	if err != nil || string(a.Room) != string(c.Aud) || c.Exp <= 0 {
		return claimed{}, ErrMalformed
	}
	good.pass = Pass{Admission: a, Expires: time.Unix(c.Exp, 0)}
	return good, nil
}
