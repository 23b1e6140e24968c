package limit

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// a is somebody's address, b another one's.
var (
	a = netip.MustParsePrefix("203.0.113.7/32")
	b = netip.MustParsePrefix("2001:db8:ffff:2::/64") // none of nth
)

// nth is an address of its own for each n.
func nth(n int) netip.Prefix {
	var v6 [16]byte
	binary.BigEndian.PutUint64(v6[:], 0x20010db8_00000000+uint64(n))
	return netip.PrefixFrom(netip.AddrFrom16(v6), 64)
}

// connect is a Connect that must be let in.
func connect(t *testing.T, l *Limiter, key netip.Prefix) Lease {
	t.Helper()
	lease, retry := l.Connect(key)
	if retry != 0 {
		t.Fatalf("%s: got refused for %s, want it let in", key, retry)
	}
	return lease
}

func TestConfigReportsEveryWrongValue(t *testing.T) {
	if err := (&Config{}).Check(); err != nil {
		t.Errorf("got %v, want none: 0 is no limit", err)
	}
	err := (&Config{Connections: -1, Connects: 1, ConnectsBurst: 0, Joins: most + 1, JoinsBurst: most + 1}).Check()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"--limit-connections -1: want 0 to 1000000", "--limit-connects-burst 0: want 1 to 1000000",
		"--limit-joins 1000001: want 0 to", "--limit-joins-burst 1000001: want 1 to"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s among it", err, want)
		}
	}
	if got := strings.Count(err.Error(), "--"); got != 4 {
		t.Errorf("got %d flags in %v, want 4", got, err)
	}
}

func TestConnectionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Connections: 3})
		var leases []Lease
		for range 3 {
			leases = append(leases, connect(t, l, a))
		}
		for range 5 {
			if lease, retry := l.Connect(a); retry != fullRetry || lease != (Lease{}) {
				t.Errorf("got lease %v and %s, want none and %s", lease, retry, fullRetry)
			}
		}
		connect(t, l, b)      // another address is not asked
		time.Sleep(time.Hour) // synctest's time
		if _, retry := l.Connect(a); retry == 0 {
			t.Error("got let in by time, want a release")
		}
		leases[0].Release()
		leases[0].Release() // again: nothing
		leases[0] = connect(t, l, a)
		if _, retry := l.Connect(a); retry == 0 {
			t.Error("got a second one in for one release, want it counted once")
		}
		for i := range leases {
			leases[i].Release()
		}
		for range 3 {
			connect(t, l, a)
		}
	})
}

func TestNeighboursAreNotOneAddress(t *testing.T) {
	all := prefixes("1.2.3.4/32", "1.2.3.5/32", "1.2.4.4/32", "2.2.3.4/32", "2001:db8::/64", "2001:db8:0:1::/64", "2001:db9::/64",
		"0:0:102:304::/64") // the same bits as the first
	l := New(Config{Connections: 1})
	for _, key := range all {
		connect(t, l, key)
	}
	for _, key := range all {
		if _, retry := l.Connect(key); retry == 0 {
			t.Errorf("%s: got a second connection, want the first remembered", key)
		}
	}
}

// bucketStory is what a bucket of 2 per second and 3 at once does.
func bucketStory(t *testing.T, ask func(netip.Prefix) time.Duration) {
	t.Helper()
	want := func(key netip.Prefix, want time.Duration) {
		t.Helper()
		if got := ask(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	for range 3 {
		want(a, 0)
	}
	want(a, leastRetry) // half a second is less than anybody is asked to come back after
	want(b, 0)
	time.Sleep(499 * time.Millisecond) // synctest's time
	want(a, leastRetry)
	time.Sleep(time.Millisecond) // synctest's time
	want(a, 0)
	want(a, leastRetry)
	time.Sleep(time.Second) // synctest's time
	want(a, 0)
	want(a, 0)
	want(a, leastRetry)
	time.Sleep(time.Hour) // what is full holds no more
	for range 3 {
		want(a, 0)
	}
	want(a, leastRetry)
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Connects: 2, ConnectsBurst: 3})
		bucketStory(t, func(key netip.Prefix) time.Duration {
			_, retry := l.Connect(key)
			return retry
		})
	})
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Joins: 2, JoinsBurst: 3})
		bucketStory(t, l.Join)
	})
}

// Whoever comes back when it was told to is let in.
func TestRetryIsTheTimeOfTheNextToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bucket
		begun := time.Now()
		p := newPace(4, 2)
		for range 10 {
			wait := b.take(p, time.Since(begun))
			if wait == 0 {
				continue
			}
			time.Sleep(wait - 1) // synctest's time
			if b.take(p, time.Since(begun)) == 0 {
				t.Fatal("got a token too early")
			}
			time.Sleep(time.Nanosecond) // synctest's time
			if again := b.take(p, time.Since(begun)); again != 0 {
				t.Fatalf("got refused for another %s after %s, want a token", again, wait)
			}
		}
	})
}

func TestARefusalCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Connections: 10, Connects: 1, ConnectsBurst: 2, Joins: 1, JoinsBurst: 2})
		for range 2 {
			lease := connect(t, l, a)
			lease.Release()
			l.Join(a)
		}
		for range 1000 {
			l.Connect(a)
			l.Join(a)
		}
		time.Sleep(time.Second) // synctest's time
		connect(t, l, a)
		if retry := l.Join(a); retry != 0 {
			t.Errorf("got refused for %s, want the second's token", retry)
		}
	})
}

func TestWhoIsNotLimited(t *testing.T) {
	tight := New(Config{Connections: 1, Connects: 1, ConnectsBurst: 1, Joins: 1, JoinsBurst: 1})
	none := New(Config{})
	for range 100 {
		connect(t, tight, netip.Prefix{})
		connect(t, none, a)
		if one, two := tight.Join(netip.Prefix{}), none.Join(a); one != 0 || two != 0 {
			t.Fatalf("got %s and %s, want no limit", one, two)
		}
	}
	if got := tight.Addresses() + none.Addresses(); got != 0 {
		t.Errorf("got %d addresses remembered, want none", got)
	}
	var zero Lease
	zero.Release()
}

// A place is its visitor's ticket, whatever its address does, and not one for a
// flood.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Connections: 1, Connects: 1, ConnectsBurst: 1, Joins: 1, JoinsBurst: 1})
		connect(t, l, a)
		for range placeBurst {
			if _, _, retry := l.Place("v1"); retry != 0 {
				t.Fatalf("got refused for %s within the burst", retry)
			}
		}
		if _, _, retry := l.Place("v1"); retry != leastRetry {
			t.Errorf("got %s beyond the burst, want %s", retry, leastRetry)
		}
		if _, _, retry := l.Place("v2"); retry != 0 {
			t.Errorf("another visitor: got %s, want it let in", retry)
		}
		time.Sleep(time.Second) // synctest's time
		in := 0
		for range 100 {
			if _, _, retry := l.Place("v1"); retry == 0 {
				in++
			}
		}
		if in != placeRate {
			t.Errorf("got %d in after a second, want %d", in, placeRate)
		}
	})
}

// Eight pages of one visitor dial as hard as pages ever do: 25 times a minute each,
// no two within a second.
func TestEightPagesOfOnePlaceAreLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		for range 25 {
			for range 8 {
				if _, _, retry := l.Place("v1"); retry != 0 {
					t.Fatalf("got refused for %s", retry)
				}
			}
			time.Sleep(time.Minute / 25) // synctest's time
		}
	})
}

func TestTheTableIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Connections: 1, Joins: 1, JoinsBurst: 2})
		lease := connect(t, l, a)
		l.Join(b) // idle, and the oldest
		for n := range maxAddresses - 2 {
			l.Join(nth(n))
		}
		if got := l.Addresses(); got != maxAddresses {
			t.Fatalf("got %d addresses, want %d", got, maxAddresses)
		}
		l.Join(b)        // touched: not the oldest any more
		l.Join(nth(1e6)) // nth(0) goes
		used := func(key netip.Prefix) bool {
			l.addresses.mu.Lock()
			defer l.addresses.mu.Unlock()
			_, ok := l.addresses.at[addressOf(key)]
			return ok
		}
		if used(nth(0)) || !used(nth(1)) || !used(b) || !used(a) {
			t.Errorf("got %t %t %t %t remembered, want the idle one touched the longest ago gone", used(nth(0)), used(nth(1)), used(b), used(a))
		}
		for n := range 50_000 {
			l.Join(nth(200_000 + n))
		}
		if got, rows := l.Addresses(), len(l.addresses.rows); got != maxAddresses || rows != maxAddresses+1 {
			t.Errorf("got %d addresses in %d rows after 150,000, want %d", got, rows, maxAddresses)
		}
		if _, retry := l.Connect(a); retry == 0 {
			t.Error("got an address with an open connection forgotten, want it to stay")
		}
		lease.Release()
		// What a bucket has to say is over after two seconds: all go, two for each call.
		time.Sleep(2 * time.Second) // synctest's time
		for range maxAddresses / 2 {
			l.Join(a)
		}
		if got := l.Addresses(); got != 1 {
			t.Errorf("got %d addresses remembered, want the one that came", got)
		}
		if got := len(l.addresses.rows); got != maxAddresses+1 {
			t.Errorf("got %d rows, want those used again", got)
		}
	})
}

