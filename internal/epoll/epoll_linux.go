package epoll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// batch is how many descriptors are taken from the kernel in one call: enough
// that the call is not what costs, small enough for the goroutine's stack.
const batch = 128

// ErrClosed is the answer of a closed set.
var ErrClosed = errors.New("epoll: set closed")

// Waker is told that its descriptor has something to read: bytes, the end, or an
// error. It must not block, because it is called by the goroutine that waits for
// all the others. A call may come late, after Remove.
type Waker interface{ Ready() }

// Set is the descriptors that are waited for. Its methods may be called from many
// goroutines, those of one descriptor under its owner's lock.
type Set struct{ loops []*loop }

// New makes a set with so many goroutines, at least one. One per core is what can
// be of use.
func New(loops int) (*Set, error) {
	s := &Set{}
	loops = max(1, loops)
	for range loops {
		l, err := newLoop(loops)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// loop is one kernel set and the goroutine that waits for it. A descriptor
// belongs to the loop that its number says.
//
// The kernel's set is itself a descriptor that the runtime waits for. So a loop
// parks like any goroutine: it holds no thread, and what it finds is run by the
// scheduler at once.
type loop struct {
	file *os.File
	raw  syscall.RawConn
	of   int           // so many loops share the numbers
	done chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	closed bool
	fd     int
	slots  []slot // by number of the descriptor, divided by of; as many as there ever were files
}

// slot is what is known of a descriptor.
type slot struct {
	waker      Waker  // nil: there is none
	generation uint32 // counts who had this number; an event of an earlier one is stale
	added      bool   // the kernel knows it
}

func newLoop(of int) (*loop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // else the runtime would not wait for it
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &loop{file: os.NewFile(uintptr(fd), "epoll"), of: of, done: make(chan struct{}), fd: fd}
	l.raw, err = l.file.SyscallConn()
	if err == nil {
		err = l.file.SetReadDeadline(time.Time{}) // fails if the runtime does not wait for it
	}
	if err != nil {
		_ = l.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	go l.run() // ends with the file; Set.Close waits
	return l, nil
}

// Add makes a descriptor known, which must not block. Nothing is told before Arm.
func (s *Set) Add(fd int, w Waker) error {
	l, i := s.of(fd)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	for len(l.slots) <= i {
		l.slots = append(l.slots, slot{})
	}
	l.slots[i].waker = w
	l.slots[i].generation++
	l.slots[i].added = false
	return nil
}

// Arm asks for one call of the descriptor's Waker. If there is something to read
// already, it comes at once. A second call before that changes nothing.
func (s *Set) Arm(fd int) error {
	l, i := s.of(fd)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if i >= len(l.slots) || l.slots[i].waker == nil {
		return fmt.Errorf("epoll: descriptor %d was not added", fd)
	}
	op := syscall.EPOLL_CTL_MOD
	if !l.slots[i].added {
		op = syscall.EPOLL_CTL_ADD
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLONESHOT, Fd: int32(fd), Pad: int32(l.slots[i].generation)}
	if err := syscall.EpollCtl(l.fd, op, fd, &event); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	l.slots[i].added = true
	return nil
}

// Remove forgets a descriptor. It must be called before the descriptor is closed.
func (s *Set) Remove(fd int) {
	l, i := s.of(fd)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || i >= len(l.slots) || l.slots[i].waker == nil {
		return
	}
	if l.slots[i].added {
		// A descriptor that is closed leaves by itself, unless it was duplicated. It can
		// fail on a number that is not open only, and then there is nothing to do.
		_ = syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_DEL, fd, nil)
	}
	l.slots[i].waker, l.slots[i].added = nil, false
}

// Len is how many descriptors are known.
func (s *Set) Len() (n int) {
	for _, l := range s.loops {
		l.mu.Lock()
		for _, slot := range l.slots {
			if slot.waker != nil {
				n++
			}
		}
		l.mu.Unlock()
	}
	return n
}

// Close ends the waiting. When it returns, no Waker is called any more.
func (s *Set) Close() {
	for _, l := range s.loops {
		l.mu.Lock()
		closed := l.closed
		l.closed = true
		l.mu.Unlock()
		if !closed {
			_ = l.file.Close() // wakes the goroutine
		}
		<-l.done
	}
}

func (s *Set) of(fd int) (*loop, int) { return s.loops[fd%len(s.loops)], fd / len(s.loops) }

// run takes what the kernel has until the file is closed.
func (l *loop) run() {
	defer close(l.done)
	var events [batch]syscall.EpollEvent
	var wakers [batch]Waker
	_ = l.raw.Read(func(fd uintptr) bool { // its error says that the file was closed
		for {
			n, err := syscall.EpollWait(int(fd), events[:], 0)
			switch {
			case err == syscall.EINTR:
				continue
			case n <= 0:
				return false // park
			}
			l.wake(events[:n], wakers[:])
		}
	})
}

// wake calls the wakers of these events. A number that has another owner by now
// has another generation.
func (l *loop) wake(events []syscall.EpollEvent, wakers []Waker) {
	found := wakers[:0]
	l.mu.Lock()
	for _, e := range events {
		if s := l.slots[int(e.Fd)/l.of]; s.waker != nil && s.generation == uint32(e.Pad) {
			found = append(found, s.waker)
		}
	}
	l.mu.Unlock()
	for _, w := range found {
		w.Ready()
	}
	clear(found) // keeps none of them alive
}

// Take takes the descriptor out of a connection of package net, whose Close it
// calls. The descriptor does not block, and belongs to the caller.
//
// It is a duplicate, because package net gives away none of its own. So the
// runtime forgets the connection, with all that it keeps for one.
func Take(nc net.Conn) (fd int, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, errors.New("epoll: connection has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("epoll: %w", err)
	}
	fd = -1
	var errno syscall.Errno
	if err := raw.Control(func(n uintptr) {
		var dup uintptr
		if dup, _, errno = syscall.Syscall(syscall.SYS_FCNTL, n, syscall.F_DUPFD_CLOEXEC, 0); errno == 0 {
			fd = int(dup)
		}
	}); err != nil {
		return -1, fmt.Errorf("epoll: %w", err)
	}
	if errno != 0 {
		return -1, fmt.Errorf("epoll: %w", errno)
	}
	_ = nc.Close() // the duplicate lives on
	return fd, nil
}
