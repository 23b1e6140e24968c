package payment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	theAttempt = Attempt{Key: "attempt-00000001", Amount: 4500, Currency: "EUR"}
	theMethod  = Method{Token: "card_ok", Return: "https://shop.example/back"}
)

// to makes a client of a server that is served by h.
func to(t *testing.T, h http.HandlerFunc, config Config) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	config.URL = server.URL
	return client(t, config)
}

func client(t *testing.T, config Config) *Client {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// says answers each request with the same text.
func says(status int, kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// told is a payment in JSON: state, captured, refunded, and more fields.
func told(state Outcome, captured, refunded int, more string) string {
	return fmt.Sprintf(`{"key":"attempt-00000001","id":"pay_1","state":%q,"amount":4500,"currency":"EUR","captured":%d,"refunded":%d%s}`, state, captured, refunded, more)
}

type verb func(*Client, context.Context) (Result, error)

var verbs = map[string]verb{
	"authorise": func(c *Client, ctx context.Context) (Result, error) { return c.Authorise(ctx, theAttempt, theMethod) },
	"capture":   func(c *Client, ctx context.Context) (Result, error) { return c.Capture(ctx, theAttempt) },
	"void":      func(c *Client, ctx context.Context) (Result, error) { return c.Void(ctx, theAttempt) },
	"refund": func(c *Client, ctx context.Context) (Result, error) {
		return c.Refund(ctx, theAttempt, Refund{"refund-1", 1500})
	},
	"look": func(c *Client, ctx context.Context) (Result, error) { return c.Look(ctx, theAttempt) },
}

// What goes over the wire, byte for byte: a service of another maker reads this.
func TestRequests(t *testing.T) {
	for name, want := range map[string]string{
		"authorise": `POST /v1/payments key attempt-00000001 as Bearer k3y: {"amount":4500,"currency":"EUR","method":"card_ok","return_url":"https://shop.example/back"}`,
		"capture":   `POST /v1/payments/by-key/attempt-00000001/capture key attempt-00000001 as Bearer k3y: {"amount":4500,"currency":"EUR"}`,
		"void":      `POST /v1/payments/by-key/attempt-00000001/void key attempt-00000001 as Bearer k3y: `,
		"refund":    `POST /v1/payments/by-key/attempt-00000001/refund key refund-1 as Bearer k3y: {"amount":1500,"currency":"EUR"}`,
		"look":      `GET /v1/payments/by-key/attempt-00000001 key attempt-00000001 as Bearer k3y: `,
	} {
		var got string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // of a few bytes
			got = fmt.Sprintf("%s %s key %s as %s: %s", r.Method, r.URL, r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization"), body)
		}))
		_, _ = verbs[name](client(t, Config{URL: server.URL + "/v1/", Key: "k3y"}), t.Context()) // an empty answer
		server.Close()
		if got != want {
			t.Errorf("%s: got  %s\nwant %s", name, got, want)
		}
	}
}

