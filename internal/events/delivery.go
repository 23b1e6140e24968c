package events

import (
	"errors"
	"fmt"
)

// Unpublished is the error of a publish that some records did not survive. Those
// that Failed does not name are acknowledged by every in-sync replica.
type Unpublished struct {
	Failed []int // indexes of the records not known to be acknowledged, ascending
	Err    error
}

func (e *Unpublished) Error() string { return fmt.Sprintf("%d records: %v", len(e.Failed), e.Err) }

func (e *Unpublished) Unwrap() error { return e.Err }

// Missing is which of n records are not known to be acknowledged, after a publish
// of them answered err. An error that does not say misses all.
func Missing(err error, n int) []int {
	if err == nil {
		return nil
	}
	var part *Unpublished
	if errors.As(err, &part) {
		return part.Failed
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Fate is what becomes of a record that a handler was given.
type Fate int

const (
	// Done: it need not come again.
	Done Fate = iota
	// Later: it comes again; those behind it need not wait for it.
	Later
	// Never: it can't succeed, and goes to the dead letters.
	Never
)

// Verdict is a handler's word about one record. Err says why it is not Done.
type Verdict struct {
	Fate Fate
	Err  error
}

// Undone is the error of a handler that could not deal with some records now. Those
// that At does not name are dealt with.
type Undone struct {
	At  []int // indexes of the records that are to come again, ascending
	Err error
}

func (e *Undone) Error() string { return fmt.Sprintf("%d records: %v", len(e.At), e.Err) }

func (e *Undone) Unwrap() error { return e.Err }

// Left is which of n records are to come again, after a handler of them answered err.
// An error that does not say leaves all.
func Left(err error, n int) []int {
	if err == nil {
		return nil
	}
	var part *Undone
	if errors.As(err, &part) {
		return part.At
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
