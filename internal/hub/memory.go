package hub

import (
	"hash/fnv"
	"time"

	"waitroom/internal/room"
)

// memory is the last read of a line and what is known of how it changed since: a room
// in which nothing changed is told out of it, exactly.
type memory struct {
	snapshot room.Snapshot // of the last good read
	at       time.Time     // when it began
	sound    bool          // no read failed since
	pulse    room.Pulse    // as of before that read
	pulsed   bool          // pulse is known

	latest   room.Pulse // the last one read
	latestAt time.Time  // when its read began; zero: none yet
	trouble  error      // why the last pulse could not be read
}

// pulsed takes a pulse. changed: the line is not as it was at the last read.
func (v *view) pulsed(began time.Time, p room.Pulse, err error) (changed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := &v.memory
	if m.trouble = err; err != nil {
		return false
	}
	m.latest, m.latestAt = p, began
	changed = m.pulsed && m.pulse != p
	if m.sound && m.pulsed && !changed && began.After(v.good) {
		v.good = began // the last read is as good as one of now
	}
	return changed
}

// before is the pulse that a read which begins now may stand on.
func (m *memory) before() (p room.Pulse, known bool) {
	return m.latest, m.trouble == nil && !m.latestAt.IsZero()
}

// remembered is the line as a read of now would find it; false: it has to be read.
func (v *view) remembered(now time.Time) (s room.Snapshot, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := &v.memory
	age := now.Sub(m.at)
	if !v.known || v.lost || !m.sound || !m.pulsed || m.trouble != nil || m.pulse != m.latest ||
		now.Sub(m.latestAt) > stalledAfter || age > rereadAfter+v.spread {
		return s, false
	}
	s = m.snapshot
	s.Now = s.Now.Add(age)
	// It may change by the clock alone; and after trouble it is shown again by a read.
	if v.stateOf(s) != v.shown.state || recovers(s) {
		return s, false
	}
	return s, true
}

// doubt has the line read again: it says of somebody who had left it that he waits.
func (v *view) doubt() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.memory.sound = false
}

// dark is why the line can't be read, by the pulse of all rooms; nil: it can, or nobody
// knows.
func (v *view) dark() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.known || !room.Retryable(v.memory.trouble) {
		return nil
	}
	return v.memory.trouble
}

// overdue reports that visitors have to be told that the line is away, and were not.
func (v *view) overdue(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Sub(v.good) >= stalledAfter && v.shown.state != room.ShownStalled && v.shown.state != room.ShownRecovering
}

// spreadOf is the part of rereadSpread that belongs to a room.
func spreadOf(name room.Name) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it never fails
	return time.Duration(h.Sum32()) * rereadSpread / (1 << 32)
}
