package socket

import "testing"

type makeWaiter struct {
	name string
	make func(testing.TB) waiter
}

// waiters are all that one suite runs over.
var waiters = append([]makeWaiter{
	{"goroutines", func(testing.TB) waiter { return &goroutines{} }},
}, systems...)
