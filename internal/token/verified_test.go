package token

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/room"
)

// known reports whether a verifier remembers a pass: then nobody has to let it try.
func known(v *Verifier, pass string) bool {
	asked := errors.New("asked")
	_, err := v.TryPass(context.Background(), pass, "", now, func() error { return asked })
	return !errors.Is(err, asked)
}

// What is remembered answers as what is verified: its room and its time are looked at
// each time.
func TestKnownPassesAreStillJudged(t *testing.T) {
	r := ring(t)
	v := r.Verifier()
	pass := must(t)(r.Pass(admission, now.Add(time.Minute)))
	if known(v, pass) {
		t.Error("got a pass known that was never shown")
	}
	for _, c := range []struct {
		room room.Name
		at   time.Time
		want error
	}{
		{"show", now, nil},
		{"show", now, nil},
		{"other", now, ErrOtherRoom},
		{"show", now.Add(time.Minute - time.Nanosecond), nil},
		{"show", now.Add(time.Minute), ErrExpired},
		{"show", now, nil},
	} {
		got, err := v.ParsePass(t.Context(), pass, c.room, c.at)
		if !errors.Is(err, c.want) || err == nil && got.Admission != admission {
			t.Errorf("%s at %s: got %+v, %v, want %v", c.room, c.at, got, err, c.want)
		}
		if !known(v, pass) {
			t.Errorf("%s at %s: got a pass unknown that was verified", c.room, c.at)
		}
	}
}

// Who is let try is asked once for each pass that is not known, be it formed or not, and
// never for one that is; where it says no, nothing is verified and nothing kept.
func TestTryPass(t *testing.T) {
	v := ring(t).Verifier()
	r := ring(t)
	v.keys = r.public
	pass := must(t)(r.Pass(admission, now.Add(time.Minute)))
	errFull := errors.New("no try left")
	for _, c := range []struct {
		what, text string
		try        error
		asked      int
		want       error
	}{
		{"refused", pass, errFull, 1, errFull},
		{"refused again", pass, errFull, 1, errFull},
		{"too long", strings.Repeat("x", MaxToken+1), errFull, 1, errFull},
		{"too long, and let try", strings.Repeat("x", MaxToken+1), nil, 1, ErrMalformed},
		{"forged", pass[:len(pass)-8] + "AAAAAAAA", nil, 1, ErrForeign},
		{"let try", pass, nil, 1, nil},
		{"known", pass, errFull, 0, nil},
		{"forged again", pass[:len(pass)-8] + "AAAAAAAA", nil, 1, ErrForeign},
	} {
		asked := 0
		_, err := v.TryPass(t.Context(), c.text, "show", now, func() error { asked++; return c.try })
		if !errors.Is(err, c.want) || asked != c.asked {
			t.Errorf("%s: got %v, asked %d times, want %v, %d", c.what, err, asked, c.want, c.asked)
		}
	}
	// Another key under its name: it is a stranger's again.
	other := ring(t)
	v.keys = publicKeys{r.SigningID(): other.public[other.SigningID()]}
	if _, err := v.TryPass(t.Context(), pass, "show", now, func() error { return errFull }); !errors.Is(err, errFull) {
		t.Errorf("its key was changed: got %v, want %v", err, errFull)
	}
}

// Nothing of what is refused is remembered, and a text that differs in one character
// from a known one is another.
func TestOnlyGoodPassesAreKnown(t *testing.T) {
	r, stranger := ring(t), ring(t)
	v := r.Verifier()
	pass := must(t)(r.Pass(admission, now.Add(time.Minute)))
	if _, err := v.ParsePass(t.Context(), pass, "show", now); err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndexByte(pass, '.') + 1
	for _, c := range []struct {
		text string
		want error
	}{
		{"", ErrMalformed}, {"x", ErrMalformed}, {pass + "\n", ErrMalformed}, {strings.Repeat("x", MaxToken+1), ErrMalformed},
		{pass[:last] + strings.Repeat("A", len(pass)-last), ErrForeign},
		{must(t)(stranger.Pass(admission, now.Add(time.Minute))), ErrForeign},
	} {
		for range 2 {
			if _, err := v.ParsePass(t.Context(), c.text, "show", now); !errors.Is(err, c.want) || known(v, c.text) {
				t.Errorf("%.20s: got %v, known %t, want %v and nothing kept", c.text, err, known(v, c.text), c.want)
			}
		}
	}
	if got := v.seen.len(); got != 1 {
		t.Errorf("got %d passes kept, want the good one", got)
	}
}

