package node

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"waitroom/internal/gateway"
	"waitroom/internal/limit"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// knock opens a connection with headers of its own and an offered place ("": none).
// It returns the client, or the status it was refused with.
func (n *testNode) knock(t testing.TB, place string, header http.Header) (*client, *http.Response) {
	t.Helper()
	protocols := []string{wire.Subprotocol}
	if place != "" {
		protocols = append(protocols, "place."+place)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, n.url(n.room), &websocket.DialOptions{Subprotocols: protocols, HTTPHeader: header})
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return nil, resp
	}
	if ws.Subprotocol() != wire.Subprotocol {
		t.Errorf("got subprotocol %q, want %q whatever is offered", ws.Subprotocol(), wire.Subprotocol)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t, ws}, resp
}

func refused(t testing.TB, what string, resp *http.Response, want int) {
	t.Helper()
	if resp == nil || resp.StatusCode != want || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s: got %v, want %d with Retry-After", what, resp, want)
	}
}

// One address can't take the node from the others, and a place is never refused for
// the address it comes from.
func TestLimitsPerAddress(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		other := h.node(t, nil)
		_, joined := other.join(t)
		n := h.node(t, func(c *gateway.Config) {
			c.Limit = limit.Config{Connections: 3, Connects: 1000, ConnectsBurst: 1000, Joins: 1, JoinsBurst: 2, Private: true}
		})
		var clients []*client
		for range 3 {
			c, resp := n.knock(t, "", nil)
			if c == nil {
				t.Fatalf("got %d within the limit", resp.StatusCode)
			}
			clients = append(clients, c)
		}
		_, resp := n.knock(t, "", nil)
		refused(t, "a fourth connection", resp, http.StatusTooManyRequests)
		_, resp = n.knock(t, "rubbish", nil)
		refused(t, "with a place that is none", resp, http.StatusTooManyRequests)
		elsewhere, err := h.keys.Place("other", h.epoch, room.Place{Visitor: room.NewVisitorID(), Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, resp = n.knock(t, elsewhere, nil)
		refused(t, "with a place of another room", resp, http.StatusTooManyRequests)
		back, resp := n.knock(t, joined.Place, nil)
		if back == nil {
			t.Fatalf("a place: got %d, want it let in", resp.StatusCode)
		}
		back.say(wire.Request{Type: wire.Join, Place: joined.Place})
		if got := back.hear(wire.Joined); got.Number != joined.Number {
			t.Errorf("got number %d, want %d", got.Number, joined.Number)
		}
		for _, c := range clients[:2] {
			c.say(wire.Request{Type: wire.Join})
			c.hear(wire.Joined)
		}
		clients[2].say(wire.Request{Type: wire.Join})
		m := clients[2].until("address_limit", func(m message) bool { return m.Type == wire.Error })
		if m.Code != wire.AddressLimit || m.RetryMS <= 0 || m.RetryMS > 1500 {
			t.Errorf("got %+v, want address_limit with when to ask again", m)
		}
		clients[2].until("how the room stands", func(m message) bool { return m.State == room.ShownOpen })
		clients[2].say(wire.Request{Type: wire.Join, Place: joined.Place})
		clients[2].hear(wire.Joined) // a return takes no new place

		// Who leaves makes room.
		_ = clients[0].ws.Close(websocket.StatusNormalClosure, "")
		clients[0].wantsRoom(n, n.knock)
	})
}

// wantsRoom waits until a connection that has ended no longer counts.
func (c *client) wantsRoom(n *testNode, knock func(testing.TB, string, http.Header) (*client, *http.Response)) {
	c.t.Helper()
	for range 500 {
		if again, _ := knock(c.t, "", nil); again != nil {
			return
		}
	}
	c.t.Error("got no place for a connection after one has ended")
}

