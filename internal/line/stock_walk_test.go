package line

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"waitroom/internal/room"
)

// A shop tells its stock by both facts, in whatever order they come, each as often as
// Kafka likes and from the beginning again, and operators reopen in between. What the
// line makes of each word is the model's, only what begins or ends sold_out is an act,
// and once the newest word was heard no other changes anything.
func TestStockInAnyOrder(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) { stockInAnyOrder(t, rdb) })
}

func stockInAnyOrder(t *testing.T, rdb redis.UniversalClient) {
	rapidly(t, "30", "40")
	name := roomName(t)
	rapid.Check(t, func(t *rapid.T) {
		clock := newHand()
		ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
		if err := l.Create(ctx, name, conf, "test"); err != nil {
			t.Fatal(err)
		}
		defer l.Delete(ctx, name, true, "test")
		left := rapid.SliceOfN(rapid.SampledFrom([]int64{0, 0, 1, 2}), 1, 12).Draw(t, "left") // at rev 1, 2, …
		told := func(rev int) room.Stock {
			return room.Stock{Rev: int64(rev), Left: left[rev-1], At: clock.at().Truncate(time.Millisecond).Add(time.Duration(rev) * time.Second)}
		}
		want := conf
		want.Rev, want.SoldOut, want.StockRev = 1, false, 0
		newest := 0 // the greatest rev that a fact told
		check := func(what string) {
			status, err := l.Status(ctx, name)
			if err != nil || status.Conf != want {
				t.Fatalf("%s: got %+v, %v, want %+v", what, status.Conf, err, want)
			}
			acts, err := l.Acts(ctx, name, room.MaxActs)
			if err != nil || int64(len(acts)) != want.Rev {
				t.Fatalf("%s: got %d acts, %v, want %d", what, len(acts), err, want.Rev)
			}
		}
		set := func(soldOut bool) {
			if want.SoldOut != soldOut {
				want.SoldOut = soldOut
				want.Rev++
			}
		}
		hear := func(stock room.Stock) {
			newer, err := l.Stock(ctx, name, conf.Epoch, stock)
			// Of no rev: by its moment, beside the newest that a fact with a rev told.
			wantNewer := stock.Rev > want.StockRev || stock.Rev == 0 && !want.SoldOut && (newest == 0 || stock.At.After(told(newest).At))
			if err != nil || newer != wantNewer {
				t.Fatalf("%+v: got newer %v, %v, want %v", stock, newer, err, wantNewer)
			}
			if newer || stock.Rev > 0 && stock.Rev == want.StockRev { // or a reopening named it before
				newest = max(newest, int(stock.Rev))
			}
			if newer {
				want.StockRev = max(want.StockRev, stock.Rev)
				set(stock.Left == 0)
			}
			check(fmt.Sprintf("%+v", stock))
		}
		some := rapid.IntRange(1, len(left))
		t.Repeat(map[string]func(*rapid.T){
			"a fact":  func(t *rapid.T) { hear(told(some.Draw(t, "rev"))) },
			"another": func(t *rapid.T) { hear(told(some.Draw(t, "rev"))) },
			"sold out": func(t *rapid.T) { // of today's booker, and of one before it counted
				if stock := told(some.Draw(t, "rev")); stock.Left == 0 {
					hear(room.Stock{Rev: stock.Rev, At: stock.At})
					hear(room.Stock{At: stock.At})
				}
			},
			"reopen": func(t *rapid.T) {
				stock := rapid.SampledFrom([]int64{0, want.StockRev, want.StockRev + 1}).Draw(t, "stock rev")
				_, err := l.Reopen(ctx, name, "ann", stock)
				if want.SoldOut && stock > 0 && stock <= want.StockRev {
					if !errors.Is(err, room.ErrSoldOut) {
						t.Fatalf("reopen at %d: got %v, want %v", stock, err, room.ErrSoldOut)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				was := want
				want.SoldOut, want.StockRev = false, max(want.StockRev, stock)
				if want != was {
					want.Rev++
				}
				check("reopen")
			},
			"from the beginning": func(*rapid.T) {
				for rev := range left {
					hear(told(rev + 1))
				}
			},
		})
		if want.StockRev > int64(len(left)) {
			return // an operator told of stock that the shop never had
		}
		hear(told(len(left)))
		soldOut, rev := want.SoldOut, want.Rev
		for i := range left {
			stock := told(i + 1)
			hear(stock)
			if stock.Left == 0 {
				hear(room.Stock{Rev: stock.Rev, At: stock.At})
				hear(room.Stock{At: stock.At})
			}
		}
		if want.SoldOut != soldOut || want.Rev != rev {
			t.Fatalf("from the beginning again: got %+v, want sold out %v at rev %d", want, soldOut, rev)
		}
	})
}
