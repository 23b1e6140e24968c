package socket

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a silent connection costs is measured when WAITROOM_MEMORY names how many
// connections, as in
//
//	WAITROOM_MEMORY=10000,16000 go test -count=1 -v -run SilentMemory ./internal/socket
//
// A child process holds net/http and this package, and nothing else. Connections
// arrive at 1,000 a second, send one message, hear one, and are silent. Nobody
// asks for a collection.

// memoryChild tells a process that it is the child, and which waiter it has.
const memoryChild = "WAITROOM_MEMORY_CHILD"

func runAsChild() bool {
	name := os.Getenv(memoryChild)
	if name != "" {
		runChild(name)
	}
	return name != ""
}

// measured are the waiters to compare: ours, and what they were chosen over.
func measured() []makeWaiter {
	return append([]makeWaiter{
		{"one goroutine", func(testing.TB) waiter { return &loops{} }},
		{"epoll beside net.Conn", func(t testing.TB) waiter { return &beside{systems[0].make(t).(*polled)} }},
	}, waiters...)
}

// loops is the waiter of one goroutine per connection, which also works.
type loops struct{ goroutines }

func (l *loops) arm(c *Conn) error {
	if c.kept.parked {
		return nil
	}
	c.kept.parked = true
	l.wg.Add(1)
	go func() { // ends with the connection
		defer l.wg.Done()
		for {
			_ = c.kept.raw.Read(readable)
			c.mu.Lock()
			dead, idle := c.fd < 0, !c.working
			c.working, c.again = true, true
			c.mu.Unlock()
			if idle {
				c.work()
			}
			if dead {
				return
			}
		}
	}()
	return nil
}

// beside is an epoll set of ours beside the runtime's, with net.Conn kept.
type beside struct{ *polled }

func (b *beside) take(c *Conn, nc net.Conn) error {
	if err := (&goroutines{}).take(c, nc); err != nil {
		return err
	}
	return b.set.Add(c.fd, c)
}

func (b *beside) release(c *Conn) {
	b.set.Remove(c.fd)
	_ = c.kept.nc.Close()
}

// deep is a handler that needs 8 KB of stack for a message, like one that decodes
// it and asks a server.
type deep struct{ echo }

func (d deep) Message(text []byte) {
	var stack [6 << 10]byte
	d.echo.Message(append(stack[:0], text...))
}

// runChild serves until its input ends, and answers each line of it with what it
// takes: RSS, heap in use, stacks, all from the system, and collections, in bytes.
func runChild(name string) {
	var s *Server
	for _, w := range measured() {
		if w.name == name {
			s = newServer(Options{}, w.make(&testing.T{}))
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { _ = s.Run(context.Background()) }() // both end with the process
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := s.Accept(w, r); err == nil {
				c.Start(deep{echo{c}})
			}
		}))
	}()
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			panic(err)
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kb, _ := strconv.Atoi(strings.Fields(rest)[0])
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		fmt.Println(kb<<10, m.HeapInuse, m.HeapAlloc, m.StackSys, m.Sys, m.NumGC, time.Duration(u.Utime.Nano()+u.Stime.Nano()).Milliseconds(), s.Open())
	}
}

func TestSilentMemory(t *testing.T) {
	counts := os.Getenv("WAITROOM_MEMORY")
	if counts == "" {
		t.Skip("WAITROOM_MEMORY names no number of connections")
	}
	for _, count := range strings.Split(counts, ",") {
		n, err := strconv.Atoi(count)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range measured() {
			t.Run(fmt.Sprintf("%d %s", n, w.name), func(t *testing.T) { measureSilence(t, w.name, n) })
		}
	}
}

// child is a process to be measured.
type child struct {
	addr string
	ask  func() [8]int // what runChild says
}

func startChild(t *testing.T, waiter string) child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), memoryChild+"="+waiter)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Scan()
	return child{lines.Text(), func() (v [8]int) {
		_, _ = io.WriteString(in, "\n")
		lines.Scan()
		for i, f := range strings.Fields(lines.Text()) {
			v[i], _ = strconv.Atoi(f)
		}
		return v
	}}
}

