package main

import (
	"slices"
	"sync"
	"time"

	"waitroom/internal/room"
)

// positionHead is how every position message begins; its number follows.
const positionHead = `{"type":"position","position":`

// Heard is what visitors heard in a stretch of time. Times are in µs.
type Heard struct {
	Lost int // visitors whose connection ended in it
	// Gaps are the times between two position frames of one visitor, the second of
	// them within the stretch; and of who had heard nothing for longer than a tick
	// when it ended, that time so far.
	Gaps []int32
	// Reads are the frames by the read of the line that they are out of. While a
	// line moves no two reads are alike: each has another number of visitors gone,
	// and every position of it says how many (its number less its position).
	Reads map[int64]*Read
}

// Read is one read of the line as visitors heard it.
type Read struct {
	FirstUS int64   // when the first frame of it came, since 1970
	AfterUS []int32 // when each came, after the first
}

// tick is how often a visitor of a line that moves is told its position.
const tick = time.Second

// ear is what the visitors of one process hear.
type ear struct {
	mu      sync.Mutex
	on      bool
	heard   Heard
	all     []*listener
	arrived map[int64][]int64 // at, by the visitors gone
}

// listener is one visitor; guarded by the ear's mu.
type listener struct {
	last int64 // when its last position came; 0: never
	gone bool
}

func (e *ear) listener() *listener {
	l := &listener{}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, l)
	return l
}

// open begins a stretch.
func (e *ear) open() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.on, e.heard, e.arrived = true, Heard{}, map[int64][]int64{}
}

// close ends it.
func (e *ear) close() Heard { return e.closeAt(time.Now().UnixMicro()) }

func (e *ear) closeAt(now int64) Heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.on = false
	for _, l := range e.all {
		if since := now - l.last; !l.gone && l.last > 0 && since > tick.Microseconds() {
			e.heard.Gaps = append(e.heard.Gaps, int32(since))
		}
	}
	e.heard.Reads = map[int64]*Read{}
	for gone, at := range e.arrived {
		r := &Read{FirstUS: slices.Min(at)}
		for _, t := range at {
			r.AfterUS = append(r.AfterUS, int32(t-r.FirstUS))
		}
		e.heard.Reads[gone] = r
	}
	return e.heard
}

// position is a frame of one visitor, who has this number.
func (e *ear) position(l *listener, number room.Number, payload []byte, at int64) {
	position := leading(payload[len(positionHead):])
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.on {
		if l.last > 0 {
			e.heard.Gaps = append(e.heard.Gaps, int32(at-l.last))
		}
		gone := int64(number) - position
		e.arrived[gone] = append(e.arrived[gone], at)
	}
	l.last = at
}

// leading is the number that text begins with.
func leading(text []byte) (n int64) {
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			break
		}
		n = 10*n + int64(digit-'0')
	}
	return n
}

// lose is the end of a visitor's connection.
func (e *ear) lose(l *listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.on {
		e.heard.Lost++
	}
	l.gone = true
}

// together is what the visitors of several processes heard.
func together(parts []Heard) Heard {
	all := Heard{Reads: map[int64]*Read{}}
	for _, p := range parts {
		all.Lost += p.Lost
		all.Gaps = append(all.Gaps, p.Gaps...)
		for gone, r := range p.Reads {
			into := all.Reads[gone]
			if into == nil {
				into = &Read{FirstUS: r.FirstUS}
				all.Reads[gone] = into
			}
			if earlier := into.FirstUS - r.FirstUS; earlier > 0 {
				for i := range into.AfterUS {
					into.AfterUS[i] += int32(earlier)
				}
				into.FirstUS = r.FirstUS
			}
			for _, after := range r.AfterUS {
				into.AfterUS = append(into.AfterUS, after+int32(r.FirstUS-into.FirstUS))
			}
		}
	}
	return all
}

// late is by how much each gap was longer than a tick, in ms.
func (h Heard) late() []float64 {
	list := make([]float64, len(h.Gaps))
	for i, gap := range h.Gaps {
		list[i] = max(0, float64(gap)-float64(tick.Microseconds())) / 1000
	}
	return list
}

// silences are the gaps themselves, in ms.
func (h Heard) silences() []float64 {
	list := make([]float64, len(h.Gaps))
	for i, gap := range h.Gaps {
		list[i] = float64(gap) / 1000
	}
	return list
}

// ages are how long after the first frame of its read each frame came, in ms. A
// sweep that fits its tick is spread over nine tenths of it.
func (h Heard) ages() (list []float64) {
	for _, r := range h.Reads {
		for _, after := range r.AfterUS {
			list = append(list, float64(after)/1000)
		}
	}
	return list
}

// quantile is the value that the share q of all is not above; of none it is 0.
func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
