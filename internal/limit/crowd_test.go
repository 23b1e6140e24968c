package limit

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
)

// defaults are what the flags say when nobody sets them.
func defaults(t testing.TB) Config {
	t.Helper()
	var c Config
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

// A crowd is people behind one address. Each dials at random moments, and as often
// as dials says (a page and its reload: the first place never reached the page);
// every connection stays open and joins.
type crowd struct {
	name   string
	people int
	dials  int
	within time.Duration
}

var crowds = []crowd{
	{"a school", 1_500, 2, 10 * time.Second},
	{"a school, at the bell", 1_500, 2, time.Second},
	{"a carrier's NAT", 3_000, 1, time.Minute},
	{"a carrier's NAT, in the first seconds", 3_000, 1, 5 * time.Second},
}

func TestTheDefaultsLetCrowdsIn(t *testing.T) {
	for _, c := range crowds {
		synctest.Test(t, func(t *testing.T) {
			l := New(defaults(t))
			random := rand.New(rand.NewPCG(1, 2))
			moments := make([]time.Duration, c.people*c.dials)
			for i := range moments {
				moments[i] = time.Duration(random.Int64N(int64(c.within)))
			}
			slices.Sort(moments)
			begun := time.Now()
			for i, at := range moments {
				time.Sleep(at - time.Since(begun)) // synctest's time
				if _, retry := l.Connect(a); retry != 0 {
					t.Fatalf("%s: connection %d after %s: got refused for %s", c.name, i, at, retry)
				}
				if retry := l.Join(a); retry != 0 {
					t.Fatalf("%s: join %d after %s: got refused for %s", c.name, i, at, retry)
				}
			}
		})
	}
}

// The line is away while a school joins, and every page asks again as the waiting
// page does: at a random moment of 0.8 to 8 s, then to 16 s, then to 30 s. None of
// it may use up what the school needs when the line is back.
func TestASchoolThatAsksAgainForAMinuteIsLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(defaults(t))
		random := rand.New(rand.NewPCG(3, 4))
		var moments []time.Duration
		for range 1_500 {
			at, bound := time.Duration(random.Int64N(int64(10*time.Second))), 8*time.Second
			for at < 70*time.Second {
				moments = append(moments, at)
				at += time.Duration(float64(bound) * (0.1 + 0.9*random.Float64()))
				bound = min(2*bound, 30*time.Second)
			}
			// Back: `room` calls everybody over 5 s.
			moments = append(moments, 70*time.Second+time.Duration(random.Int64N(int64(5*time.Second))))
		}
		slices.Sort(moments)
		begun := time.Now()
		for _, at := range moments {
			time.Sleep(at - time.Since(begun)) // synctest's time
			if retry := l.Join(a); retry != 0 {
				t.Fatalf("after %s: got refused for %s", at, retry)
			}
		}
	})
}

// What ARCHITECTURE says one address gets.
func TestOneAddressGetsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(defaults(t))
		open, connected, joined := 0, 0, 0
		// As fast as it can for a minute: closes what it has each time it is full.
		var leases []Lease
		for range 60_000 {
			for {
				lease, retry := l.Connect(a)
				if retry == fullRetry {
					for i := range leases {
						leases[i].Release()
					}
					leases = leases[:0]
					continue
				}
				if retry != 0 {
					break
				}
				connected++
				leases = append(leases, lease)
				open = max(open, len(leases))
			}
			for l.Join(a) == 0 {
				joined++
			}
			time.Sleep(time.Millisecond) // synctest's time
		}
		if open > 4_000 || connected > 16_000 || joined > 9_000 {
			t.Errorf("got %d connections at once, %d in a minute and %d joins, want at most 4,000, 16,000 and 9,000", open, connected, joined)
		}
		if connected < 15_900 || joined < 8_900 {
			t.Errorf("got %d connections in a minute and %d joins, want what the limits allow: else this attacker proves nothing", connected, joined)
		}
		if _, retry := l.Connect(b); retry != 0 || l.Join(b) != 0 {
			t.Error("got another address refused")
		}
	})
}

// keys are more addresses than anybody joins from at a time.
func keys() []netip.Prefix {
	out := make([]netip.Prefix, 1<<17)
	for n := range out {
		out[n] = nth(n)
	}
	return out
}

// slow forgets nothing while a benchmark runs.
var slow = pace{step: time.Hour, depth: 1000 * time.Hour}

// BenchmarkJoins is a join and a connection of ever another address, by all cores
// at once, over a full table that forgets one for each that comes: at 10,000 joins
// a second that is to be a small part of a core.
func BenchmarkJoins(b *testing.B) {
	l := New(defaults(b))
	l.joins = slow
	keys := keys()
	for _, key := range keys {
		l.Join(key)
	}
	if got := l.Addresses(); got != maxAddresses {
		b.Fatalf("got %d addresses, want a full table", got)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		n := rand.Int()
		for pb.Next() {
			n++
			key := keys[n%len(keys)]
			lease, _ := l.Connect(key)
			l.Join(key)
			lease.Release()
		}
	})
}

// BenchmarkOneAddress is the same by one address: every call refuses or counts in
// the same row.
func BenchmarkOneAddress(b *testing.B) {
	l := New(defaults(b))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			lease, _ := l.Connect(a)
			l.Join(a)
			lease.Release()
		}
	})
}

func BenchmarkClient(b *testing.B) {
	s := NewSource(ours, false)
	header := []string{"9.9.9.9, 2001:db8:1:2::9, 198.51.100.9"}
	b.ReportAllocs()
	for b.Loop() {
		s.Client("10.1.2.3:4711", header)
	}
}