func measureSilence(t *testing.T, waiter string, n int) {
	process := startChild(t, waiter)
	empty := process.ask()
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	tick := time.NewTicker(10 * time.Millisecond) // ten at a time are 1,000 a second
	defer tick.Stop()
	began := time.Now()
	for i := range n {
		if i%10 == 0 {
			<-tick.C
		}
		wg.Go(func() {
			var err error
			if conns[i], err = arrive(process.addr); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	full := process.ask()
	per := func(i int) int { return (full[i] - empty[i]) / n }
	t.Logf("%d connections in %.1f s: RSS %d each (%d MB, empty %d MB); heap in use %d, allocated %d, stacks %d, Sys %d each; %d collections, %d ms of processor",
		full[7], took.Seconds(), per(0), full[0]>>20, empty[0]>>20, per(1), per(2), per(3), per(4), full[5]-empty[5], full[6]-empty[6])
	for _, nc := range conns {
		if nc != nil {
			_ = nc.Close()
		}
	}
}

// TestHostileCost prints what 1,000 hostile connections of a kind cost, when
// WAITROOM_HOSTILE is set.
func TestHostileCost(t *testing.T) {
	if os.Getenv("WAITROOM_HOSTILE") == "" {
		t.Skip("WAITROOM_HOSTILE is not set")
	}
	const n, long = 1000, 5 * time.Second
	// flooding sends pieces until it is cut.
	flooding := func(b []byte, size int) func(net.Conn) {
		return func(nc net.Conn) {
			for at := 0; ; at = (at + size) % len(b) {
				if _, err := nc.Write(b[at : at+size]); err != nil {
					return
				}
			}
		}
	}
	// pacing sends a piece now and then, for long.
	pacing := func(b []byte, size int, every time.Duration) func(net.Conn) {
		return func(nc net.Conn) {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for at, end := 0, time.Now().Add(long); time.Now().Before(end); at = (at + size) % len(b) {
				<-tick.C
				if _, err := nc.Write(b[at : at+size]); err != nil {
					return
				}
			}
		}
	}
	pongs := []byte(strings.Repeat(string(masked(true, opPong, nil)), 1000))
	text := masked(true, opText, []byte(strings.Repeat("x", 100)))
	for _, kind := range []struct {
		name string
		do   func(net.Conn)
	}{
		{"come and go", func(net.Conn) {}},
		{"a flood of pongs", flooding(pongs, len(pongs))},
		{"a flood of pongs, each in a packet", flooding(pongs, 6)},
		{"texts a byte at a time, without a pause", flooding(text, 1)},
		{"half a message", func(nc net.Conn) { _, _ = nc.Write(text[:50]); _, _ = io.Copy(io.Discard, nc) }},
		{"seven pongs a second for 5 s", pacing(pongs, 6, time.Second/7)},
		{"texts in bytes, 30 a second for 5 s", pacing(text, 1, time.Second/30)},
	} {
		t.Run(kind.name, func(t *testing.T) {
			process := startChild(t, systems[0].name)
			before := process.ask()
			var wg sync.WaitGroup
			began := time.Now()
			for range n {
				wg.Go(func() {
					nc, err := arrive(process.addr)
					if err != nil {
						t.Error(err)
						return
					}
					_ = nc.(*net.TCPConn).SetNoDelay(true)
					kind.do(nc)
					_ = nc.Close()
				})
			}
			wg.Wait()
			after := process.ask()
			t.Logf("%.1f s, %d us of processor each, RSS %d MB more", time.Since(began).Seconds(), (after[6]-before[6])*1000/n, (after[0]-before[0])>>20)
		})
	}
}

// arrive shakes hands, sends one message and hears one.
func arrive(addr string) (net.Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(nc, handshake); err != nil {
		return nc, err
	}
	r := bufio.NewReaderSize(nc, 512)
	if _, err := http.ReadResponse(r, nil); err != nil {
		return nc, err
	}
	if _, err := nc.Write(masked(true, opText, []byte(`{"type":"join"}`))); err != nil {
		return nc, err
	}
	_, _, err = readFrame(r)
	return nc, err
}
