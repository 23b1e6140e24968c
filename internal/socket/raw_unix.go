//go:build unix

package socket

import (
	"errors"
	"syscall"
	"time"
)

const (
	// sendBuffer bounds what the kernel keeps for a peer that does not read, so
	// that it is noticed within minutes and costs little until then.
	sendBuffer = 16 << 10
	// receiveBuffer bounds what it keeps of a peer while nothing is read, because a
	// handler waits: four of the greatest messages, and not the 64 KB of its default.
	receiveBuffer = 16 << 10
	// userTimeout is how long sent bytes may stay without an acknowledgement: with
	// a beat every few seconds, a dead peer is gone within half a minute.
	userTimeout = 20 * time.Second
)

var (
	errNotRaw = errors.New("connection has no file descriptor")
	errAgain  = error(syscall.EAGAIN)
)

// tune sets what only saves memory and time; a kernel that refuses is no reason
// to refuse the visitor.
func tune(fd int) {
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer)
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	_ = setUserTimeout(fd, userTimeout)
}

// read is one read(2), which does not wait: errAgain if there is nothing.
func read(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// write is one write(2), which does not wait, and tells what the kernel took: 0 if
// nothing just now.
func write(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, p)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

// halfClose ends the stream behind what was written. The peer may be gone.
func halfClose(fd int) { _ = syscall.Shutdown(fd, syscall.SHUT_WR) }

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
