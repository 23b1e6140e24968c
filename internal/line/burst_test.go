package line

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// A busy machine wakes an admitter late: with the least burst, rounds that come
// 90 ms apart still admit at the rate.
func TestLeastBurstReachesTheRate(t *testing.T) {
	const late, over = 90 * time.Millisecond, 9 * time.Second
	for _, rate := range []room.Rate{7_333, 50_000, 200_000, 1_000_000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
				clock, conf := newHand(), openConf()
				l := New(rdb, WithClock(clock.now))
				conf.Rate, conf.Burst = rate, 1 // raised
				name := create(t, l, conf)
				want := int(int64(rate) * int64(over/time.Millisecond) / 1_000_000)
				for lane, rest := int64(1), want+int(rate.MinBurst()); rest > 0; lane++ {
					join(t, l, name, conf, room.Lane{Name: "a-0", Batch: lane}, min(rest, room.MaxBatch))
					rest -= min(rest, room.MaxBatch)
				}
				got := 0
				for range over / late {
					clock.pass(late)
					for stop := room.StopMore; stop == room.StopMore; {
						round, err := l.Admit(background(), name, caller(conf.Epoch), room.MaxRound)
						if err != nil {
							t.Fatal(err)
						}
						got, stop = got+round.Admitted, round.Stop
					}
				}
				if got != want {
					t.Errorf("rate %s: got %d admitted in %v, want %d", rate, got, over, want)
				}
			})
		})
	}
}
