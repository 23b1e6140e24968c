package token

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"waitroom/internal/room"
)

// unchecked satisfies the library's Claims. We ask it for form and signature
// only: what the claims must say is ours to check, with the caller's clock.
type unchecked struct{}

func (unchecked) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (unchecked) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (unchecked) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (unchecked) GetIssuer() (string, error)                   { return "", nil }
func (unchecked) GetSubject() (string, error)                  { return "", nil }
func (unchecked) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

type placeClaims struct {
	unchecked
	Typ     string         `json:"typ"`
	Line    string         `json:"line"`
	Room    room.Name      `json:"room"`
	Epoch   room.Epoch     `json:"epoch"`
	Visitor room.VisitorID `json:"visitor"`
	Number  room.Number    `json:"number"`
}

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

// Place is a verified place.
type Place struct {
	Room  room.Name
	Epoch room.Epoch
	room.Place
}

// Pass is a verified pass.
type Pass struct {
	room.Admission
	Expires time.Time
}

// Place signs the place of a visitor in a room's line. It has no expiry: it ends
// with its epoch.
func (r *Keyring) Place(name room.Name, epoch room.Epoch, p room.Place) (string, error) {
	return r.sign(placeClaims{Typ: typPlace, Line: lineName, Room: name, Epoch: epoch, Visitor: p.Visitor, Number: p.Number})
}

// Pass signs the pass of an admission. The same admission and expiry give the
// same bytes; the expiry is cut to whole seconds, so a pass never outlives its
// slot.
func (r *Keyring) Pass(a room.Admission, expires time.Time) (string, error) {
	return r.sign(passClaims{Typ: typPass, Iss: issuer, Aud: audience(a.Room), Jti: a.String(), Exp: expires.Unix()})
}

func (r *Keyring) sign(c jwt.Claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"] = r.keys[0].id
	return t.SignedString(r.keys[0].private)
}