// A key that is taken out of the set ends the passes that were verified with it, and so
// does another key under its name.
func TestKnownPassesEndWithTheirKey(t *testing.T) {
	old, next := ring(t), ring(t)
	pass := must(t)(old.Pass(admission, time.Now().Add(100*time.Hour)))
	impostor := strings.ReplaceAll(string(next.JWKS()), next.SigningID(), old.SigningID())
	keys, err := parsePublic([]byte(impostor))
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(old.public)
	if _, err := v.ParsePass(t.Context(), pass, "show", time.Now()); err != nil {
		t.Fatal(err)
	}
	v.keys = keys
	if _, err := v.ParsePass(t.Context(), pass, "show", time.Now()); !errors.Is(err, ErrForeign) || known(v, pass) {
		t.Errorf("another key under its name: got %v, known %t, want %v", err, known(v, pass), ErrForeign)
	}
	synctest.Test(t, func(t *testing.T) {
		serving := old
		remote := newRemote("http://keys")
		remote.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			if serving == nil {
				return nil, errors.New("refused")
			}
			w := httptest.NewRecorder()
			w.Write(serving.JWKS())
			return w.Result(), nil
		})
		v := newVerifier(remote)
		check := func(what string, want error) {
			t.Helper()
			if _, err := v.ParsePass(t.Context(), pass, "show", time.Now()); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", what, err, want)
			}
		}
		check("verified", nil)
		check("known", nil)
		serving = next
		check("dropped, within the age of the set", nil)
		time.Sleep(maxAge + time.Second)
		check("dropped", ErrForeign)
		if known(v, pass) {
			t.Error("dropped: got the pass still known")
		}
		serving = nil
		time.Sleep(maxAge + time.Second)
		check("the set is away", ErrForeign)
	})
}

// The count is bounded, and who goes on showing a pass keeps it known.
func TestKnownPassesAreBounded(t *testing.T) {
	const most = 10
	r := ring(t)
	v := &Verifier{keys: r.public, seen: newVerified(most)}
	show := func(n int) string {
		a := admission
		a.Number = room.Number(n)
		pass := must(t)(r.Pass(a, now.Add(time.Minute)))
		if _, err := v.ParsePass(t.Context(), pass, "show", now); err != nil {
			t.Fatal(err)
		}
		return pass
	}
	busy := show(1)
	quiet := show(2)
	for n := range 10 * most {
		show(100 + n)
		if n%(most/2) == 0 {
			show(1)
		}
		if got := v.seen.len(); got > 2*most {
			t.Fatalf("got %d passes known, want at most %d", got, 2*most)
		}
	}
	if !known(v, busy) || known(v, quiet) {
		t.Errorf("got the busy one known %t, the quiet one %t, want true and false", known(v, busy), known(v, quiet))
	}
}

// BenchmarkParsePass says what a pass costs when it is shown first, again, and forged.
func BenchmarkParsePass(b *testing.B) {
	r := ring(b)
	pass := must(b)(r.Pass(admission, now.Add(time.Minute)))
	last := strings.LastIndexByte(pass, '.') + 1
	forged := pass[:last] + strings.Repeat("A", len(pass)-last) // the key is known, so the signature has to be looked at
	b.Run("first", func(b *testing.B) {
		v := r.Verifier()
		for b.Loop() {
			if _, err := v.signed(b.Context(), pass); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		v := r.Verifier()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := v.ParsePass(b.Context(), pass, "show", now); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("forged", func(b *testing.B) {
		v := r.Verifier()
		for b.Loop() {
			if _, err := v.ParsePass(b.Context(), forged, "show", now); err == nil {
				b.Fatal("got a forged pass taken")
			}
		}
	})
}
