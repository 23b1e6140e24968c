package epoll

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const wait = 15 * time.Second // for any one fact; nothing here takes a tenth of it

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calls is a Waker that counts.
type calls chan struct{}

func (c calls) Ready() { c <- struct{}{} }

func (c calls) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(wait):
		t.Fatal("nobody was woken")
	}
}

// pair is two ends of a stream, which do not block.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = syscall.Close(fds[0]), syscall.Close(fds[1]) })
	return fds[0], fds[1]
}

func put(t *testing.T, fd int, text string) {
	t.Helper()
	if _, err := syscall.Write(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func newSet(t *testing.T, loops int) *Set {
	t.Helper()
	s, err := New(loops)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A descriptor is told once for each time it was armed, and at once if there is
// something already.
func TestArm(t *testing.T) {
	s := newSet(t, 1)
	fd, peer := pair(t)
	woken, later := make(calls, 10), make(calls, 10)
	must(t, s.Add(fd, woken))
	put(t, peer, "one")
	must(t, s.Arm(fd))
	woken.wait(t)
	put(t, peer, "two")
	// What was written to another one later is told, so this one's second packet was
	// passed over.
	other, otherPeer := pair(t)
	must(t, s.Add(other, later))
	must(t, s.Arm(other))
	put(t, otherPeer, "x")
	later.wait(t)
	if len(woken) > 0 {
		t.Error("got told twice for one Arm")
	}
	must(t, s.Arm(fd))
	woken.wait(t)
	must(t, syscall.Shutdown(peer, syscall.SHUT_WR))
	must(t, s.Arm(fd))
	woken.wait(t)
	if got := s.Len(); got != 2 {
		t.Errorf("got %d descriptors, want 2", got)
	}
}

// The end of a stream and a reset wake too.
func TestEndWakes(t *testing.T) {
	s := newSet(t, 1)
	fd, peer := pair(t)
	woken := make(calls, 10)
	must(t, s.Add(fd, woken))
	must(t, s.Arm(fd))
	must(t, syscall.Shutdown(peer, syscall.SHUT_RDWR))
	woken.wait(t)
}

// A removed descriptor is not told, and its number is the next one's.
func TestRemove(t *testing.T) {
	s := newSet(t, 1)
	fd, peer := pair(t)
	old, anew := make(calls, 10), make(calls, 10)
	must(t, s.Add(fd, old))
	must(t, s.Arm(fd))
	s.Remove(fd)
	s.Remove(fd) // nothing more to do
	put(t, peer, "x")
	if err := s.Arm(fd); err == nil {
		t.Error("got a removed descriptor armed")
	}
	must(t, s.Add(fd, anew))
	must(t, s.Arm(fd))
	anew.wait(t)
	if len(old) > 0 {
		t.Error("got the old owner told")
	}
	if got := s.Len(); got != 1 {
		t.Errorf("got %d descriptors, want 1", got)
	}
}

// An event that was taken from the kernel before its descriptor was removed is
// not told to who has the number by then.
func TestStaleEvent(t *testing.T) {
	s := newSet(t, 1)
	fd, _ := pair(t)
	old, anew := make(calls, 10), make(calls, 10)
	must(t, s.Add(fd, old))
	l := s.loops[0]
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd), Pad: int32(l.slots[fd].generation)}
	s.Remove(fd)
	must(t, s.Add(fd, anew))
	l.wake([]syscall.EpollEvent{event}, make([]Waker, batch))
	if len(old)+len(anew) > 0 {
		t.Errorf("got the old owner told %d times and the new one %d, want neither", len(old), len(anew))
	}
}

func TestClose(t *testing.T) {
	s := newSet(t, 3)
	fd, _ := pair(t)
	must(t, s.Add(fd, make(calls, 1)))
	must(t, s.Arm(fd))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(s.Close)
	}
	wg.Wait()
	if err := s.Arm(fd); !errors.Is(err, ErrClosed) {
		t.Errorf("Arm: got %v, want ErrClosed", err)
	}
	if err := s.Add(fd, make(calls, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Add: got %v, want ErrClosed", err)
	}
	s.Remove(fd)
}

// owner has a descriptor as its users must: each use under a lock.
type owner struct {
	set *Set
	got chan string

	mu sync.Mutex
	fd int // -1: closed
}

func (o *owner) Ready() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fd < 0 {
		return
	}
	var b [64]byte
	n, err := syscall.Read(o.fd, b[:])
	if n > 0 {
		o.got <- string(b[:n])
	}
	if err == syscall.EAGAIN || n > 0 {
		_ = o.set.Arm(o.fd)
	}
}

