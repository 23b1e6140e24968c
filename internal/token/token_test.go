package token

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"waitroom/internal/room"
)

var (
	place     = room.Place{Visitor: "AAAAAAAAAAAAAAAA", Number: 42}
	admission = room.Admission{Room: "show", Epoch: "abcdefgh", Number: 42, Visitor: "AAAAAAAAAAAAAAAA"}
	now       = time.Unix(1_800_000_000, 0)
)

func ring(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewKeyring(k)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func must(t testing.TB) func(string, error) string {
	return func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestPlaceAndPassComeBack(t *testing.T) {
	r := ring(t)
	v := r.Verifier()
	p, err := r.ParsePlace(t.Context(), must(t)(r.Place("show", "abcdefgh", place)), "show")
	if want := (Place{"show", "abcdefgh", place}); err != nil || p != want {
		t.Errorf("got %+v, %v, want %+v", p, err, want)
	}
	expires := now.Add(10*time.Minute + 700*time.Millisecond)
	first, second := must(t)(r.Pass(admission, expires)), must(t)(r.Pass(admission, expires))
	if first != second {
		t.Errorf("got two passes for one admission: %s and %s", first, second)
	}
	got, err := v.ParsePass(t.Context(), first, "show", now)
	if want := (Pass{admission, expires.Truncate(time.Second)}); err != nil || got.Admission != want.Admission || !got.Expires.Equal(want.Expires) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if len(first) > 500 {
		t.Errorf("got a pass of %d bytes, want at most 500", len(first))
	}
}

func TestBadTokens(t *testing.T) {
	r, other := ring(t), ring(t)
	v := r.Verifier()
	good := must(t)(r.Place("show", "abcdefgh", place))
	pass := must(t)(r.Pass(admission, now.Add(time.Minute)))
	head, rest, _ := strings.Cut(good, ".")
	body, sig, _ := strings.Cut(rest, ".")
	for _, c := range []struct {
		name, token string
		want        error
	}{
		{"empty", "", ErrMalformed},
		{"no dots", "place", ErrMalformed},
		{"two parts", head + "." + body, ErrMalformed},
		{"four parts", good + ".", ErrMalformed},
		{"not base64", head + ".%%%." + sig, ErrMalformed},
		{"too long", good + strings.Repeat("A", MaxToken), ErrMalformed},
		{"a signature with stray bits", good[:len(good)-1] + string(good[len(good)-1]+1), ErrMalformed},
		{"a shorter signature", head + "." + body + "." + sig[:len(sig)-3], ErrForeign},
		{"an empty signature", head + "." + body + ".", ErrForeign},
		{"another signature", head + "." + body + "." + strings.Repeat("A", len(sig)), ErrForeign},
		{"signed by a stranger", must(t)(other.Place("show", "abcdefgh", place)), ErrForeign},
		{"a pass", pass, ErrForeign},
		{"signed, but no number", must(t)(r.signPlace(placeClaims{Typ: typPlace, Line: lineName, Room: "show", Epoch: "abcdefgh", Visitor: place.Visitor})), ErrMalformed},
		{"signed, of another line", must(t)(r.signPlace(placeClaims{Typ: typPlace, Line: "else", Room: "show", Epoch: "abcdefgh", Visitor: place.Visitor, Number: 1})), ErrForeign},
		{"another room", must(t)(r.Place("other", "abcdefgh", place)), ErrOtherRoom},
	} {
		if _, err := r.ParsePlace(t.Context(), c.token, "show"); !errors.Is(err, c.want) {
			t.Errorf("place, %s: got %v, want %v", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name, token string
		at          time.Time
		want        error
	}{
		{"a place", good, now, ErrForeign},
		{"expired", pass, now.Add(time.Minute), ErrExpired},
		{"the last moment", pass, now.Add(time.Minute - 1), nil},
		{"another room", must(t)(r.Pass(room.Admission{Room: "other", Epoch: "abcdefgh", Number: 1, Visitor: place.Visitor}, now.Add(time.Minute))), now, ErrOtherRoom},
		{"jti of another room than aud", must(t)(r.signPass(passClaims{Typ: typPass, Iss: issuer, Aud: "show", Jti: "other.abcdefgh.1.AAAAAAAAAAAAAAAA", Exp: now.Unix() + 60})), now, ErrMalformed},
		{"another issuer", must(t)(r.signPass(passClaims{Typ: typPass, Iss: "else", Aud: "show", Jti: admission.String(), Exp: now.Unix() + 60})), now, ErrForeign},
		{"no expiry", must(t)(r.signPass(passClaims{Typ: typPass, Iss: issuer, Aud: "show", Jti: admission.String()})), now, ErrMalformed},
	} {
		if _, err := v.ParsePass(t.Context(), c.token, "show", c.at); !errors.Is(err, c.want) {
			t.Errorf("pass, %s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// The call decides the algorithm and the kind: whatever a token says of itself,
// and whichever of our keys signed it, it is one thing only.
func TestTheCallDecides(t *testing.T) {
	r := ring(t)
	kid := r.SigningID()
	private, public, secret := r.keys[0].private, []byte(r.public[kid]), r.macs[kid]
	none := jwt.UnsafeAllowNoneSignatureType
	asPlace := placeClaims{Typ: typPlace, Line: lineName, Room: "show", Epoch: "abcdefgh", Visitor: place.Visitor, Number: 42}
	asPass := passClaims{Typ: typPass, Iss: issuer, Aud: "show", Jti: admission.String(), Exp: now.Unix() + 60}
	swapped, crossed := asPlace, asPass
	swapped.Typ, crossed.Typ = typPass, typPlace
	for _, c := range []struct {
		name   string
		method jwt.SigningMethod
		key    any
		header map[string]any
		claims jwt.Claims
		place  error // of ParsePlace
		pass   error // of ParsePass
	}{
		{"a place as it is", jwt.SigningMethodHS256, secret, nil, asPlace, nil, ErrForeign},
		{"a pass as it is", jwt.SigningMethodEdDSA, private, nil, asPass, ErrForeign, nil},
		{"a place by the key of passes", jwt.SigningMethodEdDSA, private, nil, asPlace, ErrForeign, ErrForeign},
		{"a pass by the key of places", jwt.SigningMethodHS256, secret, nil, asPass, ErrForeign, ErrForeign},
		{"a place without a signature", jwt.SigningMethodNone, none, nil, asPlace, ErrForeign, ErrForeign},
		{"a pass without a signature", jwt.SigningMethodNone, none, nil, asPass, ErrForeign, ErrForeign},
		{"a place, HS384", jwt.SigningMethodHS384, secret, nil, asPlace, ErrForeign, ErrForeign},
		{"a place, HS512", jwt.SigningMethodHS512, secret, nil, asPlace, ErrForeign, ErrForeign},
		{"a place by the public key", jwt.SigningMethodHS256, public, nil, asPlace, ErrForeign, ErrForeign},
		{"a pass by the public key", jwt.SigningMethodHS256, public, nil, asPass, ErrForeign, ErrForeign},
		{"a place by the seed itself", jwt.SigningMethodHS256, private.Seed(), nil, asPlace, ErrForeign, ErrForeign},
		{"a place by no key", jwt.SigningMethodHS256, []byte{}, nil, asPlace, ErrForeign, ErrForeign},
		{"a place of the other kind", jwt.SigningMethodHS256, secret, nil, swapped, ErrForeign, ErrForeign},
		{"a pass of the other kind", jwt.SigningMethodEdDSA, private, nil, crossed, ErrForeign, ErrForeign},
		{"a place whose header says EdDSA", jwt.SigningMethodHS256, secret, map[string]any{"alg": "EdDSA"}, asPlace, ErrForeign, ErrForeign},
		{"a pass whose header says HS256", jwt.SigningMethodEdDSA, private, map[string]any{"alg": "HS256"}, asPass, ErrForeign, ErrForeign},
		{"a place whose header says hs256", jwt.SigningMethodHS256, secret, map[string]any{"alg": "hs256"}, asPlace, ErrMalformed, ErrMalformed},
		{"a place whose header has no alg", jwt.SigningMethodHS256, secret, map[string]any{"alg": nil}, asPlace, ErrMalformed, ErrMalformed},
		{"a place without a kid", jwt.SigningMethodHS256, secret, map[string]any{"kid": ""}, asPlace, ErrForeign, ErrForeign},
		{"a place whose kid is a number", jwt.SigningMethodHS256, secret, map[string]any{"kid": 1}, asPlace, ErrForeign, ErrForeign},
		{"a place whose header typ is pass", jwt.SigningMethodHS256, secret, map[string]any{"typ": "pass"}, asPlace, nil, ErrForeign},
		{"a pass whose header typ is place", jwt.SigningMethodEdDSA, private, map[string]any{"typ": "place"}, asPass, ErrForeign, nil},
	} {
		token := jwt.NewWithClaims(c.method, c.claims)
		token.Header["kid"] = kid
		for k, v := range c.header {
			token.Header[k] = v
		}
		signed := must(t)(token.SignedString(c.key))
		// The sentinels themselves: an error that wrapped the library's could quote
		// the token.
		if _, err := r.ParsePlace(t.Context(), signed, "show"); err != c.place {
			t.Errorf("%s: ParsePlace got %v, want %v", c.name, err, c.place)
		}
		if _, err := r.Verifier().ParsePass(t.Context(), signed, "show", now); err != c.pass {
			t.Errorf("%s: ParsePass got %v, want %v", c.name, err, c.pass)
		}
	}
}

// A token has one spelling: Go's base64 passes over line breaks even when it is
// strict, so a signature could be written in many ways.
func TestTokenHasOneSpelling(t *testing.T) {
	r := ring(t)
	v := r.Verifier()
	place := must(t)(r.Place("show", "abcdefgh", place))
	pass := must(t)(r.Pass(admission, now.Add(time.Minute)))
	for _, add := range []string{"\n", "\r", "\r\n", " ", "=", "\x00"} {
		if _, err := r.ParsePlace(t.Context(), place+add, "show"); !errors.Is(err, ErrMalformed) {
			t.Errorf("a place and %q: got %v, want %v", add, err, ErrMalformed)
		}
		for _, at := range []int{0, len(pass) - 1, len(pass)} {
			if _, err := v.ParsePass(t.Context(), pass[:at]+add+pass[at:], "show", now); !errors.Is(err, ErrMalformed) {
				t.Errorf("a pass with %q at %d: got %v, want %v", add, at, err, ErrMalformed)
			}
		}
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	old := ring(t)
	if err := old.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	both, err := loaded.Prepend(k)
	if err != nil {
		t.Fatal(err)
	}
	if both.SigningID() != k.ID() {
		t.Errorf("got %s signing, want the new %s", both.SigningID(), k.ID())
	}
	if _, err := both.ParsePlace(t.Context(), must(t)(old.Place("show", "abcdefgh", place)), "show"); err != nil {
		t.Errorf("a place of the old key: got %v, want it good", err)
	}
	if _, err := old.ParsePlace(t.Context(), must(t)(both.Place("show", "abcdefgh", place)), "show"); !errors.Is(err, ErrForeign) {
		t.Errorf("a place of the new key, old ring: got %v, want %v", err, ErrForeign)
	}
	if _, err := both.Prepend(k); err == nil {
		t.Error("the same key twice: got no error")
	}
}

// In a fleet each step leaves old and new nodes able to read each other's tokens.
func TestFleetRotation(t *testing.T) {
	first := ring(t)
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	standby, err := first.Standby(k)
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := standby.Promote()
	if err != nil {
		t.Fatal(err)
	}
	dropped, err := promoted.Drop(1)
	if err != nil {
		t.Fatal(err)
	}
	steps := []*Keyring{first, standby, promoted, dropped}
	for i := 1; i < 3; i++ {
		for _, pair := range [][2]*Keyring{{steps[i-1], steps[i]}, {steps[i], steps[i-1]}} {
			if _, err := pair[0].ParsePlace(t.Context(), must(t)(pair[1].Place("show", "abcdefgh", place)), "show"); err != nil {
				t.Errorf("step %d: got %v between the nodes", i, err)
			}
		}
	}
	// A place of the standby key is good from the moment the key is in the file, one
	// of a dropped key never again.
	byStandby, byFirst := must(t)(promoted.Place("show", "abcdefgh", place)), must(t)(first.Place("show", "abcdefgh", place))
	for _, c := range []struct {
		name  string
		ring  *Keyring
		place string
		want  error
	}{
		{"by a key not in the file yet", first, byStandby, ErrForeign},
		{"by the standby key", standby, byStandby, nil},
		{"by the key before", promoted, byFirst, nil},
		{"by a dropped key", dropped, byFirst, ErrForeign},
	} {
		if _, err := c.ring.ParsePlace(t.Context(), c.place, "show"); err != c.want {
			t.Errorf("a place %s: got %v, want %v", c.name, err, c.want)
		}
	}
	if standby.SigningID() != first.SigningID() || promoted.SigningID() != k.ID() || dropped.SigningID() != k.ID() {
		t.Error("got another key signing than the steps say")
	}
	if _, err := first.Promote(); err == nil {
		t.Error("promote without a standby: got no error")
	}
	if _, err := dropped.Drop(1); err == nil {
		t.Error("drop of the last key: got no error")
	}
}

// However a key or a keyring is printed, no secret of it is.
func TestSecretsAreNotPrinted(t *testing.T) {
	r := goldenRing(t)
	kid := r.SigningID()
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, printed := range []any{r, *r, r.keys[0], r.keys} {
			got := fmt.Sprintf(format, printed)
			if !strings.Contains(got, kid) {
				t.Errorf("%s of a %T: got %q, want the kid", format, printed, got)
			}
			for _, secret := range []any{[]byte(r.keys[0].private), r.macs[kid]} {
				text := strings.Trim(fmt.Sprintf(format, secret), "[]}")
				text = text[strings.Index(text, "{")+1:] // what %#v puts before is the type
				if strings.Contains(got, text) {
					t.Errorf("%s of a %T: got a secret printed", format, printed)
				}
			}
		}
	}
}

func TestKeyFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	r := ring(t)
	if err := r.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if strings.Contains(string(r.JWKS()), `"d"`) {
		t.Errorf("got a private key in the public set: %s", r.JWKS())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFile(path); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a file that others read: got %v, want it refused", err)
	}
	for name, content := range map[string]string{"no JSON": "keys", "no keys": `{"keys":[]}`, "public only": string(r.JWKS()),
		"x of another": `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadFile(path); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// seeds adds what was signed, each as it is and with one byte of each part changed.
func seeds(f *testing.F, signed ...string) {
	for _, s := range signed {
		f.Add(s)
		for i := 0; i < len(s); i += len(s) / 8 {
			f.Add(s[:i] + string(s[i]^1) + s[i+1:])
		}
	}
	f.Add("a.b.c")
}

// Nothing is a pass but what was signed as one.
func FuzzParse(f *testing.F) {
	r := goldenRing(f)
	v := r.Verifier()
	good := must(f)(r.Pass(admission, now.Add(time.Hour)))
	seeds(f, good, must(f)(r.Place("show", "abcdefgh", place)))
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := v.ParsePass(t.Context(), token, "show", now); (err == nil) != (token == good) {
			t.Errorf("got %+v, %v for %q", p, err, token)
		}
	})
}
