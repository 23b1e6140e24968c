//go:build !linux

package socket

import "time"

// setUserTimeout has no counterpart here; keep-alives of the listener end a dead
// peer later.
func setUserTimeout(int, time.Duration) error { return nil }
