package socket

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	b := newBudget(0)
	if !b.spend(0, budgetBurst) || b.spend(0, 1) {
		t.Error("got another burst than said")
	}
	// Looked at often or seldom, as much comes back.
	now := int64(0)
	for range 1000 {
		now += int64(time.Millisecond)
		b.spend(now, 2*budgetBurst) // more than there ever is
	}
	if b.credit < budgetRate-1 || b.credit > budgetRate {
		t.Errorf("got %d back in a second, want %d", b.credit, budgetRate)
	}
	now += int64(1000 * time.Hour)
	if b.spend(now, budgetBurst+1) || !b.spend(now, budgetBurst) {
		t.Error("got another burst after a long rest")
	}
}

// flood writes until the connection takes no more, and returns the bytes.
func flood(peer *net.TCPConn, b []byte) (sent int) {
	for {
		n, err := peer.Write(b)
		if sent += n; err != nil {
			return sent
		}
		if sent > 64<<20 {
			return sent
		}
	}
}

// A flood of any kind is cut after about a burst.
func TestFloods(t *testing.T) {
	many := func(b []byte) []byte { return []byte(strings.Repeat(string(b), 32<<10/len(b))) }
	text := masked(false, opText, []byte("x"))
	for _, c := range []struct {
		name  string
		first []byte
		flood []byte
	}{
		{"pings", nil, many(masked(true, opPing, nil))},
		{"pongs", nil, many(masked(true, opPong, nil))},
		{"long pongs", nil, many(masked(true, opPong, make([]byte, 125)))},
		{"empty fragments", text, many(masked(false, opMore, nil))},
		{"fragments of a byte", text, many(masked(false, opMore, []byte("x")))},
		{"empty texts", nil, many(masked(true, opText, nil))},
		{"long texts", nil, many(masked(true, opText, make([]byte, 4096)))},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *Server) {
				began := time.Now()
				conn, peer, r := started(t, s)
				if _, err := peer.Write(c.first); err != nil {
					t.Fatal(err)
				}
				sent := flood(peer, c.flood)
				told := 0
				for h := r.next(t); ; h = r.next(t) {
					if h.why == TooFast {
						break
					}
					if h.why != 0 {
						t.Fatalf("got %s, want too_fast", h.why)
					}
					told++
				}
				if most := 32 + int(2*time.Since(began).Seconds()); told > most { // 32 at once, 2 a second
					t.Errorf("got %d messages told, want at most %d", told, most)
				}
				over(t, s)
				// What we read: a burst, what was in one buffer, what is read away.
				t.Logf("%d bytes sent, %d read away, %d messages", sent, conn.away, told)
				if most := drainBytes + roomFor(s.limit); conn.away > most {
					t.Errorf("got %d bytes read away, want at most %d", conn.away, most)
				}
			})
		})
	}
}

// A message may come in pieces, but who sends a byte at a time pays for each wake
// and is cut within the burst.
func TestByteByByte(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		_, peer, r := started(t, s)
		place := strings.Repeat("x", 500)
		frame := masked(true, opText, []byte(place))
		for i := 0; i < len(frame); i += 10 {
			if _, err := peer.Write(frame[i:min(i+10, len(frame))]); err != nil {
				t.Fatal(err)
			}
		}
		r.wants(t, heard{text: place})
	})
	onBoth(t, func(t *testing.T, s *Server) {
		began := time.Now()
		c, peer, r := started(t, s)
		for wakes := 1; ; wakes++ {
			if most := 130 + int(40*time.Since(began).Seconds()); wakes > most { // 128 at once, 40 a second
				t.Fatalf("got more than %d bytes read one by one", most)
			}
			if _, err := peer.Write(masked(true, opText, make([]byte, 4096))[wakes-1 : wakes]); err != nil {
				t.Fatal(err)
			}
			// The next byte goes when this one was read, so that each is a wake.
			parked(t, c, func() bool { return c.why != 0 || c.in != nil && c.in.end == wakes })
			if len(r.said) > 0 {
				break
			}
		}
		r.wants(t, heard{why: TooFast})
	})
}

