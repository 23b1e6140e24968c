package hub

import (
	"time"

	"waitroom/internal/room"
)

const (
	flowWindow = 30              // reads that the outflow is measured over
	flowLeast  = 5 * time.Second // less says nothing
	flowRecent = 10              // reads of the short view, which notices a change
)

// outflow measures how fast a line moves: admitted per second of the line's own
// clock, while somebody waits all along. A line that runs empty says nothing
// about how fast a full one would move, so it begins anew.
type outflow struct {
	at       [flowWindow]time.Time
	admitted [flowWindow]int64
	count    int // samples kept, the newest at (next-1)
	next     int
	rate     room.Rate
}

// flow is the estimate of one read: the fastest and the slowest speed to expect,
// in thousandths per second. slow 0: nobody knows.
type flow struct{ fast, slow int64 }

func (o *outflow) reset() { o.count, o.next = 0, 0 }

// add takes a read and returns the estimate with it.
func (o *outflow) add(s room.Snapshot) flow {
	shown := s.Conf.Shown(s.Waiting, s.Now)
	if s.Waiting == 0 || (shown != room.ShownOpen && shown != room.ShownFull) {
		o.reset()
		return flow{}
	}
	if o.count > 0 {
		last := (o.next + flowWindow - 1) % flowWindow
		if o.rate != s.Conf.Rate || s.Admitted < o.admitted[last] || !s.Now.After(o.at[last]) {
			o.reset() // another speed, another line, or a clock that went back
		}
	}
	o.rate = s.Conf.Rate
	o.at[o.next], o.admitted[o.next] = s.Now, s.Admitted
	o.next = (o.next + 1) % flowWindow
	o.count = min(o.count+1, flowWindow)

	long, ok := o.speed(o.count - 1)
	if !ok {
		return flow{}
	}
	short, ok := o.speed(min(o.count-1, flowRecent))
	if !ok {
		short = long
	}
	set := int64(s.Conf.Rate)
	// A tenth faster and a fifth slower than measured is the range told; no
	// faster than the rate that is set.
	fast := min(set, max(long, short)*11/10)
	slow := min(set, min(long, short)*8/10)
	if slow < 1 {
		return flow{} // nobody moved lately: nobody knows
	}
	return flow{fast: max(fast, slow), slow: slow}
}

// speed is the outflow since the sample back before the newest.
func (o *outflow) speed(back int) (int64, bool) {
	if back < 1 {
		return 0, false
	}
	newest := (o.next + flowWindow - 1) % flowWindow
	then := (newest + flowWindow - back) % flowWindow
	span := o.at[newest].Sub(o.at[then])
	if span < flowLeast {
		return 0, false
	}
	return (o.admitted[newest] - o.admitted[then]) * 1_000_000 / span.Milliseconds(), true
}

// eta is the wait at a position as a range of seconds; low -1: nobody knows.
func (f flow) eta(p room.Position) (low, high int64) {
	if f.slow == 0 {
		return -1, 0
	}
	return int64(p) * 1000 / f.fast, (int64(p)*1000 + f.slow - 1) / f.slow
}
