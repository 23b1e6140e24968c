package psp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/payment"
)

// form is what a browser sends.
func form(path, body string) *http.Request {
	r := httptest.NewRequest("POST", "http://psp.example"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// What is no request as it should be is told so, and changes nothing.
func TestBadRequests(t *testing.T) {
	s := service(t, Config{})
	if got := ask(s, "POST", "/payments", "attempt-1", by(cardOK)); got.status != 200 {
		t.Fatalf("got %+v", got)
	}
	const one = "/payments/by-key/attempt-1"
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		code                    string
	}{
		{"POST", "/payments", "", by(cardOK), 400, "bad_request"},
		{"POST", "/payments", "short", by(cardOK), 400, "bad_request"},
		{"POST", "/payments", strings.Repeat("x", 65), by(cardOK), 400, "bad_request"},
		{"POST", "/payments", "attempt/2", by(cardOK), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", "", 400, "bad_request"},
		{"POST", "/payments", "attempt-2", "null", 400, "bad_request"},
		{"POST", "/payments", "attempt-2", by(cardOK) + "{}", 400, "bad_request"},
		{"POST", "/payments", "attempt-2", strings.Replace(by(cardOK), "method", "card", 1), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", strings.Replace(by(cardOK), "4500", "0", 1), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", strings.Replace(by(cardOK), "4500", "-1", 1), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", strings.Replace(by(cardOK), "4500", "1.5", 1), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", strings.Replace(by(cardOK), "4500", fmt.Sprint(int64(payment.MaxAmount)+1), 1), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", strings.Replace(by(cardOK), "EUR", "eur", 1), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", strings.Replace(by(cardOK), "}", `,"return_url":"javascript:alert(1)"}`, 1), 400, "bad_request"},
		{"POST", "/payments", "attempt-2", by(cardOK) + strings.Repeat(" ", maxBody), 400, "bad_request"},
		{"POST", one + "/capture", "attempt-1", "", 400, "bad_request"},
		{"POST", one + "/capture", "attempt-1", eur("0"), 400, "bad_request"},
		{"POST", one + "/capture", "attempt-1", eur("4501"), 422, "too_much"},
		{"POST", one + "/capture", "attempt-1", strings.Replace(eur("4500"), "EUR", "USD", 1), 422, "currency_differs"},
		{"POST", one + "/void", "attempt-1", "{}", 400, "bad_request"},
		{"POST", one + "/refund", "refund-1", eur("1"), 409, "wrong_state"},
		{"POST", "/payments/by-key/attempt-9/void", "attempt-9", "", 404, "no_such_payment"},
		{"GET", "/payments/by-key/attempt-9", "", "", 404, "no_such_payment"},
		{"POST", "/faults", "", `{"declines":2}`, 400, "bad_request"},
		{"POST", "/faults", "", `{"latency":"-1s"}`, 400, "bad_request"},
		{"POST", "/faults", "", `{"latency":"soon"}`, 400, "bad_request"},
		{"POST", "/faults", "", `{"latencies":"1s"}`, 400, "bad_request"},
	} {
		if got := ask(s, c.method, c.path, c.key, c.body); got.status != c.status || got.Code != c.code {
			t.Errorf("%s %s %.20s %.60s: got %d %s, want %d %s", c.method, c.path, c.key, c.body, got.status, got.text, c.status, c.code)
		}
	}
	if b := books(t, s); len(b.Entries) != 1 {
		t.Errorf("got %+v, want the one entry", b.Entries)
	}
	if f := s.dice.now(); f != (Faults{}) {
		t.Errorf("got %+v, want no faults", f)
	}
	for path, want := range map[string]int{"/pay/pay_x": 404, "/payments": 405, "/": 404} {
		if got := ask(s, "GET", path, "", ""); got.status != want {
			t.Errorf("GET %s: got %d, want %d", path, got.status, want)
		}
	}
	if got := serve(s, form("/pay/pay_x", "answer=approve")); got.status != 404 {
		t.Errorf("a page of nobody: got %+v", got)
	}
}

// While a request is served, the same one is told so; then it has the same answer.
func TestAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, Config{Faults: Faults{Latency: Span(time.Second)}})
		var first reply
		done := make(chan struct{})
		go func() { defer close(done); first = ask(s, "POST", "/payments", "attempt-1", by(cardOK)) }() // awaited below
		synctest.Wait()
		if got := ask(s, "POST", "/payments", "attempt-1", by(cardOK)); got.status != 409 || got.Code != "in_progress" {
			t.Errorf("beside it: got %+v", got)
		}
		if got := ask(s, "POST", "/payments", "attempt-2", by(cardOK)); got.status != 200 {
			t.Errorf("another: got %+v", got)
		}
		<-done
		if got := ask(s, "POST", "/payments", "attempt-1", by(cardOK)); got.text != first.text || first.status != 200 {
			t.Errorf("after it: got %+v, want %+v", got, first)
		}
	})
}

