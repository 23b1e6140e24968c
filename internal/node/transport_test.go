package node

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"waitroom/internal/gateway"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
	"waitroom/internal/wire"
)

// A page that never reads holds nobody up: the others hear their positions in
// time, and it is closed.
func TestSlowPeerHoldsNobodyUp(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		slow, _ := n.join(t)
		n.sinks.mu.Lock()
		sink := n.sinks.last
		n.sinks.mu.Unlock()
		// Nobody reads slow's connection. Its kernel may take more after a while, so it
		// is full once it has refused for a tenth of a second.
		for refused, end := time.Now(), time.Now().Add(wait); time.Since(refused) < 100*time.Millisecond; {
			if sink.TrySend([]byte(strings.Repeat("x", 300))) {
				refused = time.Now()
			}
			if time.Now().After(end) {
				t.Fatal("the peer takes everything: the test proves nothing")
			}
		}
		sink.Send([]byte("told"))
		others := make([]*client, 5)
		for i := range others {
			others[i], _ = n.join(t)
		}
		for i, o := range others {
			o.until("its position", func(m message) bool { return m.Position == room.Position(i+2) })
		}
		for deadline := time.Now().Add(2 * wait); n.connections(t) != len(others); {
			if time.Now().After(deadline) {
				t.Fatalf("got %d connections, want %d: the stuck one closed", n.connections(t), len(others))
			}
			time.Sleep(50 * time.Millisecond) // it is cut after 15 s of the machine's clock
		}
		_ = slow
	})
}

// While Redis is away sockets stay; when it is back the line goes on.
func TestRedisAwayAndBack(t *testing.T) {
	t.Parallel()
	server := testenv.StartRedis(t)
	h := newHall(t, server.URL())
	n := h.node(t, nil)
	c, joined := n.join(t)
	c.until("position 1", func(m message) bool { return m.Position == 1 })
	server.Pause()
	c.until("stalled", func(m message) bool { return m.State == room.ShownStalled })
	late := n.dial(t, h.room)
	late.say(wire.Request{Type: wire.Join})
	late.until("error stalled", func(m message) bool { return m.Code == wire.Stalled })
	server.Resume()
	c.until("open", func(m message) bool { return m.State == room.ShownOpen })
	c.until("position 1 again", func(m message) bool { return m.Position == 1 })
	late.say(wire.Request{Type: wire.Join})
	if got := late.hear(wire.Joined); got.Number <= joined.Number {
		t.Errorf("got number %d, want one above %d", got.Number, joined.Number)
	}
}

func TestFirstMessageIsAwaitedForAWhile(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		c := n.dial(t, h.room)
		if told, code := c.ends(); told != wire.NoHello || code != wire.CloseStalled {
			t.Errorf("got %s and %d, want %s and %d", told, code, wire.NoHello, wire.CloseStalled)
		}
	})
}

// A join that comes in one packet with the handshake is not lost.
func TestEarlyFrame(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		nc := n.raw(t)
		payload := []byte(`{"type":"join"}`)
		frame := append([]byte{0x81, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...) // masked by zero
		req := handshake(h.room)
		if _, err := nc.Write(append([]byte(req), frame...)); err != nil {
			t.Fatal(err)
		}
		if err := nc.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(nc)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got %v, %v", resp, err)
		}
		p := make([]byte, 20) // the head of its frame, and how it begins
		if _, err := io.ReadFull(r, p); err != nil || !strings.Contains(string(p), `"joined"`) {
			t.Errorf("got %q, %v, want joined", p, err)
		}
	})
}

// Who was refused and does not end its connection holds a descriptor for some more
// seconds: it counts until it is gone, or a flood of them would take every file.
func TestClosingConnectionsCount(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, func(c *gateway.Config) { c.MaxConnections = 2 })
		for end, open := time.Now().Add(wait), 0; open < 2; {
			nc := n.raw(t)
			req := handshake(h.room)
			rubbish := []byte{0x81, 0x83, 0, 0, 0, 0, 'x', 'y', 'z'}
			if _, err := nc.Write(append([]byte(req), rubbish...)); err != nil {
				t.Fatal(err)
			}
			if err := nc.SetReadDeadline(time.Now().Add(wait)); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(nc)
			resp, err := http.ReadResponse(r, nil)
			// Until the handler of the first one has returned, it counts as one that
			// shakes hands as well.
			if open == 1 && err == nil && resp.StatusCode == http.StatusServiceUnavailable && time.Now().Before(end) {
				continue
			}
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got %v, %v", resp, err)
			}
			if _, err := io.ReadFull(r, make([]byte, 60)); err != nil { // it was told why
				t.Fatal(err)
			}
			open++
		}
		if _, resp := n.knock(t, "", nil); resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got %v while two connections close, want 503", resp)
		}
		for end := time.Now().Add(wait); n.connections(t) > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("got %d connections kept, want them cut", n.connections(t))
			}
		}
		n.join(t)
	})
}

// handshake is a visitor's, by hand.
func handshake(name room.Name) string {
	return "GET /rooms/" + string(name) + "/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}
