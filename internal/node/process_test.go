package node

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

// named is a line that notes by which id a process makes itself known.
type named struct {
	*line.Lines
	mu                  sync.Mutex
	sign, process, lane string
}

func (n *named) Sign(ctx context.Context, s room.Sign) error {
	n.mu.Lock()
	n.sign = s.ID
	n.mu.Unlock()
	return n.Lines.Sign(ctx, s)
}

func (n *named) Join(ctx context.Context, name room.Name, by room.Caller, lane room.Lane, ids []room.VisitorID) (room.Joined, error) {
	n.mu.Lock()
	n.process, n.lane = by.Process, lane.Name
	n.mu.Unlock()
	return n.Lines.Join(ctx, name, by, lane, ids)
}

// A node signs its life, calls the line and names its lanes by one id: whoever finds
// the sign missing knows which lanes nobody will finish.
func TestOneIDPerProcess(t *testing.T) {
	onBoth(t, func(t *testing.T, h *hall) {
		l := &named{Lines: h.lines}
		n := h.nodeOver(t, l, nil)
		c, _ := n.join(t)
		c.hear(wire.Room)
		for deadline := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) { // between two looks
			l.mu.Lock()
			sign, process, lane := l.sign, l.process, l.lane
			l.mu.Unlock()
			if sign != "" {
				if process != sign || !strings.HasPrefix(lane, sign+"-") {
					t.Errorf("got sign %q, process %q and lane %q, want one id", sign, process, lane)
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("no sign of life")
			}
		}
	})
}
