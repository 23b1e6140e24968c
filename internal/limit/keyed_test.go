package limit

import (
	"testing"
	"testing/synctest"
	"time"
)

// One key has as much open as it may and asks as often as it may; another is not
// touched by it.
func TestKeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeyed(2, 10, 5)
		first, retry := k.Take("a")
		second, again := k.Take("a")
		if retry != 0 || again != 0 {
			t.Fatalf("got %s and %s, want two let in", retry, again)
		}
		for range 100 { // a refusal costs nothing
			if _, retry := k.Take("a"); retry != leastRetry {
				t.Fatalf("a third at once: got %s, want %s", retry, leastRetry)
			}
		}
		if lease, retry := k.Take("b"); retry != 0 {
			t.Errorf("another key: got %s, want it let in", retry)
		} else {
			lease.Release()
		}
		first.Release()
		first.Release() // does nothing
		for i := range 3 {
			lease, retry := k.Take("a")
			if retry != 0 {
				t.Fatalf("number %d of the burst: got %s, want it let in", 3+i, retry)
			}
			lease.Release()
		}
		if _, retry := k.Take("a"); retry != leastRetry {
			t.Errorf("beyond the burst: got %s, want %s", retry, leastRetry)
		}
		time.Sleep(100 * time.Millisecond) // synctest's time
		lease, retry := k.Take("a")
		if retry != 0 {
			t.Errorf("a tenth of a second later: got %s, want it let in", retry)
		}
		lease.Release()
		second.Release()
		time.Sleep(time.Second) // synctest's time
		k.Take("c")
		k.Take("d")
		if got := k.rows.len(); got != 2 {
			t.Errorf("got %d keys, want those that are over forgotten", got)
		}
	})
}
