package limit

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	// maxAddresses bounds the addresses that are remembered: six times the
	// connections of a node, at about 100 bytes each.
	maxAddresses = 100_000
	// maxPlaces bounds the visitors whose buckets are remembered, as above.
	maxPlaces = 100_000

	// placeRate and placeBurst are how often one visitor may connect. A page dials
	// at most 25 times a minute and a visitor has at most 8 of them on a node, which
	// makes 3.3 per second; all 8 may come back at once, twice.
	placeRate  = 4
	placeBurst = 16
	// placeOpen is how many connections of a visitor are exempt from the limits of its
	// address: the page and the one that it comes back on while the old one is not yet
	// known to be dead. Without a bound, every place that an address has taken would be
	// a ticket for eight connections.
	placeOpen = 2

	// leastRetry is the soonest that whoever was refused is asked to come back: less
	// is a loop, not a wait.
	leastRetry = time.Second
	// fullRetry is when to come back to an address that has too much open. Nobody
	// knows when something of it closes.
	fullRetry = 10 * time.Second
)

// The two buckets of an address; a place has the first one only.
const (
	connects = iota
	joins
)

// Limiter counts what addresses do. Safe for concurrent use.
type Limiter struct {
	// set once
	begun    time.Time // of its clock, which is monotonic
	most     int       // open at once per address; 0: no limit
	connects pace
	joins    pace
	place    pace

	addresses *table[address]
	places    *table[string]
}

// New makes a limiter. conf has passed Check.
func New(conf Config) *Limiter {
	return &Limiter{
		begun: time.Now(), most: conf.Connections,
		connects: newPace(conf.Connects, conf.ConnectsBurst), joins: newPace(conf.Joins, conf.JoinsBurst),
		place:     newPace(placeRate, placeBurst),
		addresses: newTable[address](maxAddresses), places: newTable[string](maxPlaces),
	}
}

// address is a /32 or a /64 in 16 bytes, half of what netip.Prefix takes.
type address struct {
	bits uint64 // the address of IPv4, or the upper half of IPv6
	v4   bool
}

func addressOf(key netip.Prefix) address {
	if a := key.Addr(); a.Is4() {
		b := a.As4()
		return address{uint64(binary.BigEndian.Uint32(b[:])), true}
	}
	b := key.Addr().As16()
	return address{binary.BigEndian.Uint64(b[:8]), false}
}

// Lease is one thing that an address or a visitor has open. The zero value holds nothing. Its
// methods are for one owner at a time.
type Lease struct {
	table interface{ release(int32) } // nil: nothing to give back
	row   int32
}

// Release gives the lease back. Again, or of the zero value, it does nothing.
func (l *Lease) Release() {
	if t := l.table; t != nil {
		l.table = nil
		t.release(l.row)
	}
}

// Connect asks for one connection more of an address. Where retry is 0 it may come,
// and whoever asked releases the lease at its end; otherwise it may come back after
// that time, and the refusal has cost it nothing. The zero key is never refused.
func (l *Limiter) Connect(key netip.Prefix) (lease Lease, retry time.Duration) {
	if !key.IsValid() || l.most == 0 && l.connects == (pace{}) {
		return Lease{}, 0
	}
	t, now := l.addresses, time.Since(l.begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.find(addressOf(key), now)
	if i == 0 {
		return Lease{}, 0
	}
	defer t.relink(i)
	r := &t.rows[i]
	if l.most > 0 && int(r.open) >= l.most {
		return Lease{}, fullRetry
	}
	if wait := r.buckets[connects].take(l.connects, now); wait > 0 {
		return Lease{}, max(wait, leastRetry)
	}
	if l.most == 0 {
		return Lease{}, 0
	}
	r.open++
	return Lease{t, i}, 0
}

// Join asks for one new number in a line for an address. retry as with Connect.
func (l *Limiter) Join(key netip.Prefix) (retry time.Duration) {
	if !key.IsValid() || l.joins == (pace{}) {
		return 0
	}
	return take(l.addresses, addressOf(key), joins, l.joins, time.Since(l.begun))
}

// Unjoin gives back what Join took, for a join that got no number.
func (l *Limiter) Unjoin(key netip.Prefix) {
	if !key.IsValid() || l.joins == (pace{}) {
		return
	}
	t, now := l.addresses, time.Since(l.begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.find(addressOf(key), now); i != 0 {
		t.rows[i].buckets[joins].giveBack(l.joins)
		t.relink(i)
	}
}

// Place asks for one connection more of a visitor whose place was verified. retry as
// with Connect. exempt: its address need not be asked, and the lease is released at the
// connection's end; otherwise the visitor has placeOpen such ones already, and this one
// counts for its address like anybody's. Only what was verified may be counted: the
// names of strangers would push out the others.
func (l *Limiter) Place(visitor string) (lease Lease, exempt bool, retry time.Duration) {
	t, now := l.places, time.Since(l.begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.find(visitor, now)
	if i == 0 {
		return Lease{}, true, 0
	}
	defer t.relink(i)
	r := &t.rows[i]
	if wait := r.buckets[connects].take(l.place, now); wait > 0 {
		return Lease{}, false, max(wait, leastRetry)
	}
	if r.open >= placeOpen {
		return Lease{}, false, 0
	}
	r.open++
	return Lease{t, i}, true, 0
}

func take[K comparable](t *table[K], key K, which int, p pace, now time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.find(key, now)
	if i == 0 {
		return 0
	}
	defer t.relink(i)
	if wait := t.rows[i].buckets[which].take(p, now); wait > 0 {
		return max(wait, leastRetry)
	}
	return 0
}

// Addresses counts the addresses that are remembered.
func (l *Limiter) Addresses() int { return l.addresses.len() }
