package psp

import (
	"errors"

	"waitroom/internal/payment"
)

// act is what an entry of the ledger does.
type act string

const (
	authorise act = "authorise" // makes a payment whose money is reserved
	pend      act = "pend"      // makes one that waits for the payer
	decline   act = "decline"   // makes one that was refused
	approve   act = "approve"
	refuse    act = "refuse"
	capture   act = "capture"
	void      act = "void"
	lapse     act = "lapse"
	refund    act = "refund"
)

// Why an act is not possible. Each is a code of an answer.
var (
	errAbsent   = errors.New("no_such_payment")
	errState    = errors.New(payment.ReasonState)
	errReused   = errors.New(payment.ReasonKeyReused)
	errTooMuch  = errors.New(payment.ReasonTooMuch)
	errTooMany  = errors.New(payment.ReasonTooMany)
	errCurrency = errors.New(payment.ReasonCurrencyDiffer)
	errFull     = errors.New("full")
	errBroken   = errors.New("the journal can't be written")
)

// move is an act in a state; "" is the state of what is not there.
type move struct {
	state payment.Outcome
	act   act
}

// moves are all that is possible. What is not here is errState.
var moves = map[move]payment.Outcome{
	{"", authorise}:               payment.Authorised,
	{"", pend}:                    payment.Pending,
	{"", decline}:                 payment.Declined,
	{payment.Pending, approve}:    payment.Authorised,
	{payment.Pending, refuse}:     payment.Declined,
	{payment.Pending, void}:       payment.Voided,
	{payment.Pending, lapse}:      payment.Voided,
	{payment.Authorised, capture}: payment.Captured,
	{payment.Authorised, void}:    payment.Voided,
	{payment.Authorised, lapse}:   payment.Voided,
	{payment.Captured, refund}:    payment.Captured, // Refunded when nothing is left
}

// operation is what an idempotency key belongs to: the requests that may be one another's
// repeats. What no request asked for has none.
func (a act) operation() string {
	switch a {
	case authorise, pend, decline:
		return "authorise"
	case capture, void, refund:
		return string(a)
	}
	return ""
}
