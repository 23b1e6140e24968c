package socket

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// A descriptor's number goes to the next visitor as soon as it is closed, while
// others still send to the one before. Each peer hears its own words only, and
// each handler its own peer's.
func TestNoWordsForStrangers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		const lanes, visits = 3, 40
		var again atomic.Int64
		var seen sync.Map // numbers that were used
		start := make(chan struct{})
		var wg sync.WaitGroup
		for lane := range lanes {
			wg.Go(func() { // Fatal of what it calls ends it, and fails the test
				<-start
				var senders sync.WaitGroup
				for visit := range visits {
					own := fmt.Sprintf("for %d.%d", lane, visit)
					c, peer, r := started(t, s)
					c.mu.Lock()
					fd := c.fd
					c.mu.Unlock()
					if _, was := seen.LoadOrStore(fd, true); was {
						again.Add(1)
					}
					gone := make(chan struct{})
					for range 2 {
						senders.Go(func() { // ends some sends after the connection
							for left := 50; left > 0; {
								c.TrySend([]byte(own))
								runtime.Gosched() // there are more goroutines than cores
								select {
								case <-gone:
									left--
								default:
								}
							}
						})
					}
					if _, err := peer.Write(masked(true, opText, []byte(own))); err != nil {
						t.Error(err)
					}
					b := bufio.NewReader(peer)
					for range 5 {
						if _, p, err := readFrame(b); err != nil || string(p) != own {
							t.Errorf("got %q, %v, want %q", p, err, own)
							break
						}
					}
					if got := r.next(t); got.text != own {
						t.Errorf("got %+v told, want %q", got, own)
					}
					switch visit % 3 {
					case 0:
						_ = peer.SetLinger(0) // a reset
						_ = peer.Close()
					case 1:
						_ = peer.CloseWrite()
						_, _ = io.Copy(io.Discard, b)
						_ = peer.Close()
					case 2:
						c.mu.Lock()
						c.cut(Cut)
						c.mu.Unlock()
						for {
							op, p, err := readFrame(b)
							if err != nil {
								break // the end, perhaps of half a frame
							}
							if string(p) != own && op != opPong { // of a busy one
								t.Errorf("got %q, want %q only", p, own)
								break
							}
						}
						_ = peer.Close()
					}
					if got := r.next(t); got.why == 0 {
						t.Errorf("got %+v told, want the end", got)
					}
					close(gone)
				}
				senders.Wait()
			})
		}
		close(start)
		wg.Wait()
		if again.Load() == 0 {
			t.Error("no number was used twice: the test proves nothing")
		}
	})
}
