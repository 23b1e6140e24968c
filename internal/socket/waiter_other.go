//go:build !linux

package socket

func newWaiter() (waiter, error) { return &goroutines{}, nil }