// X-Forwarded-For counts from a trusted proxy only, and there the rightmost hop that
// is not trusted.
func TestForwardedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		one := limit.Config{Connections: 1, Connects: 1000, ConnectsBurst: 1000, Joins: 1000, JoinsBurst: 1000}
		from := func(list ...string) http.Header { return http.Header{"X-Forwarded-For": list} }
		untrusting := h.node(t, func(c *gateway.Config) { c.Limit = one })
		for range 5 {
			if c, resp := untrusting.knock(t, "", from("203.0.113.7")); c == nil {
				t.Fatalf("an untrusted peer's header: got %d, want it to change nothing", resp.StatusCode)
			}
		}
		n := h.node(t, func(c *gateway.Config) { c.Limit = one; c.TrustedProxy = []string{"127.0.0.0/8"} })
		for _, c := range []struct {
			name   string
			header http.Header
			in     bool
		}{
			{"the first of an address", from("203.0.113.7"), true},
			{"a second", from("203.0.113.7"), false},
			{"a second, mapped to IPv6", from("::ffff:203.0.113.7"), false},
			{"a second, spoofing another before itself", from("198.51.100.1, 203.0.113.7"), false},
			{"a second, through a proxy of ours that rubbish stands before", from("rubbish, 203.0.113.7, 127.0.0.9"), false},
			{"another", from("203.0.113.8"), true},
			{"two lines are one list", from("203.0.113.7", "203.0.113.9"), true},
			{"one of a /64", from("2001:db8::1"), true},
			{"a neighbour in it", from("2001:db8::2"), false},
			{"the next /64", from("2001:db8:0:1::1"), true},
			{"private behind the proxy", from("10.1.2.3"), true},
			{"private again", from("10.1.2.3"), true},
			{"rubbish is the proxy itself", from("rubbish"), true},
			{"rubbish again", from("%$!" + strings.Repeat("x", 2000)), true},
			{"nobody named", nil, true},
		} {
			if got, resp := n.knock(t, "", c.header); (got != nil) != c.in {
				t.Errorf("%s: got let in %t (%d), want %t", c.name, got != nil, resp.StatusCode, c.in)
			}
		}
		if n.logs.FilterMessageSnippet("limits").Len() == 0 {
			t.Error("got no line that says what an operator can do about refused addresses")
		}
	})
}

// A node that can't tell more visitors their position in time sends newcomers away
// before they cost anything, and lets places in.
func TestFullNodeTakesPlaces(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, nil)
		early := n.dial(t, h.room)
		other := h.node(t, nil)
		_, joined := other.join(t)
		n.sinks.full.Store(true)
		_, resp := n.knock(t, "", nil)
		refused(t, "a newcomer", resp, http.StatusServiceUnavailable)
		early.say(wire.Request{Type: wire.Join, Place: joined.Place})
		early.hear(wire.Joined)
		c, resp := n.knock(t, joined.Place, nil)
		if c == nil {
			t.Fatalf("a place: got %d, want it let in", resp.StatusCode)
		}
		c.say(wire.Request{Type: wire.Join, Place: joined.Place})
		c.hear(wire.Joined)
		n.sinks.full.Store(false)
		n.join(t)
	})
}

// Who believes everybody is told so at start.
func TestTrustingEverybodyIsWarnedOf(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, func(c *gateway.Config) { c.TrustedProxy = []string{"0.0.0.0/0"} })
		if n.logs.FilterMessageSnippet("0.0.0.0/0").FilterLevelExact(zap.WarnLevel).Len() != 1 {
			t.Errorf("got %v, want one warning that names the network", n.logs.All())
		}
	})
}

// Who was refused and does not close counts for its address until its descriptor is
// gone.
func TestEndedConnectionsCountForTheirAddress(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, func(c *gateway.Config) {
			c.Limit = limit.Config{Connections: 5, Connects: 1000, ConnectsBurst: 1000, Joins: 1000, JoinsBurst: 1000, Private: true}
		})
		in := 0
		for range 20 {
			c, _ := n.knock(t, "", nil)
			if c == nil {
				continue
			}
			in++
			// It is refused, and its client reads no further: the close frame stays unanswered.
			c.say(wire.Request{Type: "dance"})
			c.until("why", func(m message) bool { return m.Code == wire.UnknownType })
		}
		if in != 5 {
			t.Errorf("got %d connections of one address in, none of them closed yet, want 5", in)
		}
	})
}

// A place is a ticket for two connections past the limit of its address, used up or
// not: further ones count for the address.
func TestAPlaceIsATicketForTwo(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		n := h.node(t, func(c *gateway.Config) {
			c.Limit = limit.Config{Connections: 1, Connects: 1000, ConnectsBurst: 1000, Joins: 1000, JoinsBurst: 1000, Private: true}
		})
		first, _ := n.knock(t, "", nil)
		for _, used := range []bool{false, true} {
			first.say(wire.Request{Type: wire.Join})
			place := first.hear(wire.Joined).Place
			if used {
				first.say(wire.Request{Type: wire.Leave})
				first.hear(wire.Left)
			}
			in := 0
			for range 6 {
				if c, resp := n.knock(t, place, nil); c != nil {
					in++
				} else {
					refused(t, "a third", resp, http.StatusTooManyRequests)
				}
			}
			if in != 2 {
				t.Errorf("used up %t: got %d connections of one place past the limit of its address, want 2", used, in)
			}
			if !used {
				first.say(wire.Request{Type: wire.Leave})
				first.hear(wire.Left)
			}
		}
	})
}
