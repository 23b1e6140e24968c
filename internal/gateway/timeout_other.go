//go:build !linux

package gateway

import (
	"syscall"
	"time"
)

// setUserTimeout has no counterpart here; keep-alives of the listener end a dead
// peer later.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }
