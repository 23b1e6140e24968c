// Package payment asks a payment service for money, and knows what an answer is worth.
//
// Money is reserved first (Authorise), and taken (Capture) or let go (Void) later; what was
// taken can be given back, whole or in parts (Refund). All of it is about one attempt,
// whose key the shop has chosen and written down before it asks. The key goes along with
// every request, so that a repeat does nothing twice, and it is the name by which the
// service can be asked what came of it (Look).
//
// Every call ends in a word, an Outcome. Two ends are no words about the money:
//
//   - Unknown: something was sent, and no answer came that can be believed. It was done or
//     it was not. The caller looks, or repeats with the same key, for as long as it takes.
//   - ErrAway: nothing was sent, so nothing was done. The caller tries later.
//
// Nothing of what the service says is taken on trust: an answer about another key, amount
// or currency is Refused, and one that makes no sense is Unknown. No card, key or secret
// is in an error or in the log, and no text that the service chose: it may hold one.
package payment

import (
	"errors"
	"fmt"
	"regexp"
)

// Outcome is what came of a call.
type Outcome string

// The outcomes. Their texts are also the words for a payment's state on the wire; Refused,
// Unknown and Absent are the client's alone.
const (
	// Authorised: the money is reserved, and taken from nobody yet.
	Authorised Outcome = "authorised"
	// Captured: the money is taken. Parts of it may have been given back.
	Captured Outcome = "captured"
	// Declined: the payer's bank, or the payer, said no. Reason says why. It is an end.
	Declined Outcome = "declined"
	// Voided: what was reserved is free again; nothing was taken. With the reason
	// ReasonLapsed nobody asked for it: the time of the authorisation ran out. It is an end.
	Voided Outcome = "voided"
	// Refunded: a call of Refund was done; of a payment: all that was taken is given back.
	Refunded Outcome = "refunded"
	// Pending: the payer has to do something first, at Redirect if there is one.
	Pending Outcome = "pending"
	// Absent: the service had not heard of the attempt. That is no end: a request that was
	// sent before may still be on its way.
	Absent Outcome = "absent"
	// Refused: this request, as it stands, or this answer is not acceptable; a repeat
	// changes nothing. It says nothing about what came of earlier requests.
	Refused Outcome = "refused"
	// Unknown: it was done or it was not.
	Unknown Outcome = "unknown"
)

// The errors of a call. Each comes with an Outcome: ErrRefused with Refused, ErrUnknown
// with Unknown, ErrAway with none.
var (
	ErrRefused = errors.New("refused")
	ErrUnknown = errors.New("the outcome is unknown")
	// ErrAway: the service can't be reached, or failed so often that it is not asked for
	// a while. Nothing was sent.
	ErrAway = errors.New("the payment service is away")
)

// Why a payment was declined, or voided by nobody. What a service says beyond these is
// ReasonOther: its text may hold anything.
const (
	ReasonCard    = "card_declined"
	ReasonFunds   = "insufficient_funds"
	ReasonNoCard  = "card_unknown"
	ReasonExpired = "card_expired"
	ReasonFraud   = "suspected_fraud"
	ReasonPayer   = "refused_by_payer"
	ReasonLapsed  = "lapsed"
	ReasonOther   = "other"
)

// Why an outcome is unknown.
const (
	ReasonTimeOut    = "time_out"
	ReasonLost       = "connection_lost"
	ReasonServer     = "server_error" // 5xx
	ReasonAnswer     = "bad_answer"   // no JSON, too much of it, or nothing that makes sense
	ReasonBusy       = "busy"         // 429
	ReasonKey        = "not_accepted" // 401 and 403: an operator has to act
	ReasonInProgress = "in_progress"  // the same request is being served
)

// Why a request or its answer is refused, beside the service's own codes.
const (
	ReasonRequest        = "bad_request" // the client's own check too: nothing was sent then
	ReasonKeyDiffers     = "key_differs"
	ReasonAmountDiffers  = "amount_differs"
	ReasonCurrencyDiffer = "currency_differs"
	ReasonState          = "wrong_state"
	ReasonKeyReused      = "key_reused"
	ReasonTooMuch        = "too_much"
	ReasonTooMany        = "too_many_refunds"
	reasonAbsent         = "no_such_payment"
)

// MaxAmount bounds a payment, in minor units: 50 seats of a hold at 1e12 each.
const MaxAmount = 50_000_000_000_000

// Attempt is one try to pay for one hold. Key names it everywhere; Amount, in minor units,
// and Currency, ISO 4217, are what every answer is compared with.
type Attempt struct {
	Key      string
	Amount   int64
	Currency string
}

var (
	keyPattern      = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
)

// GoodKey reports whether text can be the key of an attempt or of a refund: 8 to 64
// letters, digits, - and _, so that it fits a path and a header as it is.
func GoodKey(text string) bool { return keyPattern.MatchString(text) }

// GoodCurrency reports whether text has the form of a currency.
func GoodCurrency(text string) bool { return currencyPattern.MatchString(text) }

// check says which part is wrong, without its text.
func (a Attempt) check() error {
	switch {
	case !GoodKey(a.Key):
		return errors.New("want a key of 8 to 64 letters, digits, - or _")
	case a.Amount < 1 || a.Amount > MaxAmount:
		return fmt.Errorf("want an amount of 1 to %d", int64(MaxAmount))
	case !GoodCurrency(a.Currency):
		return errors.New("want a currency of three letters")
	}
	return nil
}

// Method is how the payer pays.
type Method struct {
	Token  Secret // what the service's own page gave the browser for the card
	Return string // where the payer's browser goes after a redirect; "" for nowhere
}

// Refund is money given back: a part of what was captured, or all of it. Its key is the
// shop's, one for each refund.
type Refund struct {
	Key    string `json:"key"`
	Amount int64  `json:"amount"`
}

// Result is what is known after a call.
type Result struct {
	Outcome   Outcome // "": nothing was sent
	Reason    string  // a code, of what is declined, voided, refused or unknown
	Reference string  // the service's own name for the payment, for its support
	Redirect  string  // where the payer has to go, of what is pending; "" for nowhere
	Captured  int64   // of the payment, in all
	Refunded  int64   // of the payment, in all
}

// Secret is a text that is printed nowhere: fmt, JSON and the log show stars.
type Secret string

// Format prints stars, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) } // into fmt's own buffer

// MarshalText gives stars. Who sends a secret converts it to a string.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }
