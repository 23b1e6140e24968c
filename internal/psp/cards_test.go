package psp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"waitroom/internal/payment"
)

// patience of the clients here, with what does not answer.
const patience = 400 * time.Millisecond

// pair is the real client and the service, over real sockets.
func pair(t *testing.T, config Config) (*payment.Client, *Service, string) {
	t.Helper()
	s := service(t, config)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(func() { _ = s.Close() }) // before the server's: it lets go of those that hang
	c, err := payment.New(payment.Config{URL: server.URL, Key: config.APIKey, Trip: 1000,
		Limits: payment.Limits{Authorise: patience, Capture: patience, Void: patience, Refund: patience, Look: patience}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, s, server.URL
}

func attempt(name string) payment.Attempt {
	return payment.Attempt{Key: "attempt-" + name, Amount: 4500, Currency: "EUR"}
}

// want compares what is known after a call, but for the reference.
func want(t *testing.T, what string, got payment.Result, err error, outcome payment.Outcome, reason string, sentinel error) {
	t.Helper()
	if got.Outcome != outcome || got.Reason != reason || !errors.Is(err, sentinel) {
		t.Errorf("%s: got %+v, %v, want %s %s, %v", what, got, err, outcome, reason, sentinel)
	}
}

// Each test card, with what a look says afterwards and a repeat by the same key.
func TestCards(t *testing.T) {
	c, s, _ := pair(t, Config{Faults: Faults{Slow: Span(time.Millisecond)}})
	seen := map[string]bool{}
	for _, card := range []struct {
		token   string
		first   payment.Outcome
		reason  string
		err     error
		looked  payment.Outcome
		again   payment.Outcome
		reasons string // of the repeat
	}{
		{cardOK, payment.Authorised, "", nil, payment.Authorised, payment.Authorised, ""},
		{cardDeclined, payment.Declined, payment.ReasonCard, nil, payment.Declined, payment.Declined, payment.ReasonCard},
		{cardFunds, payment.Declined, payment.ReasonFunds, nil, payment.Declined, payment.Declined, payment.ReasonFunds},
		{"card_of_nobody", payment.Declined, payment.ReasonNoCard, nil, payment.Declined, payment.Declined, payment.ReasonNoCard},
		{cardTimeout, payment.Unknown, payment.ReasonTimeOut, payment.ErrUnknown, payment.Authorised, payment.Authorised, ""},
		{card500, payment.Unknown, payment.ReasonServer, payment.ErrUnknown, payment.Absent, payment.Unknown, payment.ReasonServer},
		{cardHTML, payment.Unknown, payment.ReasonAnswer, payment.ErrUnknown, payment.Absent, payment.Unknown, payment.ReasonAnswer},
		{cardSlow, payment.Authorised, "", nil, payment.Authorised, payment.Authorised, ""},
		{cardRedirect, payment.Pending, "", nil, payment.Pending, payment.Pending, ""},
		{cardLate, payment.Authorised, "", nil, payment.Authorised, payment.Authorised, ""},
		{cardDouble, payment.Authorised, "", nil, payment.Authorised, payment.Authorised, ""},
		{cardForged, payment.Authorised, "", nil, payment.Authorised, payment.Authorised, ""},
	} {
		seen[card.token] = true
		a, m := attempt(card.token), payment.Method{Token: payment.Secret(card.token)}
		got, err := c.Authorise(t.Context(), a, m)
		want(t, card.token, got, err, card.first, card.reason, card.err)
		got, err = c.Look(t.Context(), a)
		if got.Outcome != card.looked || err != nil {
			t.Errorf("%s, looked at: got %+v, %v, want %s", card.token, got, err, card.looked)
		}
		got, err = c.Authorise(t.Context(), a, m)
		want(t, card.token+" again", got, err, card.again, card.reasons, unless(card.again != payment.Unknown, payment.ErrUnknown))
	}
	for _, card := range Cards {
		if !seen[card.Token] {
			t.Errorf("%s is a card and was not tried", card.Token)
		}
	}
	if held := s.Sums()["EUR"].Held; held != 6*4500 {
		t.Errorf("held %d, want the six that pay, once each", held)
	}
}

// unless is err, or none.
func unless(well bool, err error) error {
	if well {
		return nil
	}
	return err
}

// What comes of a payment after its authorisation, in the client's words.
func TestLife(t *testing.T) {
	c, s, _ := pair(t, Config{})
	ctx := t.Context()
	ok := payment.Method{Token: cardOK}
	a := attempt("captured")
	got, err := c.Authorise(ctx, a, ok)
	want(t, "authorise", got, err, payment.Authorised, "", nil)
	for range 2 {
		got, err = c.Capture(ctx, a)
		want(t, "capture", got, err, payment.Captured, "", nil)
	}
	got, err = c.Void(ctx, a)
	want(t, "void of what is captured", got, err, payment.Refused, payment.ReasonState, payment.ErrRefused)
	for range 2 {
		got, err = c.Refund(ctx, a, payment.Refund{Key: "refund-1", Amount: 1000})
		want(t, "refund of a part", got, err, payment.Refunded, "", nil)
	}
	got, err = c.Look(ctx, a)
	want(t, "look", got, err, payment.Captured, "", nil)
	if got.Captured != 4500 || got.Refunded != 1000 {
		t.Errorf("after a part: got %+v", got)
	}
	got, err = c.Refund(ctx, a, payment.Refund{Key: "refund-2", Amount: 3501})
	want(t, "refund of more than is left", got, err, payment.Refused, payment.ReasonTooMuch, payment.ErrRefused)
	got, err = c.Refund(ctx, a, payment.Refund{Key: "refund-1", Amount: 1001})
	want(t, "another refund by the same key", got, err, payment.Refused, payment.ReasonKeyReused, payment.ErrRefused)
	got, err = c.Refund(ctx, a, payment.Refund{Key: "refund-2", Amount: 3500})
	want(t, "refund of the rest", got, err, payment.Refunded, "", nil)
	got, err = c.Look(ctx, a)
	want(t, "look", got, err, payment.Refunded, "", nil)
	got, err = c.Capture(ctx, a)
	want(t, "capture once more", got, err, payment.Captured, "", nil) // as it was answered then

	b := attempt("voided-1")
	_, _ = c.Authorise(ctx, b, ok)
	for range 2 {
		got, err = c.Void(ctx, b)
		want(t, "void", got, err, payment.Voided, "", nil)
	}
	got, err = c.Capture(ctx, b)
	want(t, "capture of what is voided", got, err, payment.Refused, payment.ReasonState, payment.ErrRefused)
	other := b
	other.Amount = 1
	got, err = c.Authorise(ctx, other, ok)
	want(t, "another sum by the same key", got, err, payment.Refused, payment.ReasonKeyReused, payment.ErrRefused)
	got, err = c.Look(ctx, other)
	want(t, "look for another sum", got, err, payment.Refused, payment.ReasonAmountDiffers, payment.ErrRefused)
	got, err = c.Capture(ctx, attempt("nobody-s"))
	want(t, "capture of nothing", got, err, payment.Absent, "", nil)

	if got, want := s.Sums()["EUR"], (Sums{Payments: 2, Authorised: 9000, Captured: 4500, Released: 4500, Refunded: 4500}); got != want {
		t.Errorf("sums: got %+v, want %+v", got, want)
	}
}

// The payer decides on the page, and is brought back.
func TestRedirect(t *testing.T) {
	c, _, _ := pair(t, Config{})
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer browser.CloseIdleConnections()
	for answer, outcome := range map[string]payment.Outcome{"approve": payment.Authorised, "refuse": payment.Declined} {
		a := attempt(answer + "-1")
		got, err := c.Authorise(t.Context(), a, payment.Method{Token: cardRedirect, Return: "https://shop.example/back?x=1"})
		want(t, answer, got, err, payment.Pending, "", nil)
		for _, decided := range []bool{false, true} {
			page, err := browser.Get(got.Redirect)
			if err != nil {
				t.Fatal(err)
			}
			page.Body.Close()
			if page.StatusCode != 200 || page.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("%s: the page, decided %v: %s", answer, decided, page.Status)
			}
			for _, pressed := range []string{"nonsense", answer, answer} {
				res, err := browser.PostForm(got.Redirect, url.Values{"answer": {pressed}})
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if pressed == answer && (res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "https://shop.example/back?x=1") || pressed != answer && res.StatusCode != 400 {
					t.Errorf("%s: got %s to %s", pressed, res.Status, res.Header.Get("Location"))
				}
			}
		}
		looked, err := c.Look(t.Context(), a)
		if looked.Outcome != outcome || looked.Redirect != "" || err != nil {
			t.Errorf("%s: got %+v, %v, want %s", answer, looked, err, outcome)
		}
	}
}

// A client that waits no longer, before anything was done: nothing is.
func TestSlowerThanTheClient(t *testing.T) {
	c, _, _ := pair(t, Config{Faults: Faults{Slow: Span(time.Minute)}})
	a := attempt("too-slow")
	got, err := c.Authorise(t.Context(), a, payment.Method{Token: cardSlow})
	want(t, "too slow", got, err, payment.Unknown, payment.ReasonTimeOut, payment.ErrUnknown)
	got, err = c.Authorise(t.Context(), a, payment.Method{Token: cardOK})
	if got.Outcome == payment.Unknown && got.Reason == payment.ReasonInProgress {
		// The service has not seen the first one go yet.
		got, err = c.Look(t.Context(), a)
		want(t, "looked at", got, err, payment.Absent, "", nil)
		return
	}
	want(t, "another card", got, err, payment.Authorised, "", nil)
}

// The whole service away, a key that is not its own, and nobody there at all.
func TestServiceAway(t *testing.T) {
	c, s, base := pair(t, Config{APIKey: "k3y"})
	a := attempt("away-1")
	got, err := c.Authorise(t.Context(), a, payment.Method{Token: cardOK})
	want(t, "with the key", got, err, payment.Authorised, "", nil)
	stranger, err := payment.New(payment.Config{URL: base, Key: "another"})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	got, err = stranger.Capture(t.Context(), a)
	want(t, "with another key", got, err, payment.Unknown, payment.ReasonKey, payment.ErrUnknown)
	if r := ask(s, "POST", "/faults", "", `{"outage":true}`); r.status != 200 {
		t.Fatalf("faults: %+v", r)
	}
	got, err = c.Capture(t.Context(), a)
	want(t, "in an outage", got, err, payment.Unknown, payment.ReasonLost, payment.ErrUnknown)
	ask(s, "POST", "/faults", "", `{"outage":false}`)
	got, err = c.Look(t.Context(), a)
	want(t, "after it", got, err, payment.Authorised, "", nil)

	gone := httptest.NewServer(s)
	gone.Close()
	nobody, err := payment.New(payment.Config{URL: gone.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	got, err = nobody.Capture(context.Background(), a)
	want(t, "nobody there", got, err, "", "", payment.ErrAway)
}
