package booking

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime is the time since this machine began, that in which it slept included:
// the monotonic clock of Linux, which time.Since reads, stands still meanwhile.
func boottime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano()), err
}
