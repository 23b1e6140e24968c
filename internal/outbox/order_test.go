package outbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/events"
	"waitroom/internal/outbox"
)

// keysOf are n keys of a partition of 16.
func keysOf(partition, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if k := fmt.Sprint("k", i); events.Spread([]byte(k))%16 == uint32(partition) {
			keys = append(keys, k)
		}
	}
	return keys
}

// wantInOrder checks what was published of a key.
func wantInOrder(t *testing.T, q *bookingtest.Queue, key, want string) {
	t.Helper()
	if got := values(q.All(), func(r events.Record) bool { return string(r.Key) == key }); got != want {
		t.Errorf("key %s: got %s, want %s", key, got, want)
	}
}

// A booker begins to carry while facts wait in lanes of the topic as it was and as it is
// now. Which of the two is the older one nobody tells it.
func TestHandoverWhileTopicGrows(t *testing.T) {
	for _, old := range []string{"1/0", "8/6"} {
		t.Run("from "+old, func(t *testing.T) {
			bookingtest.Each(t, func(t *testing.T, dsn string) {
				q := bookingtest.NewQueue()
				m := newMoody(q)
				m.set(16)
				s, o := newShop(t, dsn, 0, m, prometheus.NewRegistry())
				keys := keysOf(14, 2)
				topic := about("", "").Topic
				add(t, s.DB, about(keys[0], "1"))
				write(t, s.DB, "UPDATE facts SET lane = ?", topic+"/"+old)
				// More lanes than are tried at a time, and the old one last.
				for p := 10; p < 15; p++ {
					id := fmt.Sprint("filler", p)
					add(t, s.DB, about(keysOf(p, 2)[1], id))
					write(t, s.DB, "UPDATE facts SET lane = ? WHERE lane = ''", fmt.Sprint(topic, "/16/", p))
				}
				add(t, s.DB, about(keys[0], "2"))
				steps(t, o)
				wantInOrder(t, q, keys[0], "1 2")
			})
		})
	}
}

// Two carry. One believes in 8 partitions, and knows a lane of them from before; the
// other one in 16, and has carried on what waited there. What comes behind that waits.
func TestTryAsksForLanes(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		m := newMoody(q)
		s, o := newShop(t, dsn, 0, m, prometheus.NewRegistry())
		key := keysOf(14, 1)[0]
		topic := about("", "").Topic
		m.set(8, 6)
		add(t, s.DB, about(key, "1"))
		until(t, "a lane", func() bool {
			if _, err := o.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			var n int
			return s.DB.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM facts WHERE lane = ?", topic+"/8/6") == nil && n == 1
		})
		write(t, s.DB, "UPDATE facts SET lane = ?", topic+"/16/14")
		add(t, s.DB, about(key, "2"))
		m.set(8)
		if err := o.TryAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantInOrder(t, q, key, "")
		steps(t, o)
		wantInOrder(t, q, key, "1 2")
	})
}

// One carrier knows 8 partitions and one 16, and the lanes of both have facts of a key. It
// is carried on in the one direction by whomever, and never back.
func TestLanesOfTwoCounts(t *testing.T) {
	q := bookingtest.NewQueue()
	m := newMoody(q)
	s, o := newShop(t, bookingtest.SQLite(t), 0, m, prometheus.NewRegistry())
	key := keysOf(14, 1)[0]
	topic := about("", "").Topic
	m.set(8, 6)
	for i, l := range []string{"/16/14", "/8/6"} {
		add(t, s.DB, about(key, fmt.Sprint(i+1)))
		write(t, s.DB, "UPDATE facts SET lane = ? WHERE lane = ''", topic+l)
	}
	add(t, s.DB, about(key, "3"))
	for range 5 {
		if _, err := o.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := o.TryAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var lane string
	if err := s.DB.GetContext(t.Context(), &lane, "SELECT lane FROM facts ORDER BY id LIMIT 1"); err != nil || lane != topic+"/16/14" {
		t.Errorf("got the first one in %s, %v, want it where it was", lane, err)
	}
	m.set(8)
	steps(t, o)
	wantInOrder(t, q, key, "1 2 3")
}

// Two bookers carry at once, each with partitions that take nothing for it alone, and a
// number of its own of partitions that it believes in; now and then one begins anew. The
// facts of each key leave in their order.
func TestOrderOfTwoThatCarry(t *testing.T) {
	bookingtest.Each(t, func(t *testing.T, dsn string) {
		q := bookingtest.NewQueue()
		const keys, each = 30, 40
		var shops [2]*bookingtest.Shop
		var carriers [2]*outbox.Outbox
		var moods [2]*moody
		for i := range 2 {
			moods[i] = newMoody(q)
			shops[i], carriers[i] = newShop(t, dsn, 0, moods[i], prometheus.NewRegistry())
		}
		ctx, stop := context.WithCancel(t.Context())
		var carrying, writing sync.WaitGroup
		t.Cleanup(func() { stop(); carrying.Wait() })
		for i, o := range carriers {
			carrying.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					if n%5 == 0 {
						moods[i].set([]int{0, 8, 16}[rand.N(3)], rand.N(16), rand.N(8), rand.N(8))
						again := o.Adopt
						if rand.N(5) == 0 {
							again = o.Handover
						}
						if err := again(ctx); err != nil && ctx.Err() == nil {
							t.Errorf("adopt: %v", err)
						}
					}
					if _, err := o.Step(ctx); err != nil && ctx.Err() == nil {
						t.Errorf("step: %v", err)
					}
				}
			})
		}
		for k := range keys {
			writing.Go(func() {
				for i := range each {
					add(t, shops[k%2].DB, about(fmt.Sprint("k", k), fmt.Sprintf("%d-%d", k, i)))
				}
			})
		}
		writing.Wait()
		until(t, "an empty table", isEmpty(t, carriers[0]))
		stop()
		carrying.Wait()
		for k := range keys {
			var want []string
			for i := range each {
				want = append(want, fmt.Sprintf("%d-%d", k, i))
			}
			got := strings.Fields(values(q.All(), func(r events.Record) bool { return string(r.Key) == fmt.Sprint("k", k) }))
			if !slices.Equal(got, want) {
				t.Errorf("key %d: got %v, want all in order", k, got)
			}
		}
	})
}

// Nobody knows how many partitions a topic has, then it has 8, 16 and 32, some of which take
// nothing now and then: the facts of each key leave in their order.
func TestOrderWhileTopicGrows(t *testing.T) {
	q := bookingtest.NewQueue()
	m := newMoody(q)
	s, o := newShop(t, bookingtest.SQLite(t), 0, m, prometheus.NewRegistry())
	want := map[string][]string{}
	for n, partitions := range []int{0, 8, 16, 32} {
		for round := range 30 {
			var some []events.Record
			for k := range 30 {
				key := fmt.Sprint("k", k)
				want[key] = append(want[key], fmt.Sprintf("%s-%d-%d", key, n, round))
				some = append(some, about(key, fmt.Sprintf("%s-%d-%d", key, n, round)))
			}
			add(t, s.DB, some...)
			m.set(partitions, rand.N(32), rand.N(8), rand.N(8), rand.N(8))
			if _, err := o.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.set(32)
	steps(t, o)
	for key, list := range want {
		got := strings.Fields(values(q.All(), func(r events.Record) bool { return string(r.Key) == key }))
		if !slices.Equal(got, list) {
			t.Errorf("key %s: got %v, want %v", key, got, list)
		}
	}
}
