package payment

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxCallback is how many bytes of a callback's body are read: many times a payment
	// with a hundred refunds. A handler reads one more to know.
	MaxCallback = 64 << 10
	// Tolerance is how far the time of a signature may be from now, in both directions:
	// clocks that differ, and a delivery that is slow. One that was caught can be sent again
	// for as long; nothing comes of it, since it says what has become of the payment.
	Tolerance = 5 * time.Minute
	// maxSignature and maxParts bound the header: a time and eight signatures are 600 bytes,
	// and a rotation needs two.
	maxSignature = 1024
	maxParts     = 9
)

// CallbackError is why a callback is not believed. Code is stable.
type CallbackError struct {
	Code string
	text string
}

func (e *CallbackError) Error() string { return e.text }

// Why a callback is not believed. One that was altered is forged.
var (
	ErrCallbackLarge     = &CallbackError{"callback_large", "a callback of too many bytes"}
	ErrCallbackUnsigned  = &CallbackError{"callback_unsigned", "a callback without a signature as it should be"}
	ErrCallbackForged    = &CallbackError{"callback_forged", "a callback that was not signed with a secret of ours"}
	ErrCallbackLate      = &CallbackError{"callback_late", "a callback whose time is too far from now"}
	ErrCallbackMalformed = &CallbackError{"callback_malformed", "a callback that is signed and makes no sense"}
)

// Event is the body of a callback.
type Event struct {
	ID      string  `json:"id"`         // of what happened; one that comes again has the same
	Created int64   `json:"created_ms"` // when it happened
	Payment Payment `json:"payment"`    // as it was then
}

// Callback is one that was signed with a secret of ours. It says what was so at a time;
// several come in any order, so an older one may come after a newer one.
type Callback struct {
	ID string
	At time.Time
	// Key, Amount and Currency name the attempt that it is about, as the service has it.
	// Result compares them with the shop's own row.
	Key      string
	Amount   int64
	Currency string

	payment Payment
}

// Result is what a callback says of an attempt, by the rules for an answer: ErrRefused
// where it is about another key, amount or currency.
func (c Callback) Result(a Attempt) (Result, error) {
	r := request{verb: "callback"}
	if a.check() != nil {
		return r.refused(ReasonRequest)
	}
	result, outcome, reason := c.payment.result(a)
	switch {
	case reason == "":
		return result, nil
	case outcome == Refused:
		return r.refused(reason)
	}
	return r.unknown(reason)
}

// Sign returns the Signature header of a body that is sent at a time, with a signature for
// each secret.
func Sign(body []byte, at time.Time, secrets ...Secret) string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	header := "t=" + stamp
	for _, secret := range secrets {
		header += ",v1=" + hex.EncodeToString(mac(secret, stamp, body))
	}
	return header
}

func mac(secret Secret, stamp string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(stamp))
	h.Write([]byte("."))
	h.Write(body)
	return h.Sum(nil)
}

// VerifyCallback believes a body, or returns a CallbackError. The header is the value of
// Signature. One of its signatures has to be by one of the secrets: of both there may be
// several while a secret is changed. An empty secret signs nothing.
func VerifyCallback(header string, body []byte, now time.Time, secrets ...Secret) (Callback, error) {
	if len(body) > MaxCallback {
		return Callback{}, ErrCallbackLarge
	}
	stamp, at, signatures, ok := parseSignature(header)
	if !ok {
		return Callback{}, ErrCallbackUnsigned
	}
	ours := false
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		want := mac(secret, stamp, body)
		for _, got := range signatures {
			ours = hmac.Equal(got, want) || ours // in the time of all of them
		}
	}
	if !ours {
		return Callback{}, ErrCallbackForged
	}
	if away := now.Sub(at); away > Tolerance || away < -Tolerance {
		return Callback{}, ErrCallbackLate
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return Callback{}, ErrCallbackMalformed // without the error: it may quote the body
	}
	p := e.Payment
	if !idPattern.MatchString(e.ID) || !GoodKey(p.Key) || !GoodCurrency(p.Currency) || p.Amount < 1 || p.Amount > MaxAmount || !p.sound() {
		return Callback{}, ErrCallbackMalformed
	}
	return Callback{ID: e.ID, At: time.UnixMilli(e.Created), Key: p.Key, Amount: p.Amount, Currency: p.Currency, payment: p}, nil
}

// parseSignature takes a header apart: one time in its only spelling, and one to eight
// signatures. Kinds of signature that are not known are left alone.
func parseSignature(header string) (stamp string, at time.Time, signatures [][]byte, ok bool) {
	if len(header) > maxSignature {
		return "", at, nil, false
	}
	parts := strings.Split(header, ",")
	if len(parts) > maxParts {
		return "", at, nil, false
	}
	for _, part := range parts {
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found {
			return "", at, nil, false
		}
		switch name {
		case "t":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if stamp != "" || err != nil || seconds < 0 || seconds > lastSecond || fmt.Sprint(seconds) != value {
				return "", at, nil, false
			}
			stamp, at = value, time.Unix(seconds, 0)
		case "v1":
			signature, err := hex.DecodeString(value)
			if err != nil || len(signature) != sha256.Size {
				return "", at, nil, false
			}
			signatures = append(signatures, signature)
		}
	}
	return stamp, at, signatures, stamp != "" && len(signatures) > 0
}

// lastSecond is the end of the year 9999: differences of times up to it are exact enough,
// since Sub stops at 292 years.
const lastSecond = 253_402_300_799
