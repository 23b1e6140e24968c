package gateway

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/wire"
)

const wait = 15 * time.Second // for any one fact; nothing here takes a tenth of it

// pair is our conn and the TCP connection of its peer, whose buffer is small.
func pair(t testing.TB) (*conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer := nc.(*net.TCPConn)
	if err := peer.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConn(server, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = peer.Close() })
	return c, peer
}

// readFrame reads one frame of the server.
func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xF0 != 0x80 {
		return 0, nil, fmt.Errorf("frame begins with %#x: torn", head[0])
	}
	n := int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(r, head[2:4]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:4]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0x0F, payload, err
}

// fill offers frames until the peer takes no more.
func fill(t testing.TB, c *conn) (taken int) {
	t.Helper()
	for i := 0; ; i++ {
		if !c.send(opText, fmt.Appendf(nil, "offer %d %s", i, strings.Repeat("x", i%300)), false) {
			return i
		}
		if i > 1_000_000 {
			t.Fatal("the peer takes everything: the test proves nothing")
		}
	}
}

// A peer that reads nothing tears a frame; two writers go on beside it, and the
// janitor. When it reads again, every frame is whole and what was told is there,
// in order.
func TestTornFramesStayWhole(t *testing.T) {
	c, peer := pair(t)
	taken := fill(t, c)
	if len(c.tail) == 0 {
		// The last write was refused whole. A longer told frame stays behind.
		c.send(opText, []byte("told first"), true)
	}
	if c.send(opText, []byte("lost"), false) {
		t.Error("got an offer taken by a busy connection")
	}
	const told = 20
	start := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		<-start
		for i := range told {
			if !c.send(opText, fmt.Appendf(nil, "told %d", i), true) {
				t.Errorf("told %d was dropped", i)
			}
		}
	})
	wg.Go(func() { // the library's pong
		<-start
		if _, err := c.Write([]byte{0x8A, 0x01, 'p'}); err != nil {
			t.Errorf("pong: %v", err)
		}
	})
	ended := make(chan struct{})
	wg.Go(func() { // the janitor
		<-start
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case now := <-tick.C:
				c.tend(now)
			case <-ended:
				tick.Stop()
				return
			}
		}
	})
	close(start)
	if err := peer.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(peer)
	offers, tells, pongs := 0, 0, 0
	for tells < told || pongs == 0 {
		op, payload, err := readFrame(r)
		if err != nil {
			t.Fatalf("after %d offers and %d told: %v", offers, tells, err)
		}
		switch text := string(payload); {
		case op == 0xA:
			pongs++
		case strings.HasPrefix(text, "offer "):
			if want := fmt.Sprintf("offer %d %s", offers, strings.Repeat("x", offers%300)); text != want {
				t.Fatalf("got %q, want %q", text, want)
			}
			offers++
		case text == "told first":
		case text == fmt.Sprintf("told %d", tells):
			tells++
		default:
			t.Fatalf("got %q out of order", text)
		}
	}
	close(ended)
	wg.Wait()
	if offers < taken {
		t.Errorf("got %d offers, want the %d that were taken", offers, taken)
	}
}

// What is kept for a peer that reads nothing is bounded; beyond it the connection
// ends.
func TestTailIsBounded(t *testing.T) {
	c, _ := pair(t)
	fill(t, c)
	c.send(opText, []byte(strings.Repeat("x", 100)), true)
	for range maxTail / 100 {
		c.send(opText, []byte(strings.Repeat("x", 100)), true)
	}
	if !c.isClosing() || c.tail != nil {
		t.Errorf("got closing %t and %d bytes kept, want it ended", c.isClosing(), len(c.tail))
	}
	if c.send(opText, []byte("x"), true) {
		t.Error("got a frame taken by an ended connection")
	}
}

func TestStuckIsClosed(t *testing.T) {
	c, peer := pair(t)
	if c.tend(time.Now().Add(time.Hour)) {
		t.Error("got an idle connection ended")
	}
	fill(t, c)
	c.send(opText, []byte("told"), true)
	if c.tend(time.Now().Add(stuckAfter - time.Second)) {
		t.Error("got it ended before its time")
	}
	if !c.tend(time.Now().Add(stuckAfter + time.Second)) {
		t.Error("got a stuck connection left open")
	}
	// The peer reads to an end, not for ever.
	if err := peer.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, peer); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v, want the end of the stream", err)
	}
}

// The close frame comes after everything told, then the end of the stream.
func TestCloseComesLast(t *testing.T) {
	c, peer := pair(t)
	c.send(opText, []byte("last words"), true)
	c.shut(wire.CloseDrain)
	c.shut(wire.CloseTabs) // a second one says nothing
	if c.send(opText, []byte("more"), true) {
		t.Error("got a frame taken after the close frame")
	}
	if n, err := c.Write([]byte{0x88, 0}); n != 2 || err != nil {
		t.Errorf("the library's echo: got %d, %v, want it swallowed", n, err)
	}
	if err := peer.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(peer)
	if _, p, err := readFrame(r); err != nil || string(p) != "last words" {
		t.Errorf("got %q, %v", p, err)
	}
	if op, p, err := readFrame(r); err != nil || op != opClose || binary.BigEndian.Uint16(p) != wire.CloseDrain {
		t.Errorf("got %d %v, %v, want a close frame with %d", op, p, err, wire.CloseDrain)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
}

// An upgrade costs nothing per position afterwards.
func TestSendDoesNotAllocate(t *testing.T) {
	c, peer := pair(t)
	go func() { _, _ = io.Copy(io.Discard, peer) }() // ends with the connection
	text := wire.AppendPosition(nil, 12345, 67890, 100, 200)
	if n := testing.AllocsPerRun(1000, func() { c.send(opText, text, false) }); n != 0 {
		t.Errorf("got %v allocations per frame, want 0", n)
	}
}

func BenchmarkSend(b *testing.B) {
	c, peer := pair(b)
	if err := peer.SetReadBuffer(1 << 20); err != nil {
		b.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, peer) }() // ends with the connection
	text := wire.AppendPosition(nil, 12345, 67890, 100, 200)
	b.ReportAllocs()
	for b.Loop() {
		c.send(opText, text, false)
	}
}
