package psp

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"waitroom/internal/payment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func service(t *testing.T, config Config) *Service {
	t.Helper()
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// reply is an answer: a payment or a problem. Status 0: the connection was cut.
type reply struct {
	status int
	kind   string
	text   string
	payment.Payment
	Code string `json:"code"`
}

// ask makes one request without a network.
func ask(h http.Handler, method, path, key, body string) (got reply) {
	r := httptest.NewRequest(method, "http://psp.example"+path, strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	return serve(h, r)
}

func serve(h http.Handler, r *http.Request) (got reply) {
	w := httptest.NewRecorder()
	defer func() {
		if cut := recover(); cut != nil {
			if cut != http.ErrAbortHandler {
				panic(cut)
			}
			got = reply{}
		}
	}()
	h.ServeHTTP(w, r)
	got = reply{status: w.Code, kind: w.Header().Get("Content-Type"), text: w.Body.String()}
	if got.kind == "application/json" {
		_ = json.Unmarshal([]byte(got.text), &got) // a list of books is neither
	}
	return got
}

// eur is the body of a request about money.
func eur(amount string) string { return `{"amount":` + amount + `,"currency":"EUR"}` }

// by is the body of an authorisation.
func by(card string) string { return `{"amount":4500,"currency":"EUR","method":"` + card + `"}` }

func books(t interface{ Fatalf(string, ...any) }, s *Service) (b Books) {
	got := ask(s, "GET", "/ledger", "", "")
	in := json.NewDecoder(strings.NewReader(got.text))
	in.DisallowUnknownFields()
	if err := in.Decode(&b); err != nil || got.status != 200 {
		t.Fatalf("the ledger: %d, %v: %.300s", got.status, err, got.text)
	}
	if _, err := in.Token(); err != io.EOF {
		t.Fatalf("the ledger: more than one value")
	}
	return b
}
