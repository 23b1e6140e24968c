package node

import (
	"testing"
	"time"

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
