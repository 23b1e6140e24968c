package socket

import "testing"

// waiters are all that one suite runs over.
var waiters = []struct {
	name string
	make func(testing.TB) waiter
}{
	{"goroutines", func(testing.TB) waiter { return &goroutines{} }},
}
