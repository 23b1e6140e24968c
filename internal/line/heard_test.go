package line

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Of a dead node's last batch some had heard their number, and stand in line through
// another node by now: they keep it. The others leave the line until they show up.
func TestWhoCameBackIsNotGivenBack(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		name := create(t, l, conf)
		lane := room.Lane{Name: "dead-0", Batch: 1}
		places := join(t, l, name, conf, lane, 6)
		by := room.Caller{Epoch: conf.Epoch, Process: "alive", Mark: 6}
		if _, err := l.Rejoin(ctx, name, by, places[1:3]); err != nil {
			t.Fatal(err)
		}
		given, err := l.GiveBack(ctx, name, by, lane, true)
		if err != nil || given != 4 {
			t.Errorf("got %d given back, %v, want the 4 who were not seen since", given, err)
		}
		stands, err := l.Stands(ctx, name, places)
		if err != nil {
			t.Fatal(err)
		}
		for i, stand := range stands {
			want := room.Unseen
			if i == 1 || i == 2 {
				want = room.Waiting
			}
			if stand.Standing != want {
				t.Errorf("number %d: got %v, want %v", i+1, stand.Standing, want)
			}
		}
		clock.pass(time.Minute)
		if round, err := l.Admit(ctx, name, by, 10); err != nil || round.Admitted != 2 {
			t.Errorf("a round: got %d admitted, %v, want the two", round.Admitted, err)
		}
	})
}
