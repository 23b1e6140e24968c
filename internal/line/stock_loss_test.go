package line

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// What the shop told of its stock is no act, so the conf with the later act may be the
// one with the older stock. Whoever brings a line or an act back, the newer stock stays.
func TestNewerStockOutlivesALoss(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		type told struct {
			rev, left int64
			then      room.Change // an operator's act; none: its zero value
		}
		none, pause, reopen := room.Change{}, room.Change{Actor: "ann", Pause: true}, room.Change{Actor: "ann", Reopen: true}
		for _, c := range []struct {
			what          string
			remembered    []told // by a process, of what is lost
			heard         []told // by the line, since
			whole         bool   // the whole line is lost, and somebody brought it back; else acts alone
			soldOut       bool
			stock, rev    int64
			paused, right bool // whether sold_out was put right, by an act of its own
		}{
			{"a reopening, of stock that both know", []told{{3, 0, reopen}}, []told{{3, 0, none}}, false, false, 3, 3, false, false},
			{"a line, by two at one rev", []told{{7, 2, none}}, []told{{5, 3, none}}, true, false, 7, 1, false, false},
			{"a line, by the one who knows less second", []told{{5, 3, none}}, []told{{7, 2, none}}, true, false, 7, 1, false, false},
			{"an act of an operator", []told{{3, 2, pause}}, []told{{5, 3, none}}, false, false, 5, 2, true, false},
			{"an act of an operator, the stock too", []told{{6, 2, pause}}, []told{{5, 3, none}}, false, false, 6, 2, true, false},
			{"sold out, and newer stock was left", []told{{3, 0, none}}, []told{{5, 3, none}}, false, false, 5, 3, false, true},
			{"seats left again, and newer stock was none", []told{{2, 0, none}, {3, 1, none}}, []told{{5, 0, none}}, false, true, 5, 4, false, true},
			{"sold out, of the newest stock", []told{{6, 0, none}}, []told{{5, 3, none}}, false, true, 6, 2, false, false},
			{"sold out by one, and an act since", []told{{7, 0, none}}, []told{{5, 3, pause}, {6, 3, pause}}, true, true, 7, 4, true, true},
		} {
			t.Run(c.what, func(t *testing.T) {
				clock := newHand()
				ctx, l, conf := background(), New(rdb, WithClock(clock.now)), openConf()
				name := create(t, l, conf)
				read := func() room.Snapshot {
					t.Helper()
					s, err := l.Snapshot(ctx, name, 0)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
				hear := func(all []told) {
					t.Helper()
					for _, f := range all {
						if _, err := l.Stock(ctx, name, conf.Epoch, room.Stock{Rev: f.rev, Left: f.left, At: clock.at()}); err != nil {
							t.Fatal(err)
						}
						if f.then.Actor == "" {
							continue
						}
						f.then.Notice = ptr(fmt.Sprint("at ", f.rev)) // each changes something
						if _, err := l.Set(ctx, name, f.then); err != nil {
							t.Fatal(err)
						}
					}
				}
				before := read()
				hear(c.remembered)
				remembered := read()
				// What is lost is as if it had never been written.
				if err := rdb.Del(ctx, confKey(name), statsKey(name), actsKey(name)).Err(); err != nil {
					t.Fatal(err)
				}
				if c.whole {
					if err := rdb.Del(ctx, presenceKeysOf(name)...).Err(); err != nil {
						t.Fatal(err)
					}
					if err := l.Recreate(ctx, name, caller(conf.Epoch), before.Saved); err != nil {
						t.Fatal(err)
					}
				} else {
					for field, value := range before.Saved.Conf {
						rdb.HSet(ctx, confKey(name), field, value)
					}
				}
				clock.pass(5 * time.Second) // an act that was lost may come back until then
				hear(c.heard)
				for range 2 { // and again changes nothing
					if err := l.Recreate(ctx, name, caller(conf.Epoch), remembered.Saved); err != nil {
						t.Fatal(err)
					}
					got := read().Conf
					if got.SoldOut != c.soldOut || got.StockRev != c.stock || got.Rev != c.rev || (got.State == room.Paused) != c.paused {
						t.Errorf("got %+v, want sold out %v of stock %d at rev %d, paused %v", got, c.soldOut, c.stock, c.rev, c.paused)
					}
				}
				pulses, errs := l.Pulses(ctx, []room.Name{name})
				if errs[0] != nil || pulses[0].Rev != c.rev {
					t.Errorf("got the pulse %+v, %v, want rev %d in it", pulses, errs, c.rev)
				}
				acts, err := l.Acts(ctx, name, room.MaxActs)
				if err != nil {
					t.Fatal(err)
				}
				said := slices.ContainsFunc(acts, func(a room.Act) bool {
					return a.Actor == "process test" && strings.Contains(a.What, "sold_out") && strings.Contains(a.What, fmt.Sprint("→ ", c.stock))
				})
				if said != c.right {
					t.Errorf("got acts %+v, want sold_out put right by one: %v", acts, c.right)
				}
				// What was known before either is of before.
				if newer, err := l.Stock(ctx, name, conf.Epoch, room.Stock{Rev: c.stock, Left: 1 - min(1, c.heard[0].left)}); err != nil || newer {
					t.Errorf("the stock that is known: got newer %v, %v", newer, err)
				}
			})
		}
	})
}
