package shop

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/seat"
	"waitroom/internal/testenv"
)

// proxied is what a proxy sends on for one address.
type proxied struct {
	http.RoundTripper
	address string
}

func (p proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", p.address)
	return p.RoundTripper.RoundTrip(r)
}

// A thousand buyers who all come at once wait for their turn and are served, at the
// flags' defaults and behind a proxy: nobody is told to come back, not one of the 500
// behind a carrier's one address either. Then all of them want one seat: one has it, and
// 999 hear that it is taken.
func TestRush(t *testing.T) {
	const buyers, carriers, addresses = 1000, 500, 6
	b := newShop(t, testenv.MySQL(t), buyers+1, nil, "--trusted-proxy=127.0.0.1/32")
	p := listen(t, b)
	transport := &http.Transport{MaxIdleConnsPerHost: buyers}
	t.Cleanup(transport.CloseIdleConnections)
	clients := make([]*http.Client, buyers)
	for i := range clients {
		address := "203.0.113.7"
		if i >= carriers {
			address = fmt.Sprintf("198.51.100.%d", i%(addresses-1))
		}
		clients[i] = &http.Client{Transport: proxied{transport, address}}
	}
	seats, err := seat.Generate(buyers+1, 10) // as the shop has them
	if err != nil {
		t.Fatal(err)
	}
	passes := make([]string, buyers)
	for i := range passes {
		passes[i] = p.pass(t, bookingtest.Pass())
	}
	holds := make([]string, buyers) // each one its buyer's
	// each has every buyer make one call at once, and counts the answers.
	each := func(method, path string, body func(i int) string) map[int]int {
		start := make(chan struct{})
		counts := map[int]int{}
		var mu sync.Mutex
		var crowd sync.WaitGroup
		for i := range buyers {
			crowd.Go(func() {
				<-start
				status, answer, err := p.with(t.Context(), clients[i], method, strings.ReplaceAll(path, "{hold}", holds[i]), passes[i], body(i))
				if err != nil {
					t.Errorf("%s %s: %v", method, path, err)
				}
				if status == 201 {
					_, id, _ := strings.Cut(answer, `"id":"`)
					holds[i], _, _ = strings.Cut(id, `"`)
				}
				mu.Lock()
				defer mu.Unlock()
				counts[status]++
			})
		}
		began := time.Now()
		close(start)
		crowd.Wait()
		t.Logf("%s %s: %v, all within %s", method, path, counts, time.Since(began))
		return counts
	}
	nothing := func(int) string { return "" }
	want := func(what string, got map[int]int, status, count int) {
		t.Helper()
		if got[status] != count || len(got) > 2 || got[503] > 0 || got[429] > 0 {
			t.Errorf("%s: got %v answers by status, want %d times %d and nobody sent away", what, got, count, status)
		}
	}
	row := func(i int) string { return fmt.Sprintf(`{"seats":["%s"]}`, seats[i]) }
	want("seats of their own", each("POST", "/rooms/gig/holds", row), 201, buyers)
	want("the map", each("GET", "/rooms/gig/seats", nothing), 200, buyers)
	want("purchases", each("POST", "/rooms/gig/holds/{hold}/confirm", nothing), 200, buyers)
	for i := range passes {
		passes[i] = p.pass(t, bookingtest.Pass())
	}
	hot := each("POST", "/rooms/gig/holds", func(int) string { return row(buyers) })
	want("one seat", hot, 201, 1)
	want("one seat", hot, 409, buyers-1)
	if got := b.limits.addresses.Addresses(); got != addresses {
		t.Errorf("the limits remember %d addresses, want %d: they were on", got, addresses)
	}
}
