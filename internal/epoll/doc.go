// Package epoll waits for many descriptors at once, on Linux. It exists because a
// descriptor that waits in the Go runtime needs a goroutine, and the smallest
// stack of one is more than all else that a silent connection needs.
//
// A Set has a kernel set (epoll(7)) and a goroutine per core. It tells each
// descriptor's Waker once, after it was armed, that there is something to read;
// who has read arms it again. It reads and writes nothing itself.
//
// # Descriptors are numbers
//
// The system gives the number of a closed descriptor to whatever is opened next.
// So whoever has a descriptor guards it with a lock, and adds, arms, removes,
// uses and closes it under that lock only. A Waker takes the lock and looks
// whether the descriptor is still its own. The set never uses a number that was
// removed, and never calls a Waker under its own lock, so the owner's lock comes
// first.
//
// The calls are those of package syscall: it has all four that are needed, and
// golang.org/x/sys would be one more module that this one names.
//
// Elsewhere than on Linux the package is empty.
package epoll
