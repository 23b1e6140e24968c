package token

import (
	"crypto/ed25519"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"waitroom/internal/room"
)

// A number that no line gives is malformed, however it is written and though our
// own key signed it.
func TestNumbersNoLineGives(t *testing.T) {
	r := ring(t)
	for _, number := range []string{"0", "-1", "1073741825", "9007199254740992", "9223372036854775807", "9223372036854775808",
		"1e3", "1.5", "1e400", `"42"`, "[42]", "{}", "true", "null"} {
		body := `{"typ":"place","line":"line","room":"show","epoch":"abcdefgh","visitor":"AAAAAAAAAAAAAAAA","number":` + number + `}`
		text := r.placeHead + "." + b64.EncodeToString([]byte(body))
		sum, err := jwt.SigningMethodHS256.Sign(text, r.macs[r.SigningID()])
		if err != nil {
			t.Fatal(err)
		}
		if p, err := r.ParsePlace(t.Context(), text+"."+b64.EncodeToString(sum), "show"); !errors.Is(err, ErrMalformed) {
			t.Errorf("number %s: got %+v, %v, want %v", number, p, err, ErrMalformed)
		}
	}
	last := room.Place{Visitor: place.Visitor, Number: room.MaxNumber}
	if p, err := r.ParsePlace(t.Context(), must(t)(r.Place("show", "abcdefgh", last)), "show"); err != nil || p.Place != last {
		t.Errorf("the last number: got %+v, %v, want it good", p, err)
	}
}

// goldenRing has a key that never changes, so that what it signs can be written
// down.
func goldenRing(t testing.TB) *Keyring {
	t.Helper()
	r, err := NewKeyring(keyOf(ed25519.NewKeyFromSeed([]byte("a seed of 32 bytes, for tests on"))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a key signs stays the same for ever: another derivation or another spelling
// would make the places of a running fleet foreign. The file was made by other
// libraries (HKDF and HMAC of Python), not by this code.
func TestGoldenPlace(t *testing.T) {
	r := goldenRing(t)
	want, err := os.ReadFile("testdata/place.golden")
	if err != nil {
		t.Fatal(err)
	}
	got := must(t)(r.Place("show", "abcdefgh", place))
	if got != strings.TrimSpace(string(want)) {
		t.Errorf("got %s, want %s", got, want)
	}
	lib := jwt.NewWithClaims(jwt.SigningMethodHS256, placeClaims{Typ: typPlace, Line: lineName, Room: "show", Epoch: "abcdefgh", Visitor: place.Visitor, Number: 42})
	lib.Header["kid"] = r.SigningID()
	if want := must(t)(lib.SignedString(r.macs[r.SigningID()])); got != want {
		t.Errorf("got %s, want what the library signs: %s", got, want)
	}
}

// Nothing is a place but what was signed as one.
func FuzzPlace(f *testing.F) {
	r := goldenRing(f)
	good := must(f)(r.Place("show", "abcdefgh", place))
	seeds(f, good, must(f)(r.Pass(admission, now.Add(time.Hour))))
	f.Fuzz(func(t *testing.T, token string) {
		p, err := r.ParsePlace(t.Context(), token, "show")
		switch {
		case err == nil && token != good:
			t.Errorf("got %q accepted as %+v", token, p)
		case err != nil && token == good:
			t.Errorf("got %v, want a good place", err)
		case err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrForeign):
			t.Errorf("got %v for %q, want malformed or foreign", err, token)
		}
	})
}

// What a join costs (sign) and what a return costs (verify), beside the same
// claims signed with Ed25519 as a pass is.
func BenchmarkPlace(b *testing.B) {
	r := ring(b)
	claims := placeClaims{Typ: typPlace, Line: lineName, Room: "show", Epoch: "abcdefgh", Visitor: place.Visitor, Number: 42}
	ed := func() string {
		t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
		t.Header["kid"] = r.SigningID()
		return must(b)(t.SignedString(r.keys[0].private))
	}
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(b)(r.Place("show", "abcdefgh", place))
		}
	})
	b.Run("sign, Ed25519", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ed()
		}
	})
	b.Run("verify", func(b *testing.B) {
		token := must(b)(r.Place("show", "abcdefgh", place))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.ParsePlace(b.Context(), token, "show"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify, Ed25519", func(b *testing.B) {
		token := ed()
		b.ReportAllocs()
		for b.Loop() {
			var c placeClaims
			if err := parse(passParser, token, &c, func(kid string) (any, error) { return r.public[kid], nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
