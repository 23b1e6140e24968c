//go:build unix

package gateway

import "syscall"

// once is one write(2) of c.out that does not wait. It always returns true: the
// runtime must not park us until the peer reads.
func (c *conn) once(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), c.out)
		switch err {
		case nil:
			c.wrote = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			c.failed = err
		}
		return true
	}
}

// readable reports that a read would not wait: there are bytes, the end or an
// error. It takes nothing away.
func readable(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}
