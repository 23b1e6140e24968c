package testenv

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Asleep is a port that is this test's from the beginning and that nobody serves yet:
// whoever connects is cut at once.
type Asleep struct {
	Addr string
	Port int

	listener *net.TCPListener
	wake     sync.Once
	done     chan struct{} // closed when nobody accepts any more
}

// NewAsleep takes a free port until the test ends.
func NewAsleep(t testing.TB) *Asleep {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	a := &Asleep{Addr: listener.Addr().String(), Port: listener.Addr().(*net.TCPAddr).Port, listener: listener, done: make(chan struct{})}
	go func() { // ends with Listen or with the test
		defer close(a.done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-a.done })
	return a
}

// Listen hands the port over to a server, which may begin at once: nobody else can have
// taken it. It has the signature of net.Listen.
func (a *Asleep) Listen(string, string) (net.Listener, error) {
	var err error
	a.wake.Do(func() {
		if err = a.listener.SetDeadline(time.Unix(1, 0)); err == nil {
			<-a.done
			err = a.listener.SetDeadline(time.Time{})
		}
	})
	return a.listener, err
}