// Every kind of answer to every verb ends in its word.
func TestAnswers(t *testing.T) {
	const isJSON = "application/json; charset=utf-8"
	payment := func(text string) http.HandlerFunc { return says(200, isJSON, text) }
	code := func(status int, code string) http.HandlerFunc {
		return says(status, "application/problem+json", fmt.Sprintf(`{"code":%q}`, code))
	}
	all := []string{"authorise", "capture", "void", "refund", "look"}
	for _, c := range []struct {
		what   string
		verbs  []string
		answer http.HandlerFunc
		want   Result
		err    error
	}{
		{"authorised", []string{"authorise", "look"}, payment(told(Authorised, 0, 0, "")), Result{Outcome: Authorised, Reference: "pay_1"}, nil},
		{"with fields of a newer service", []string{"authorise"}, payment(told(Authorised, 0, 0, `,"fee":3`)), Result{Outcome: Authorised, Reference: "pay_1"}, nil},
		{"declined", []string{"authorise", "look"}, payment(told(Declined, 0, 0, `,"reason":"insufficient_funds"`)), Result{Outcome: Declined, Reason: ReasonFunds, Reference: "pay_1"}, nil},
		{"declined for a new reason", []string{"authorise"}, payment(told(Declined, 0, 0, `,"reason":"card_ok is bad"`)), Result{Outcome: Declined, Reason: ReasonOther, Reference: "pay_1"}, nil},
		{"pending", []string{"authorise", "look"}, payment(told(Pending, 0, 0, `,"redirect_url":"https://psp.example/pay"`)), Result{Outcome: Pending, Redirect: "https://psp.example/pay", Reference: "pay_1"}, nil},
		{"pending without a page", []string{"authorise", "look"}, payment(told(Pending, 0, 0, ``)), Result{Outcome: Pending, Reference: "pay_1"}, nil},
		{"captured", []string{"capture", "look", "authorise"}, payment(told(Captured, 4500, 0, "")), Result{Outcome: Captured, Captured: 4500, Reference: "pay_1"}, nil},
		{"captured and refunded since", []string{"capture", "look"}, payment(told(Refunded, 4500, 4500, `,"refunds":[{"key":"refund-7","amount":4500}]`)), Result{Outcome: Refunded, Captured: 4500, Refunded: 4500, Reference: "pay_1"}, nil},
		{"voided", []string{"void", "look"}, payment(told(Voided, 0, 0, "")), Result{Outcome: Voided, Reference: "pay_1"}, nil},
		{"lapsed", []string{"void", "look"}, payment(told(Voided, 0, 0, `,"reason":"lapsed"`)), Result{Outcome: Voided, Reason: ReasonLapsed, Reference: "pay_1"}, nil},
		{"a part refunded", []string{"refund"}, payment(told(Captured, 4500, 1501, `,"refunds":[{"key":"refund-0","amount":1},{"key":"refund-1","amount":1500}]`)), Result{Outcome: Refunded, Captured: 4500, Refunded: 1501, Reference: "pay_1"}, nil},
		{"a part refunded, looked at", []string{"look"}, payment(told(Captured, 4500, 1500, `,"refunds":[{"key":"refund-1","amount":1500}]`)), Result{Outcome: Captured, Captured: 4500, Refunded: 1500, Reference: "pay_1"}, nil},
		{"absent", all, code(404, "no_such_payment"), Result{Outcome: Absent}, nil},

		{"another key", all, payment(strings.Replace(told(Captured, 4500, 0, ""), "00000001", "00000002", 1)), Result{Outcome: Refused, Reason: ReasonKeyDiffers}, ErrRefused},
		{"another amount", all, payment(strings.Replace(told(Captured, 4500, 0, ""), "4500", "4501", 1)), Result{Outcome: Refused, Reason: ReasonAmountDiffers}, ErrRefused},
		{"another currency", all, payment(strings.Replace(told(Captured, 4500, 0, ""), "EUR", "USD", 1)), Result{Outcome: Refused, Reason: ReasonCurrencyDiffer}, ErrRefused},
		{"less captured than asked", []string{"capture", "authorise"}, payment(told(Captured, 4499, 0, "")), Result{Outcome: Refused, Reason: ReasonAmountDiffers}, ErrRefused},
		{"another sum refunded", []string{"refund"}, payment(told(Captured, 4500, 1499, `,"refunds":[{"key":"refund-1","amount":1499}]`)), Result{Outcome: Refused, Reason: ReasonAmountDiffers}, ErrRefused},
		{"another state than it needs", all, code(409, "wrong_state"), Result{Outcome: Refused, Reason: ReasonState}, ErrRefused},
		{"a key of another request", all, code(422, "key_reused"), Result{Outcome: Refused, Reason: ReasonKeyReused}, ErrRefused},
		{"a code of a newer service", all, code(422, "card_ok"), Result{Outcome: Refused, Reason: ReasonOther}, ErrRefused},

		{"at the same time", all, code(409, "in_progress"), Result{Outcome: Unknown, Reason: ReasonInProgress}, ErrUnknown},
		{"a proxy's 404", all, says(404, "text/html", "<h1>not found</h1>"), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"500", all, says(500, isJSON, told(Captured, 4500, 0, "")), Result{Outcome: Unknown, Reason: ReasonServer}, ErrUnknown},
		{"503 in HTML", all, says(503, "text/html", "<h1>away</h1>"), Result{Outcome: Unknown, Reason: ReasonServer}, ErrUnknown},
		{"401", all, code(401, "no_such_payment"), Result{Outcome: Unknown, Reason: ReasonKey}, ErrUnknown},
		{"429", all, code(429, "slow_down"), Result{Outcome: Unknown, Reason: ReasonBusy}, ErrUnknown},
		{"a redirect", all, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		}, Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"HTML", all, says(200, "text/html", "<h1>welcome</h1>"), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"JSON that says it is HTML", all, says(200, "text/html", told(Captured, 4500, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"nothing", all, says(200, isJSON, ""), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"half", all, says(200, isJSON, told(Captured, 4500, 0, "")[:50]), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"two", all, says(200, isJSON, told(Captured, 4500, 0, "")+"{}"), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"null", all, says(200, isJSON, "null"), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"a list", all, says(200, isJSON, "[]"), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"too much", all, says(200, isJSON, told(Captured, 4500, 0, "")+strings.Repeat(" ", maxAnswer)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"a broken amount", all, payment(strings.Replace(told(Captured, 4500, 0, ""), "4500", "45.5", 1)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"no amount", all, payment(strings.Replace(told(Captured, 4500, 0, ""), `"amount":4500,`, "", 1)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"a state of nobody's", all, payment(told("paid", 4500, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"a word of the client's", all, payment(told(Refused, 0, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"captured, and nothing taken", all, payment(told(Captured, 0, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"authorised, and some taken", all, payment(told(Authorised, 1, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"more captured than there was", all, payment(told(Captured, 4501, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"more refunded than captured", all, payment(told(Refunded, 4500, 4501, `,"refunds":[{"key":"refund-1","amount":4501}]`)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"refunds beyond their sum", all, payment(told(Captured, 4500, 1, `,"refunds":[{"key":"refund-1","amount":1500}]`)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"an id with spaces", all, payment(strings.Replace(told(Captured, 4500, 0, ""), "pay_1", "pay 1", 1)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"a page of scripts", []string{"authorise", "look"}, payment(told(Pending, 0, 0, `,"redirect_url":"javascript:alert(1)"`)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"a page with a user", []string{"authorise", "look"}, payment(told(Pending, 0, 0, `,"redirect_url":"https://shop.example@thief.example/"`)), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"not captured after all", []string{"capture", "void", "refund"}, payment(told(Authorised, 0, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
		{"not refunded after all", []string{"void", "refund"}, payment(told(Captured, 4500, 0, "")), Result{Outcome: Unknown, Reason: ReasonAnswer}, ErrUnknown},
	} {
		for _, name := range c.verbs {
			t.Run(c.what+"/"+name, func(t *testing.T) {
				got, err := verbs[name](to(t, c.answer, Config{}), t.Context())
				if got != c.want || !errors.Is(err, c.err) {
					t.Errorf("got %+v, %v\nwant %+v, %v", got, err, c.want, c.err)
				}
			})
		}
	}
}

// What is wrong by the shop's own doing is refused, and nothing is sent.
func TestOwnChecks(t *testing.T) {
	var asked atomic.Int32
	c := to(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) }, Config{})
	for _, a := range []Attempt{
		{}, {"short", 1, "EUR"}, {"attempt/../../ledger", 1, "EUR"}, {strings.Repeat("x", 65), 1, "EUR"}, {"attempt-00000001\r\n", 1, "EUR"},
		{"attempt-00000001", 0, "EUR"}, {"attempt-00000001", -1, "EUR"}, {"attempt-00000001", MaxAmount + 1, "EUR"},
		{"attempt-00000001", 1, ""}, {"attempt-00000001", 1, "eur"}, {"attempt-00000001", 1, "EURO"},
	} {
		if got, err := c.Look(t.Context(), a); got.Outcome != Refused || !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: got %+v, %v, want refused", a, got, err)
		}
	}
	for _, back := range []Refund{{"", 1}, {"refund-1", 0}, {"refund-1", -1}, {"refund-1", 4501}} {
		if got, err := c.Refund(t.Context(), theAttempt, back); got.Outcome != Refused || !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: got %+v, %v, want refused", back, got, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the service was asked %d times, want never", n)
	}
	for _, url := range []string{"", "psp.example", "ftp://psp.example", "http://", "http://user:s3cret@psp.example", "http://psp.example?key=s3cret", "http://psp.example#s3cret", "http://s3cret\n"} {
		if c, err := New(Config{URL: url}); err == nil {
			c.Close()
			t.Errorf("%q: a client is made of it", url)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error says it: %v", url, err)
		}
	}
}

// One after the other, calls share a connection, failed ones too.
func TestConnectionsAreReused(t *testing.T) {
	var peers sync.Map
	n := 0
	c := to(t, func(w http.ResponseWriter, r *http.Request) {
		peers.Store(r.RemoteAddr, true)
		n++ // one request at a time
		switch n % 3 {
		case 0:
			says(500, "text/html", "<h1>away</h1>")(w, r)
		case 1:
			says(200, "application/json", told(Authorised, 0, 0, ""))(w, r)
		default:
			says(409, "application/json", `{"code":"wrong_state"}`)(w, r)
		}
	}, Config{})
	for range 9 {
		_, _ = c.Look(t.Context(), theAttempt)
	}
	count := 0
	peers.Range(func(any, any) bool { count++; return true })
	if count != 1 || n != 9 {
		t.Errorf("%d requests came over %d connections, want 9 over 1", n, count)
	}
}

// A connection that the service closed while nobody used it costs nothing: the same request
// goes over a new one.
func TestConnectionThatWasClosed(t *testing.T) {
	server := httptest.NewServer(says(200, "application/json", told(Authorised, 0, 0, "")))
	defer server.Close()
	c := client(t, Config{URL: server.URL})
	for i := range 5 {
		if got, err := c.Authorise(t.Context(), theAttempt, theMethod); got.Outcome != Authorised {
			t.Errorf("call %d: got %+v, %v", i, got, err)
		}
		server.CloseClientConnections()
	}
}

// Many at once, with answers of all kinds, bounded connections and callers that leave.
func TestTogether(t *testing.T) {
	var n atomic.Int64
	c := to(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 5 {
		case 0:
			says(500, "text/plain", "away")(w, r)
		case 1:
			panic(http.ErrAbortHandler)
		default:
			says(200, "application/json", told(Authorised, 0, 0, ""))(w, r)
		}
	}, Config{Conns: 4, Rest: time.Millisecond})
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			<-start
			for j := range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+j)%7 == 0 {
					cancel()
				}
				got, err := c.Look(ctx, theAttempt)
				switch {
				case got.Outcome == Authorised && err == nil:
				case got.Outcome == Unknown && errors.Is(err, ErrUnknown):
				case got == Result{} && (errors.Is(err, ErrAway) || errors.Is(err, context.Canceled)):
				default:
					t.Errorf("got %+v, %v", got, err)
				}
				cancel()
			}
		})
	}
	close(start)
	all.Wait()
}
