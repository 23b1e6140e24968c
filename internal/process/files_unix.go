//go:build unix

package process

import "syscall"

// fileLimit is how many files this process may have open. Go has raised the soft
// limit to the hard one when the process started.
func fileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return manyFiles // nobody can say; too many show when they are opened
	}
	if n := uint64(limit.Cur); n < manyFiles { // its type differs by system
		return int(n)
	}
	return manyFiles
}
