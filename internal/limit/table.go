package limit

import (
	"sync"
	"time"
)

// A table remembers what each of at most `most` keys has open and left in its
// buckets. A row is
//
//	open    something is open: it stays, whatever happens
//	idle    in the ring, the one touched the longest ago first
//	free    on the list of rows for new keys
//
// An idle row whose buckets are full again says no more than no row: it goes with
// the next call. One behind another in the ring waits for it, at most as long as
// the slowest bucket takes to fill.
//
// At the bound a new key takes the row of the idle one touched the longest ago,
// which loses the least: it may do at once what it would have had to wait for.
// When every row is open the new key gets none and is not limited: that many
// addresses with something open are not one address, and a refusal would hit
// everybody but those who are here.
type table[K comparable] struct {
	most int // set once

	mu   sync.Mutex
	at   map[K]int32 // into rows; guarded by mu
	rows []row[K]    // rows[0] is the ring's beginning and nobody's; guarded by mu
	free int32       // the first free row, linked by next; 0: none; guarded by mu
}

// row is one key's, guarded by the table's mu.
type row[K comparable] struct {
	key        K
	prev, next int32 // of the ring while idle; next also of the free list
	open       int32
	buckets    [2]bucket
}

func newTable[K comparable](most int) *table[K] {
	return &table[K]{most: most, at: map[K]int32{}, rows: make([]row[K], 1)}
}

// find returns the row of a key, out of the ring, or 0 when there is none to have.
// mu is held; relink follows.
func (t *table[K]) find(key K, now time.Duration) int32 {
	// Two for each one that comes, so that what is over goes faster than it grows.
	for range 2 {
		if oldest := t.rows[0].next; oldest != 0 && t.rows[oldest].over(now) {
			t.drop(oldest)
		}
	}
	if i, ok := t.at[key]; ok {
		if t.rows[i].open == 0 {
			t.unlink(i)
		}
		return i
	}
	if len(t.at) == t.most {
		oldest := t.rows[0].next
		if oldest == 0 {
			return 0
		}
		t.drop(oldest)
	}
	i := t.free
	if i == 0 {
		i = int32(len(t.rows))
		t.rows = append(t.rows, row[K]{})
	} else {
		t.free = t.rows[i].next
	}
	t.rows[i] = row[K]{key: key}
	t.at[key] = i
	return i
}

// relink puts a row that find returned where it belongs now. mu is held.
func (t *table[K]) relink(i int32) {
	if t.rows[i].open > 0 {
		return
	}
	last := t.rows[0].prev
	t.rows[i].prev, t.rows[i].next = last, 0
	t.rows[last].next, t.rows[0].prev = i, i
}

// release closes one of what a row has open.
func (t *table[K]) release(i int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[i].open--
	t.relink(i)
}

func (t *table[K]) unlink(i int32) {
	r := &t.rows[i]
	t.rows[r.prev].next, t.rows[r.next].prev = r.next, r.prev
}

// drop forgets an idle row.
func (t *table[K]) drop(i int32) {
	t.unlink(i)
	delete(t.at, t.rows[i].key)
	t.rows[i] = row[K]{next: t.free} // lets go of the key
	t.free = i
}

func (r *row[K]) over(now time.Duration) bool {
	return r.buckets[0].full(now) && r.buckets[1].full(now)
}

// len counts the keys that are remembered.
func (t *table[K]) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.at)
}
