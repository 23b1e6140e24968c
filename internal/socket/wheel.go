package socket

import (
	"sync"
	"time"
)

// wheelTick is how coarse deadlines are: each is met within two of these. They
// are all of seconds.
const wheelTick = int64(250 * time.Millisecond)

// wheel keeps who has a deadline, by the tick in which to look. It costs a
// connection without a deadline nothing, and one with a deadline eight bytes: a
// deadline that was taken back or put off is found out by who looks, so nothing
// is ever taken out early. A connection that ended is kept until its tick.
type wheel struct {
	mu    sync.Mutex
	last  int64 // ticks up to this one were looked at
	ticks map[int64][]*Conn
}

// add notes c for a look soon after at, and returns the tick of it.
func (w *wheel) add(at int64, c *Conn) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	tick := max(at/wheelTick, w.last) + 1
	w.ticks[tick] = append(w.ticks[tick], c)
	return tick
}

// advance hands every connection whose tick has come, with the tick, to look.
func (w *wheel) advance(now int64, look func(c *Conn, tick int64)) {
	for {
		w.mu.Lock()
		if w.last >= now/wheelTick {
			w.mu.Unlock()
			return
		}
		w.last++
		tick := w.last
		all := w.ticks[tick]
		delete(w.ticks, tick)
		w.mu.Unlock()
		for _, c := range all {
			look(c, tick)
		}
	}
}