// A request that is done and never answered keeps nobody with the same key waiting, and is
// cut at last.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, Config{})
		began := time.Now()
		var first reply
		done := make(chan struct{})
		go func() { defer close(done); first = ask(s, "POST", "/payments", "attempt-1", by(cardTimeout)) }() // awaited below
		synctest.Wait()
		if got := ask(s, "POST", "/payments", "attempt-1", by(cardTimeout)); got.status != 200 || got.State != payment.Authorised || time.Since(began) != 0 {
			t.Errorf("a repeat beside it: got %+v after %s, want authorised at once", got, time.Since(began))
		}
		<-done
		if first.status != 0 || time.Since(began) != hangs {
			t.Errorf("got %+v after %s, want a cut after %s", first, time.Since(began), hangs)
		}
	})
}

// Many at once by one key: it is done once, and all who are answered hear the same.
func TestOneKeyTogether(t *testing.T) {
	s := service(t, Config{Journal: t.TempDir() + "/journal"})
	ask(s, "POST", "/payments", "attempt-1", by(cardOK))
	start := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 16 {
		all.Go(func() {
			<-start
			for range 20 {
				got := ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500"))
				if got.Code == "in_progress" {
					continue
				}
				mu.Lock()
				answers[got.text]++
				mu.Unlock()
			}
		})
	}
	for i := range 8 {
		all.Go(func() {
			<-start
			for j := range 20 {
				ask(s, "POST", "/payments", fmt.Sprintf("attempt-%d", 100+20*i+j), by(cardOK))
			}
		})
	}
	close(start)
	all.Wait()
	if len(answers) != 1 {
		t.Errorf("got %d answers, want one: %v", len(answers), answers)
	}
	b := books(t, s)
	balance(t, b)
	if len(b.Entries) != 2+160 || b.Sums["EUR"].Captured != 4500 {
		t.Errorf("got %d entries and %+v, want 162 and 4500 captured", len(b.Entries), b.Sums)
	}
}

// An authorisation, and a page that nobody answers, end by themselves; what was captured
// stays.
func TestLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, Config{})
		for key, card := range map[string]string{"attempt-1": cardOK, "attempt-2": cardRedirect, "attempt-3": cardOK} {
			ask(s, "POST", "/payments", key, by(card))
		}
		ask(s, "POST", "/payments/by-key/attempt-3/capture", "attempt-3", eur("4500"))
		time.Sleep(7*24*time.Hour - time.Second) // the bubble's time
		look := func(key string) payment.Outcome { return ask(s, "GET", "/payments/by-key/"+key, "", "").State }
		if a, b := look("attempt-1"), look("attempt-2"); a != payment.Authorised || b != payment.Pending {
			t.Errorf("a second before: got %s, %s", a, b)
		}
		time.Sleep(time.Second) // the bubble's time
		if a, b, c := look("attempt-1"), look("attempt-2"), look("attempt-3"); a != payment.Voided || b != payment.Voided || c != payment.Captured {
			t.Errorf("after 7 days: got %s, %s, %s, want voided, voided, captured", a, b, c)
		}
		if got := ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500")); got.Code != "wrong_state" {
			t.Errorf("a capture then: got %+v", got)
		}
		if got, want := s.Sums()["EUR"], (Sums{Payments: 3, Authorised: 9000, Captured: 4500, Released: 4500, Net: 4500}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// A payment that is approved late lapses later, and keeps none behind it.
func TestLapseAfterApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, Config{Lapse: 24 * time.Hour})
		page := ask(s, "POST", "/payments", "attempt-1", by(cardRedirect))
		ask(s, "POST", "/payments", "attempt-2", by(cardOK))
		time.Sleep(3 * time.Hour) // the bubble's time
		serve(s, form("/pay/"+page.ID, "answer=approve"))
		states := func() string {
			return string(ask(s, "GET", "/payments/by-key/attempt-1", "", "").State + " " + ask(s, "GET", "/payments/by-key/attempt-2", "", "").State)
		}
		time.Sleep(21 * time.Hour) // the bubble's time
		if got := states(); got != "authorised voided" {
			t.Errorf("24 h after both: got %s, want authorised voided", got)
		}
		time.Sleep(3 * time.Hour) // the bubble's time
		if got := states(); got != "voided voided" {
			t.Errorf("24 h after the approval: got %s, want voided voided", got)
		}
	})
}

