package limit

import (
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkMemory prints what an address and a place cost with both tables full, as
// B/address and B/place. The ids are as long as a visitor's.
func BenchmarkMemory(b *testing.B) {
	keys := keys()[:maxAddresses]
	ids := make([]string, maxPlaces)
	for n := range ids {
		ids[n] = fmt.Sprintf("%016d", n)
	}
	var addresses, places float64
	for b.Loop() {
		before := heap()
		l := New(defaults(b))
		l.joins, l.place = slow, slow
		for _, key := range keys {
			l.Join(key)
		}
		with := heap()
		for n := range ids {
			l.Place(ids[n])
		}
		all := heap()
		addresses, places = float64(with-before)/maxAddresses, float64(all-with)/maxPlaces
		if got := l.addresses.len() + l.places.len(); got != maxAddresses+maxPlaces {
			b.Fatalf("got %d remembered, want both tables full", got)
		}
	}
	b.ReportMetric(addresses, "B/address")
	b.ReportMetric(places, "B/place")
	b.ReportMetric(0, "ns/op") // nobody asked how long the collections take
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
