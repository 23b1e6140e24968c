//go:build !linux

package socket

var systems []makeWaiter

// runAsChild is for the measurement of memory, which is Linux's alone.
func runAsChild() bool { return false }
