//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package psp

import "os"

// lock does nothing where there is no flock: two processes must not share a file there.
func lock(*os.File) error { return nil }
