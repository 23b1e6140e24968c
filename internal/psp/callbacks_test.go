package psp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitroom/internal/payment"
)

// shop takes callbacks in the place of a network.
type shop struct {
	status func(n int) int // of the n-th, from 1; nil: 200

	mu    sync.Mutex
	heard []heard // guarded by mu
	now   int     // under way; guarded by mu
	most  int     // ever; guarded by mu
	slow  time.Duration
}

// heard is a callback, as the shop sees it.
type heard struct {
	after time.Duration // since the start
	id    string
	state payment.Outcome
	err   error
}

var theSecrets = []payment.Secret{"new", "old"}

func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body) // from memory
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	if s.slow > 0 {
		select {
		case <-time.After(s.slow):
		case <-r.Context().Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			s.now--
			return nil, r.Context().Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	c, err := payment.VerifyCallback(r.Header.Get("Signature"), body, time.Now(), theSecrets[len(s.heard)%2])
	h := heard{after: time.Since(epoch), id: c.ID, err: err}
	if err == nil {
		result, _ := c.Result(payment.Attempt{Key: c.Key, Amount: c.Amount, Currency: c.Currency}) // its own
		h.state = result.Outcome
	}
	s.heard = append(s.heard, h)
	status := 200
	if s.status != nil {
		status = s.status(len(s.heard))
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: http.NoBody, Header: http.Header{}}, nil
}

func (s *shop) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, h := range s.heard {
		said := string(h.state)
		if h.err != nil {
			said = h.err.(*payment.CallbackError).Code
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", h.after, h.id, said))
	}
	return strings.Join(lines, "\n")
}

// epoch is when a bubble's time begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// told runs a service that calls a shop back, in a time of their own.
func told(t *testing.T, config Config, to *shop, story func(*testing.T, *Service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config.CallbackURL, config.Secrets = "http://shop.example/callback", theSecrets
		s := service(t, config)
		s.sender.client.Transport = to
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- s.Run(ctx) }() // ends with ctx, awaited below
		story(t, s)
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: got %v", err)
		}
	})
}

func wantHeard(t *testing.T, what string, to *shop, want ...string) {
	t.Helper()
	if got := to.String(); got != strings.Join(want, "\n") {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
	}
}

// Every change is told, signed with each secret; what changed nothing is not.
func TestCallbacks(t *testing.T) {
	to := &shop{}
	told(t, Config{Lapse: time.Hour}, to, func(t *testing.T, s *Service) {
		for range 2 {
			ask(s, "POST", "/payments", "attempt-1", by(cardOK))
			synctest.Wait()
			ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500"))
			synctest.Wait()
			ask(s, "POST", "/payments/by-key/attempt-1/refund", "refund-1", eur("4500"))
			synctest.Wait()
			ask(s, "POST", "/payments/by-key/attempt-1/void", "attempt-1", "")
			ask(s, "POST", "/payments", "attempt-2", by(cardDeclined))
			synctest.Wait()
		}
		page := ask(s, "POST", "/payments", "attempt-3", by(cardRedirect))
		synctest.Wait()
		serve(s, form("/pay/"+page.ID, "answer=approve"))
		synctest.Wait()
		time.Sleep(2 * time.Hour) // the bubble's time
		wantHeard(t, "all", to, "0s evt_1 authorised", "0s evt_2 captured", "0s evt_3 refunded", "0s evt_4 declined",
			"0s evt_5 pending", "0s evt_6 authorised", "1h0m0s evt_7 voided")
		if got := s.sender.counts(); got != (Callbacks{Delivered: 7}) {
			t.Errorf("got %+v", got)
		}
	})
}

// The cards whose callbacks go wrong.
func TestCardsOfCallbacks(t *testing.T) {
	for card, want := range map[string][]string{
		cardLate:   {"30s evt_1 authorised"},
		cardDouble: {"0s evt_1 authorised", "0s evt_1 authorised"},
		cardForged: {"0s evt_1 authorised", "0s  callback_forged"},
	} {
		to := &shop{}
		told(t, Config{Faults: Faults{Late: Span(30 * time.Second)}}, to, func(t *testing.T, s *Service) {
			ask(s, "POST", "/payments", "attempt-1", by(card))
			time.Sleep(29 * time.Second) // the bubble's time
			if card == cardLate {
				wantHeard(t, "early", to)
			}
			time.Sleep(time.Minute) // the bubble's time
			got := strings.Split(to.String(), "\n")
			// What is sent at the same moment comes in any order.
			if card == cardForged && strings.Contains(got[0], "forged") {
				got[0], got[1] = got[1], got[0]
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: got %q, want %q", card, got, want)
			}
		})
	}
}

// The same by shares. A callback that is later than its signature is good for is sent all
// the same, and believed by nobody.
func TestFaultsOfCallbacks(t *testing.T) {
	to := &shop{}
	told(t, Config{Faults: Faults{Late: Span(6 * time.Minute), Lates: 1, Duplicates: 1, Forgeries: 1}}, to, func(t *testing.T, s *Service) {
		ask(s, "POST", "/payments", "attempt-1", by(cardOK))
		time.Sleep(time.Hour) // the bubble's time
		wantHeard(t, "all", to, "0s  callback_forged", "6m0s  callback_late", "6m0s  callback_late")
		if got := s.sender.counts(); got != (Callbacks{Delivered: 2, Forged: 1}) {
			t.Errorf("got %+v", got)
		}
	})
}

// A shop that does not take one hears it again, ever later, each time signed anew; after
// all tries it is given up.
func TestCallbacksAreTriedAgain(t *testing.T) {
	to := &shop{status: func(n int) int {
		if n == 4 {
			return 204
		}
		return 500
	}}
	told(t, Config{}, to, func(t *testing.T, s *Service) {
		ask(s, "POST", "/payments", "attempt-1", by(cardOK))
		time.Sleep(time.Hour) // the bubble's time
		wantHeard(t, "taken at the fourth try", to, "0s evt_1 authorised", "1s evt_1 authorised", "3s evt_1 authorised", "7s evt_1 authorised")
		ask(s, "POST", "/payments/by-key/attempt-1/capture", "attempt-1", eur("4500"))
		time.Sleep(time.Hour) // the bubble's time
		if got := s.sender.counts(); got != (Callbacks{Delivered: 1, GivenUp: 1}) || len(to.heard) != 4+callbackTries {
			t.Errorf("got %+v and %d tries, want one given up after %d", got, len(to.heard)-4, callbackTries)
		}
	})
}

// A shop that is slow has so many at once and no more; too many that wait are dropped, and
// counted. A stop does not wait for them.
func TestCallbacksAreBounded(t *testing.T) {
	to := &shop{slow: time.Hour} // the sender's own limit comes first
	told(t, Config{}, to, func(t *testing.T, s *Service) {
		for i := range maxCallbacks + 5 {
			s.sender.changed(change{n: int64(i), Payment: payment.Payment{Key: "attempt-1"}})
		}
		synctest.Wait()
		if got := s.sender.counts(); got.Waiting != maxCallbacks || got.Dropped != 5 {
			t.Errorf("got %+v, want %d that wait and 5 dropped", got, maxCallbacks)
		}
		time.Sleep(time.Minute) // the bubble's time
		to.mu.Lock()
		most := to.most
		to.mu.Unlock()
		if most != inFlight {
			t.Errorf("got %d at once, want %d", most, inFlight)
		}
	})
}
