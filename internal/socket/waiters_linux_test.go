package socket

import (
	"testing"
)

// systems are the waiters of this system alone.
var systems = []makeWaiter{
	{"epoll", func(t testing.TB) waiter {
		t.Helper()
		p, err := newPolled()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}},
}
