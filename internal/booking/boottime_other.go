//go:build !linux

package booking

import (
	"errors"
	"time"
)

// boottime is not told here; what time.Since reads is taken instead. On Windows and macOS
// a machine's sleep may not count in it: other bookers tell, as for a machine that its host
// stopped.
func boottime() (time.Duration, error) { return 0, errors.ErrUnsupported }
