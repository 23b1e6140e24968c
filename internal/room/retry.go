package room

import (
	"context"
	"errors"
	"slices"
)

// answers are the sentinels by which a call is answered for good: the line, or a
// rule in front of it, has said no, and the same call again hears the same. Some
// pass with time, as a memory that is full does; that is the caller's to wait for.
var answers = []error{
	ErrUnknown, ErrDeleted, ErrExists, ErrEpoch, ErrRecovering, ErrState, ErrClosed, ErrSoldOut, ErrFull, ErrSpent, ErrActive,
	ErrBusy, ErrUnsure, ErrStaleBatch, ErrMemory, ErrOverloaded, ErrTooMany, ErrTooManySigns, ErrChanged, ErrName, ErrVisitorID, ErrEpochForm, ErrAdmission,
}

// Retryable reports that the line did not answer a call: it was out of reach, or
// not in time. Whether the call took effect is not known. The same call, if it may
// be repeated at all, may succeed at any moment.
//
// What is neither retryable nor an answer is a Fault. What was cancelled is
// neither: nobody waits for it any more.
func Retryable(err error) bool {
	return !errors.Is(err, context.Canceled) && (errors.Is(err, ErrAway) || errors.Is(err, context.DeadlineExceeded))
}

// Fault reports an error that nobody foresaw: a mistake of ours, or of the
// server's setting, such as a wrong password. Trying again does not cure it, and
// nobody else will tell it: whoever meets it logs it, and if he tries again all
// the same, then with a line in the log.
func Fault(err error) bool {
	return err != nil && !Retryable(err) && !errors.Is(err, context.Canceled) &&
		!slices.ContainsFunc(answers, func(answer error) bool { return errors.Is(err, answer) })
}