// With every row open whoever is new is let in, and nobody who is here is forgotten.
func TestTheTableFullOfOpenOnes(t *testing.T) {
	l := New(Config{Connections: 1, Connects: 1, ConnectsBurst: 1, Joins: 1, JoinsBurst: 1})
	leases := make([]Lease, maxAddresses)
	for n := range leases {
		leases[n] = connect(t, l, nth(n))
	}
	for range 3 {
		lease := connect(t, l, a)
		if retry := l.Join(a); retry != 0 || lease != (Lease{}) {
			t.Errorf("got %s and %v, want it let in and not counted", retry, lease)
		}
		lease.Release()
	}
	for _, n := range []int{0, maxAddresses / 2, maxAddresses - 1} {
		if _, retry := l.Connect(nth(n)); retry == 0 {
			t.Errorf("address %d: got a second connection, want the first remembered", n)
		}
	}
	leases[7].Release()
	connect(t, l, a)
	if _, retry := l.Connect(a); retry == 0 || l.Addresses() != maxAddresses {
		t.Errorf("got %s and %d addresses, want the row of the one that left", retry, l.Addresses())
	}
}

// The ring, the map and the free list agree with a plain map after every step of a
// long walk.
func TestTheTableWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Connections: 3, Connects: 5, ConnectsBurst: 20, Joins: 5, JoinsBurst: 20})
		l.addresses = newTable[address](8)
		open := map[netip.Prefix][]Lease{}
		seed := uint32(1)
		roll := func(n int) int { // a linear congruence: the walk is the same each time
			seed = seed*1664525 + 1013904223
			return int(seed>>8) % n
		}
		for range 20_000 {
			key := nth(roll(12))
			switch roll(4) {
			case 0:
				if lease, retry := l.Connect(key); retry == 0 && lease != (Lease{}) {
					open[key] = append(open[key], lease)
				}
			case 1:
				l.Join(key)
			case 2:
				if n := len(open[key]); n > 0 {
					open[key][n-1].Release()
					open[key] = open[key][:n-1]
				}
			case 3:
				time.Sleep(time.Duration(roll(300)) * time.Millisecond) // synctest's time
			}
			check(t, l.addresses, open)
			if t.Failed() {
				return
			}
		}
	})
}

func check(t *testing.T, tab *table[address], open map[netip.Prefix][]Lease) {
	t.Helper()
	idle, free := 0, 0
	for i, last := tab.rows[0].next, int32(0); i != 0; i, last = tab.rows[i].next, i {
		if idle++; idle > tab.most {
			t.Fatal("got a ring without an end")
		}
		if r := tab.rows[i]; r.open != 0 || r.prev != last || tab.at[r.key] != i {
			t.Fatalf("got row %d as %+v in the ring", i, r)
		}
	}
	for i := tab.free; i != 0; i = tab.rows[i].next {
		free++
	}
	busy := 0
	for key, leases := range open {
		if len(leases) == 0 {
			continue
		}
		busy++
		if r := tab.rows[tab.at[addressOf(key)]]; int(r.open) != len(leases) || r.key != addressOf(key) {
			t.Fatalf("%s: got %d open, want %d", key, r.open, len(leases))
		}
	}
	if len(tab.at) > tab.most || len(tab.at) != idle+busy || len(tab.rows)-1 != idle+busy+free {
		t.Fatalf("got %d keys, %d idle, %d open, %d free, %d rows", len(tab.at), idle, busy, free, len(tab.rows)-1)
	}
}

// Many at once on few addresses: nobody gets past the bound, and all that was taken
// is given back.
func TestConcurrentUse(t *testing.T) {
	l := New(Config{Connections: 4, Connects: most, ConnectsBurst: most, Joins: most, JoinsBurst: most})
	l.addresses = newTable[address](6)
	keys := []netip.Prefix{a, b, nth(1), nth(2)}
	var mu sync.Mutex
	open := map[netip.Prefix]int{}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			<-start
			for i := range 500 {
				key := keys[(w+i)%len(keys)]
				lease, retry := l.Connect(key)
				l.Join(nth(10 + i)) // pushes out who is idle
				l.Place("v")
				if retry != 0 {
					continue
				}
				mu.Lock()
				if open[key]++; open[key] > 4 {
					t.Errorf("%s: got %d open, want 4 at most", key, open[key])
				}
				mu.Unlock()
				mu.Lock()
				open[key]--
				mu.Unlock()
				lease.Release()
			}
		})
	}
	close(start)
	wg.Wait()
	check(t, l.addresses, nil)
}