func (o *owner) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set.Remove(o.fd)
	_ = syscall.Close(o.fd)
	o.fd = -1
}

// Connections come and go and their numbers go round, while bytes are under way.
// Each owner hears its own peer and nobody else, and no wake is lost.
func TestNumbersGoRound(t *testing.T) {
	s := newSet(t, 2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	var serving sync.WaitGroup
	serving.Go(func() { // says each connection's own address, in pieces; ends with the listener
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				for _, b := range []byte(nc.RemoteAddr().String() + "\n") {
					if _, err := nc.Write([]byte{b}); err != nil {
						return // it went away in the midst of it
					}
				}
				_, _ = io.Copy(io.Discard, nc)
			})
		}
	})
	var again atomic.Int64
	var seen sync.Map // numbers that were used
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			<-start
			for i := range 100 {
				nc, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				want := nc.LocalAddr().String() + "\n"
				fd, err := Take(nc)
				if err != nil {
					t.Error(err)
					return
				}
				if _, was := seen.LoadOrStore(fd, true); was {
					again.Add(1)
				}
				o := &owner{set: s, fd: fd, got: make(chan string, 64)}
				o.mu.Lock()
				err = errors.Join(s.Add(fd, o), s.Arm(fd))
				o.mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for got := ""; got != want; {
					select {
					case text := <-o.got:
						got += text
					case <-time.After(wait):
						t.Errorf("got %q, want %q: a wake was lost, or a stranger's", got, want)
						o.close()
						return
					}
					if i%2 == 0 {
						break // go while more is under way
					}
				}
				o.close()
			}
		})
	}
	close(start)
	wg.Wait()
	if again.Load() == 0 {
		t.Error("no number was used twice: the test proves nothing")
	}
	if got := s.Len(); got != 0 {
		t.Errorf("got %d descriptors kept, want 0", got)
	}
	_ = l.Close()
	serving.Wait()
}

// What Take gives does not block and is the caller's alone.
func TestTake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	peer, err := l.Accept()
	must(t, err)
	defer peer.Close()
	fd, err := Take(nc)
	must(t, err)
	if _, err := syscall.Read(fd, make([]byte, 1)); err != syscall.EAGAIN {
		t.Errorf("got %v, want EAGAIN", err)
	}
	if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v from the connection, want it closed", err)
	}
	put(t, fd, "hi")
	b := make([]byte, 2)
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != "hi" {
		t.Errorf("got %q, %v, want hi", b, err)
	}
	must(t, syscall.Close(fd))
	if _, err := peer.Read(b); err != io.EOF {
		t.Errorf("got %v, want the end: somebody keeps the stream open", err)
	}
	c1, c2 := net.Pipe()
	defer c1.Close()
	defer c2.Close()
	if _, err := Take(c1); err == nil {
		t.Error("got a descriptor of a pipe out of memory")
	}
}

// A wake and the next Arm, over a stream between two descriptors.
func BenchmarkWake(b *testing.B) {
	s, err := New(1)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _, _ = syscall.Close(fds[0]), syscall.Close(fds[1]) }()
	o := &owner{set: s, fd: fds[0], got: make(chan string, 1)}
	if err := errors.Join(s.Add(o.fd, o), s.Arm(o.fd)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := syscall.Write(fds[1], []byte("x")); err != nil {
			b.Fatal(err)
		}
		<-o.got
	}
}
