//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package psp

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps a second process from the file. It ends with the process, however that ends.
func lock(file *os.File) error { return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
