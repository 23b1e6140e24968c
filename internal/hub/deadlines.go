package hub

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// deadlines are the sessions that wait for a moment, the earliest first. A session
// stands in it once at most; it knows where.
type deadlines struct {
	list []*Session
	next atomic.Int64 // the earliest moment, for who holds no lock; 0: none
}

// set gives a session another moment, on the node's clock; 0 takes it out.
func (d *deadlines) set(s *Session, at time.Duration) {
	switch {
	case at == 0 && s.slot > 0:
		heap.Remove(d, int(s.slot)-1)
	case at == 0:
	case s.slot > 0:
		s.at = at
		heap.Fix(d, int(s.slot)-1)
	default:
		s.at = at
		heap.Push(d, s)
	}
	next := time.Duration(0)
	if len(d.list) > 0 {
		next = d.list[0].at
	}
	d.next.Store(int64(next))
}

// first is the earliest session that is due at now, or nil.
func (d *deadlines) first(now time.Duration) *Session {
	if len(d.list) == 0 || now < d.list[0].at {
		return nil
	}
	return d.list[0]
}

// Len, Less, Swap, Push and Pop make it a heap.Interface.
func (d *deadlines) Len() int           { return len(d.list) }
func (d *deadlines) Less(i, j int) bool { return d.list[i].at < d.list[j].at }
func (d *deadlines) Swap(i, j int) {
	d.list[i], d.list[j] = d.list[j], d.list[i]
	d.list[i].slot, d.list[j].slot = int32(i+1), int32(j+1)
}
func (d *deadlines) Push(x any) {
	s := x.(*Session)
	d.list = append(d.list, s)
	s.slot = int32(len(d.list))
}
func (d *deadlines) Pop() any {
	last := len(d.list) - 1
	s := d.list[last]
	d.list[last] = nil
	d.list, s.slot = d.list[:last], 0
	return s
}