// Shares are drawn by the seed: the same requests meet the same faults, another seed others.
func TestSeed(t *testing.T) {
	run := func(seed uint64) (text string) {
		s := service(t, Config{Seed: seed, Faults: Faults{Declines: 0.5, Errors: 0.2, HTML: 0.2, Cuts: 0.2}})
		for i := range 40 {
			got := ask(s, "POST", "/payments", fmt.Sprintf("attempt-%d", i), by(cardOK))
			text += fmt.Sprint(got.status, got.State, got.kind == "application/json", " ")
		}
		return text
	}
	one := run(7)
	if again := run(7); again != one {
		t.Errorf("the same seed: got %s\nand %s", one, again)
	}
	if run(8) == one {
		t.Error("another seed meets the same faults")
	}
	for _, part := range []string{"200authorised", "200declined", "500", "200false", "0false"} {
		if !strings.Contains(one, part) {
			t.Errorf("%q did not come in 40: %s", part, one)
		}
	}
}

// A request takes as long as the faults say; switched off, no time.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, Config{Faults: Faults{Latency: Span(time.Second), Jitter: Span(time.Second), Slow: Span(time.Minute)}})
		took := func(key, card string) time.Duration {
			began := time.Now()
			if got := ask(s, "POST", "/payments", key, by(card)); got.status != 200 {
				t.Errorf("got %+v", got)
			}
			return time.Since(began)
		}
		if d := took("attempt-1", cardOK); d < time.Second || d >= 2*time.Second {
			t.Errorf("took %s, want 1 s to 2 s", d)
		}
		if d := took("attempt-2", cardSlow); d < time.Minute+time.Second {
			t.Errorf("the slow card took %s, want more than a minute", d)
		}
		ask(s, "POST", "/faults", "", `{"latency":"0s","jitter":"0s"}`)
		if d := took("attempt-3", cardOK); d != 0 {
			t.Errorf("took %s, want none", d)
		}
		if d := took("attempt-4", cardSlow); d != time.Minute {
			t.Errorf("the slow card took %s, want what was not changed", d)
		}
	})
}

// At its bounds the service refuses, and what was done stays.
func TestBounds(t *testing.T) {
	s := service(t, Config{})
	ask(s, "POST", "/payments", "attempt-1", by(cardOK))
	ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500"))
	refund := func(i int) reply {
		return ask(s, "POST", "/payments/by-key/attempt-1/refund", fmt.Sprintf("refund-%d", i), eur("1"))
	}
	for i := range maxRefunds {
		if got := refund(i); got.status != 200 {
			t.Fatalf("refund %d: got %+v", i, got)
		}
	}
	if got := refund(maxRefunds); got.status != 422 || got.Code != "too_many_refunds" {
		t.Errorf("one more refund: got %+v", got)
	}
	for i := range maxPayments - 1 {
		k := fmt.Sprintf("filler-%d", i)
		s.ledger.payments[k] = &record{} // the rule looks at how many there are
	}
	if got := ask(s, "POST", "/payments", "attempt-2", by(cardOK)); got.status != 503 || got.Code != "full" {
		t.Errorf("one more payment: got %+v", got)
	}
	for range maxServed {
		s.slots <- struct{}{}
	}
	if got := ask(s, "GET", "/payments/by-key/attempt-1", "", ""); got.status != 503 || got.Code != "busy" {
		t.Errorf("one more request: got %+v", got)
	}
}

// Closed under a request that hangs: it goes, and what comes later is told that the ledger
// can't be written.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, Config{Journal: t.TempDir() + "/journal"})
		hung := make(chan reply)
		go func() { hung <- ask(s, "POST", "/payments", "attempt-1", by(cardTimeout)) }() // awaited below
		synctest.Wait()
		began := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("got %v", err)
		}
		if got := <-hung; got.status != 0 || time.Since(began) != 0 {
			t.Errorf("who hung: got %+v after %s, want a cut at once", got, time.Since(began))
		}
		if err := s.Close(); err != nil {
			t.Errorf("again: got %v", err)
		}
		if got := ask(s, "POST", "/payments", "attempt-2", by(cardOK)); got.status != 500 {
			t.Errorf("later: got %+v, want 500", got)
		}
		if err := s.Run(t.Context()); err == nil {
			t.Error("Run goes on without a journal")
		}
	})
}
