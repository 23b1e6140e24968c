package limit

import "time"

// Keyed counts what each of many keys has open and asks for per second, and refuses
// what is over. Only what was verified may be a key: the names of strangers would push
// out the others. Safe for concurrent use.
type Keyed struct {
	begun time.Time // of its clock, which is monotonic
	most  int       // open at once
	pace  pace
	rows  *table[string]
}

// NewKeyed lets each key have open at once, and perSecond more beyond burst. It
// remembers as many keys as there are places of a Limiter.
func NewKeyed(open, perSecond, burst int) *Keyed {
	return &Keyed{begun: time.Now(), most: open, pace: newPace(perSecond, burst), rows: newTable[string](maxPlaces)}
}

// Take asks for one more of a key. Where retry is 0 it may come, and whoever asked
// releases the lease at its end; otherwise it may come back after that time, and the
// refusal has cost it nothing.
func (k *Keyed) Take(key string) (lease Lease, retry time.Duration) {
	t, now := k.rows, time.Since(k.begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.find(key, now)
	if i == 0 {
		return Lease{}, 0
	}
	defer t.relink(i)
	r := &t.rows[i]
	if int(r.open) >= k.most {
		return Lease{}, leastRetry
	}
	if wait := r.buckets[connects].take(k.pace, now); wait > 0 {
		return Lease{}, max(wait, leastRetry)
	}
	r.open++
	return Lease{t, i}, 0
}
