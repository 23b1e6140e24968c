package shop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/process"
	"waitroom/internal/token"
)

// port is a booker's public port as the binary has it, with the shop behind it.
type port struct {
	address string
	ring    *token.Keyring
	working *sync.Map // path → *atomic.Int64, requests that are in service
}

// listen serves a shop on a port of its own, with passes that are signed, until the
// test ends.
func listen(t *testing.T, b *testShop) *port {
	t.Helper()
	key, err := token.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &port{working: &sync.Map{}}
	if p.ring, err = token.NewKeyring(key); err != nil {
		t.Fatal(err)
	}
	b.parts.Passes = p.ring.Verifier()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	h := b.Handler()
	sockets := process.NewSockets(2000, time.Minute, zap.NewNop(), prometheus.NewRegistry())
	go func() { // ends with stop, awaited below
		ended <- sockets.Serve(ctx, small{l}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := p.working.LoadOrStore(r.URL.Path, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			defer n.(*atomic.Int64).Add(-1)
			h.ServeHTTP(w, r)
		}), 100*time.Millisecond)
	}()
	t.Cleanup(func() { stop(); <-ended }) // whoever hangs is cut
	return p
}

// small is a listener whose sockets take little from a server whose peer does not read.
type small struct{ net.Listener }

func (s small) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// in counts the requests of a path that are in service.
func (p *port) in(path string) int64 {
	n, ok := p.working.Load(path)
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

// pass signs one.
func (p *port) pass(t testing.TB, pass token.Pass) string {
	t.Helper()
	text, err := p.ring.Pass(pass.Admission, pass.Expires)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// dial opens a connection that ends with the test, and takes little that is not read.
func (p *port) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask makes one request on a connection of its own.
func (p *port) ask(ctx context.Context, method, path, pass, body string) (status int, answer string, err error) {
	return p.with(ctx, alone, method, path, pass, body)
}

// alone keeps no connection.
var alone = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// with makes one request with a client.
func (p *port) with(ctx context.Context, client *http.Client, method, path, pass, body string) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+p.address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+pass)
	w, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	return w.StatusCode, string(b), err
}

// buy holds a seat and books it; slowest is the longest of its calls.
func (p *port) buy(ctx context.Context, pass, seat string) (slowest time.Duration, err error) {
	call := func(method, path, body string, want int) string {
		if err != nil {
			return ""
		}
		began := time.Now()
		status, answer, failed := p.ask(ctx, method, path, pass, body)
		slowest = max(slowest, time.Since(began))
		if err = failed; err == nil && status != want {
			err = fmt.Errorf("%s %s: got %d %.200s, want %d", method, path, status, answer, want)
		}
		return answer
	}
	call("GET", "/rooms/gig/seats", "", 200)
	call("GET", "/rooms/gig/pass", "", 200)
	_, id, _ := strings.Cut(call("POST", "/rooms/gig/holds", `{"seats":["`+seat+`"]}`, 201), `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	call("POST", "/rooms/gig/holds/"+id+"/confirm", "", 200)
	return slowest, err
}

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !fact(); time.Sleep(time.Millisecond) { // between two looks
		if time.Now().After(end) {
			t.Fatalf("%s: it never came to it", what)
		}
	}
}

// One pass with 60 connections, 200 visitors whose bodies stop halfway and 200 who ask
// for the map and don't read it: 50 others hold and book all the same, and none of them
// is told to come back.
func TestBadNeighbours(t *testing.T) {
	const greedy, halves, deaf, buyers = 60, 200, 200, 50
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		b := newShop(t, dsn, 6000, nil)
		p := listen(t, b)

		say := func(text string) {
			c := p.dial(t)
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
		}
		for range deaf {
			say("GET /rooms/gig/seats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + p.pass(t, bookingtest.Pass()) + "\r\n\r\n")
		}
		await(t, "maps that nobody reads", func() bool { return p.in("/rooms/gig/seats") == deaf })
		for range halves {
			say("POST /rooms/gig/holds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + p.pass(t, bookingtest.Pass()) + "\r\nContent-Length: 40\r\n\r\n{\"seats\":")
		}
		await(t, "half bodies", func() bool { return p.in("/rooms/gig/holds") == halves })

		ctx, stop := context.WithCancel(t.Context())
		var noise, crowd sync.WaitGroup
		var served, refused atomic.Int64
		one := p.pass(t, bookingtest.Pass())
		for range greedy {
			noise.Go(func() { // ends with stop
				for ctx.Err() == nil {
					switch status, answer, err := p.ask(ctx, "GET", "/rooms/gig/pass", one, ""); {
					case err != nil:
					case status == 200:
						served.Add(1)
					case status == 429 && strings.Contains(answer, `"pass_limit"`):
						refused.Add(1)
					default:
						t.Errorf("the greedy one: got %d %s, want 200 or pass_limit", status, answer)
					}
				}
			})
		}
		await(t, "the greedy one", func() bool { return refused.Load() > greedy })
		var slowest atomic.Int64
		for i := range buyers {
			pass := p.pass(t, bookingtest.Pass())
			crowd.Go(func() {
				took, err := p.buy(ctx, pass, fmt.Sprintf("%c-%d", 'A'+i/10, i%10+1)) // rows of ten
				if err != nil {
					t.Errorf("buyer %d: %v", i, err)
				}
				for was := slowest.Load(); int64(took) > was && !slowest.CompareAndSwap(was, int64(took)); was = slowest.Load() {
				}
			})
		}
		crowd.Wait()
		stop()
		noise.Wait()
		if got := strings.Count(b.below.Seats(t), ":booked"); got != buyers {
			t.Errorf("got %d seats booked, want %d", got, buyers)
		}
		t.Logf("slowest call %s; the greedy one had %d served and %d refused", time.Duration(slowest.Load()), served.Load(), refused.Load())
	})
}
