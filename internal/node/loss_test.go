package node

import (
	"testing"
	"time"

	"waitroom/internal/embedded"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// loseLine takes away all that Redis has of the room but its place in the registry.
func (h *hall) loseLine(t testing.TB) {
	t.Helper()
	rdb := dial(t, h.url)
	keys, err := rdb.Keys(t.Context(), "wr1:{"+string(h.room)+"}:*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("keys of the room: got %v, %v", keys, err)
	}
	if err := rdb.Del(t.Context(), keys...).Err(); err != nil {
		t.Fatal(err)
	}
}

// Redis loses the line whole after somebody was told of a turn: that visitor is back in
// line within seconds and not at the end of the claim, and is let in before the next one.
func TestATurnBeforeALossComesAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		claim := 10 * time.Minute
		h.set(t, room.Change{Claim: &claim})
		n := h.node(t, nil)
		first, _ := n.join(t)
		second, _ := n.join(t)
		second.until("position 2", func(m message) bool { return m.Position == 2 })
		h.admit(t, 1)
		first.hear(wire.Admitted)
		second.until("position 1", func(m message) bool { return m.Position == 1 })
		h.loseLine(t)
		first.until("back in front", func(m message) bool { return m.Position == 1 })
		second.until("back behind", func(m message) bool { return m.Position == 2 })
		h.admit(t, 1)
		first.hear(wire.Admitted)
	})
}

// A claim of a place that the line lost with its number says so, and has it brought back.
func TestAClaimOfALostPlace(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		claim := 10 * time.Minute
		h.set(t, room.Change{Claim: &claim})
		n := h.node(t, nil)
		c, _ := n.join(t)
		c.hear(wire.Position)
		h.admit(t, 1)
		c.hear(wire.Admitted)
		h.loseLine(t)
		c.say(wire.Request{Type: wire.Claim})
		c.until("recovering", func(m message) bool { return m.Code == wire.Recovering })
		c.until("back in line", func(m message) bool { return m.Position == 1 })
	})
}

// A registry that is lost alone comes back by the nodes that remember its rooms: who waits
// hears it, and a newcomer at a node that remembers nothing gets a place.
func TestALostRegistryComesBack(t *testing.T) {
	// A Redis of its own, since its registry is lost whole.
	_, addr, stop, err := embedded.Redis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	h := newHall(t, "redis://"+addr+"/0")
	n, other := h.node(t, nil), h.node(t, nil)
	c, _ := n.join(t)
	c.hear(wire.Position)
	if err := dial(t, h.url).Del(t.Context(), "wr1:rooms").Err(); err != nil {
		t.Fatal(err)
	}
	c.until("recovering", func(m message) bool { return m.State == room.ShownRecovering })
	c.until("open", func(m message) bool { return m.State == room.ShownOpen })
	newcomer := other.dial(t, h.room)
	for end := time.Now().Add(wait); ; {
		newcomer.say(wire.Request{Type: wire.Join})
		m, err := newcomer.next()
		if err != nil || time.Now().After(end) {
			t.Fatalf("a newcomer: got %+v, %v, want a number", m, err)
		}
		if m.Type == wire.Joined {
			return
		}
	}
}

// What a sale is for outlives the loss of the whole line: a node that was started since
// shows it.
func TestTheEventOutlivesTheLine(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		title := "Gala"
		h.set(t, room.Change{Event: room.EventChange{Title: &title}})
		n := h.node(t, nil)
		c, _ := n.join(t)
		c.hear(wire.Position)
		knows := func(n *testNode) {
			t.Helper()
			for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) { // between two looks
				if e, _ := n.Rooms.Room(h.room); e.Title == title {
					return
				}
				if time.Now().After(end) {
					t.Fatal("the node does not know what the sale is for")
				}
			}
		}
		knows(n)
		h.loseLine(t)
		c.until("back in line", func(m message) bool { return m.State == room.ShownOpen })
		knows(h.node(t, nil))
	})
}
