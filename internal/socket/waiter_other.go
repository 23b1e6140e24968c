package socket

func newWaiter() (waiter, error) { return &goroutines{}, nil }
