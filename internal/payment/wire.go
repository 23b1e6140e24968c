package payment

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
)

// Payment is a payment as the service tells it, in an answer and in a callback.
type Payment struct {
	Key      string   `json:"key"` // the attempt
	ID       string   `json:"id"`  // the service's own name
	State    Outcome  `json:"state"`
	Amount   int64    `json:"amount"` // that was asked for
	Currency string   `json:"currency"`
	Captured int64    `json:"captured"`
	Refunded int64    `json:"refunded"`
	Reason   string   `json:"reason,omitempty"`
	Redirect string   `json:"redirect_url,omitempty"`
	Refunds  []Refund `json:"refunds,omitempty"`
}

// Problem is an answer of the service that is no payment.
type Problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"` // for people at the service; the client drops it
}

// The bodies of requests.
type (
	// AuthoriseBody is sent to POST /payments. The attempt is the Idempotency-Key.
	AuthoriseBody struct {
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
		Method   string `json:"method"`
		Return   string `json:"return_url,omitempty"`
	}
	// MoneyBody is sent to POST /payments/by-key/{attempt}/capture and …/refund.
	MoneyBody struct {
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
	}
)

// idPattern bounds a service's own name: it goes into a column and into logs.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// longestURL is what browsers and proxies take for certain.
const longestURL = 2000

var (
	reasons = []string{ReasonCard, ReasonFunds, ReasonNoCard, ReasonExpired, ReasonFraud, ReasonPayer, ReasonLapsed}
	codes   = []string{ReasonRequest, ReasonState, ReasonKeyReused, ReasonTooMuch, ReasonTooMany, ReasonCurrencyDiffer, ReasonInProgress, reasonAbsent}
)

// known returns code if it is among those that are known, and ReasonOther if not.
func known(code string, all []string) string {
	if slices.Contains(all, code) {
		return code
	}
	return ReasonOther
}

// result compares what is told with what was asked. The reason is set where it is not to
// be believed.
func (p *Payment) result(a Attempt) (Result, Outcome, string) {
	switch {
	case p.Key == "" || p.Amount == 0 || p.Currency == "" || p.State == "":
		return Result{}, Unknown, ReasonAnswer
	case p.Key != a.Key:
		return Result{}, Refused, ReasonKeyDiffers
	case p.Currency != a.Currency:
		return Result{}, Refused, ReasonCurrencyDiffer
	case p.Amount != a.Amount:
		return Result{}, Refused, ReasonAmountDiffers
	case !p.sound():
		return Result{}, Unknown, ReasonAnswer
	}
	r := Result{Outcome: p.State, Reference: p.ID, Redirect: p.Redirect, Captured: p.Captured, Refunded: p.Refunded}
	if p.State == Declined || p.State == Voided && p.Reason != "" {
		r.Reason = known(p.Reason, reasons)
	}
	return r, p.State, ""
}

// sound reports whether the parts of a payment fit together.
func (p *Payment) sound() bool {
	var back int64
	for _, r := range p.Refunds {
		if r.Amount < 1 || r.Amount > p.Captured {
			return false
		}
		if back += r.Amount; back > p.Captured { // before a long list could overflow it
			return false
		}
	}
	if back != p.Refunded || p.Captured < 0 || p.Captured > p.Amount || !idPattern.MatchString(p.ID) {
		return false
	}
	if p.Redirect != "" && (p.State != Pending || !goodURL(p.Redirect)) {
		return false
	}
	switch p.State {
	case Authorised, Declined, Voided, Pending:
		return p.Captured == 0
	case Captured:
		return p.Captured > 0 && p.Refunded < p.Captured
	case Refunded:
		return p.Captured > 0 && p.Refunded == p.Captured
	}
	return false
}

// goodURL reports whether a browser may be sent there.
func goodURL(text string) bool {
	if len(text) > longestURL {
		return false
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// reply is an answer that was understood: a payment, or a code.
type reply struct {
	payment *Payment
	code    string
}

// read understands an answer, or says why its outcome is unknown.
func read(status int, kind string, text []byte) (reply, string) {
	media, _, err := mime.ParseMediaType(kind)
	isJSON := err == nil && (media == "application/json" || media == "application/problem+json")
	switch status {
	case http.StatusOK:
		var p Payment
		if !isJSON || json.Unmarshal(text, &p) != nil {
			return reply{}, ReasonAnswer
		}
		return reply{payment: &p}, ""
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity:
		var p Problem
		// A proxy answers 404 as well, and knows nothing of the payment.
		if !isJSON || json.Unmarshal(text, &p) != nil || p.Code == "" {
			return reply{}, ReasonAnswer
		}
		return reply{code: known(p.Code, codes)}, ""
	case http.StatusUnauthorized, http.StatusForbidden:
		return reply{}, ReasonKey
	case http.StatusTooManyRequests:
		return reply{}, ReasonBusy
	}
	if status >= 500 {
		return reply{}, ReasonServer
	}
	return reply{}, ReasonAnswer
}
