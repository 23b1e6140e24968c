package sweep

import (
	"time"

	"waitroom/internal/room"
)

// Signs is what this node says of its rooms in its sign of life: how many
// visitors it shows each, and how old their positions are. Rooms that nobody here
// watches are left out.
func (c *Crowds) Signs() []room.RoomSign {
	c.mu.Lock()
	crowds := make([]*crowd, 0, len(c.rooms))
	for _, r := range c.rooms {
		crowds = append(crowds, r)
	}
	c.mu.Unlock()
	now := time.Now()
	var signs []room.RoomSign
	for _, r := range crowds {
		r.mu.Lock()
		if r.people > 0 {
			signs = append(signs, room.RoomSign{Room: r.name, Epoch: r.epoch, Visitors: int64(len(r.visits)), StaleMS: now.Sub(r.good).Milliseconds()})
		}
		r.mu.Unlock()
	}
	return signs
}