// What is begun must be whole in time: half a frame, half a message, a byte a
// second. Its buffer is given back then.
func TestUnfinished(t *testing.T) {
	for _, c := range []struct {
		name string
		say  []byte
	}{
		{"half a head", masked(true, opText, []byte("hi"))[:1]},
		{"half a frame", masked(true, opText, []byte("hi"))[:7]},
		{"half a pong", masked(true, opPong, []byte("hi"))[:7]},
		{"half a message", masked(false, opText, []byte("hi"))},
		{"half a message and a ping", join(masked(false, opText, []byte("hi")), masked(true, opPing, nil))},
		{"half a message after one", join(masked(true, opText, []byte("one")), masked(false, opText, []byte("hi")))},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *Server) {
				conn, peer, r := started(t, s)
				say(c.say)(t, conn, peer)
				begun := halfOf(t, conn)
				s.tend(begun - 1)
				s.tend(begun + 2*wheelTick)
				for h := r.next(t); h.why != Unfinished; h = r.next(t) {
					if h.text != "one" {
						t.Fatalf("got %+v, want unfinished", h)
					}
				}
				_ = peer.Close()
				over(t, s)
				if conn.in != nil {
					t.Error("got a buffer kept by an ended connection")
				}
			})
		})
	}
}

// halfOf waits until a connection has begun something, and returns when it must
// be whole.
func halfOf(t *testing.T, c *Conn) (half int64) {
	t.Helper()
	parked(t, c, func() bool { half = c.half; return half != 0 })
	return half
}

// parked waits until a connection has no worker, or has ended, and a fact holds.
func parked(t *testing.T, c *Conn, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wait); ; runtime.Gosched() {
		c.mu.Lock()
		is := (!c.working || c.why != 0) && fact()
		c.mu.Unlock()
		if is {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// A silent connection has no buffer, no deadline and no worker, whatever was
// before.
func TestSilentHasNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		c, peer, r := started(t, s)
		c.Within(time.Minute)
		say(join(masked(false, opText, []byte("o")), masked(true, opMore, []byte("ne")), masked(true, opPing, nil)))(t, c, peer)
		r.wants(t, heard{text: "one"})
		parked(t, c, func() bool { return c.in == nil && c.half == 0 && c.due == 0 && c.tail == nil })
	})
}

// A message that drips in is ended like one that stopped; one after the other,
// each has its time.
func TestDrip(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Server) {
		conn, peer, r := started(t, s)
		say(masked(false, opText, []byte("a")))(t, conn, peer)
		begun := halfOf(t, conn)
		for range 5 {
			say(masked(false, opMore, []byte("b")))(t, conn, peer)
		}
		// The ping's answer says that all was read.
		say(masked(true, opPing, nil))(t, conn, peer)
		var pong [2]byte
		if _, err := peer.Read(pong[:]); err != nil || pong[0] != 0x80|opPong {
			t.Fatalf("got %x, %v, want a pong", pong, err)
		}
		if got := halfOf(t, conn); got != begun {
			t.Errorf("got the time put off by %s", time.Duration(got-begun))
		}
		// It is whole, and the next is begun in the same packet.
		say(join(masked(true, opMore, nil), masked(true, opText, []byte("next"))[:5]))(t, conn, peer)
		r.wants(t, heard{text: "abbbbb"})
		say(masked(true, opText, []byte("next"))[5:9])(t, conn, peer)
		if got := halfOf(t, conn); got <= begun {
			t.Error("got no time of its own for the next message")
		}
		say(masked(true, opText, []byte("next"))[9:])(t, conn, peer)
		r.wants(t, heard{text: "next"})
		// A torn pong ends, and the next one is begun in the same packet.
		pong2 := masked(true, opPong, []byte("pong"))
		say(pong2[:3])(t, conn, peer)
		begun = halfOf(t, conn)
		say(join(pong2[3:], pong2[:4]))(t, conn, peer)
		parked(t, conn, func() bool { return conn.half > begun })
	})
}
