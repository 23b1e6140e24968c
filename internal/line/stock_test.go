package line

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// soldOut is the word of a shop whose last seat is booked, with revision 0 when it does
// not count.
func (l *Lines) soldOut(ctx context.Context, name room.Name, epoch room.Epoch, rev int64) error {
	_, err := l.Stock(ctx, name, epoch, room.Stock{Rev: rev})
	return err
}

// Of what the shop says of its stock the greater revision wins: a fact that comes
// late or again does not close a room that has heard of newer stock.
func TestStaleSoldOut(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		for i, step := range []struct {
			told          int64
			want, changes bool
			stock         int64
		}{
			{412, true, true, 412},
			{412, true, false, 412}, // again
			{411, true, false, 412},
			{0, true, false, 412},   // of a shop that does not count: nothing new
			{413, true, false, 413}, // sold out before and after: no act
		} {
			before, err := l.Status(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.soldOut(ctx, name, conf.Epoch, step.told); err != nil {
				t.Errorf("step %d: %v", i, err)
			}
			after, err := l.Status(ctx, name)
			if err != nil || after.Conf.SoldOut != step.want || after.Conf.StockRev != step.stock || after.Conf.Rev > before.Conf.Rev != step.changes {
				t.Errorf("step %d, told %d: got %+v after rev %d, %v, want sold out %v, stock %d, a change %v",
					i, step.told, after.Conf, before.Conf.Rev, err, step.want, step.stock, step.changes)
			}
		}
		// Seats were added at 414, and the line knows.
		rdb.HSet(ctx, confKey(name), "sold_out", 0, "stock_rev", 414)
		for told, want := range map[int64]bool{412: false, 414: false} {
			if err := l.soldOut(ctx, name, conf.Epoch, told); err != nil {
				t.Error(err)
			}
			if status, err := l.Status(ctx, name); err != nil || status.Conf.SoldOut != want {
				t.Errorf("told %d with stock 414: got %+v, %v, want sold out %v", told, status.Conf, err, want)
			}
		}
		if err := l.soldOut(ctx, name, conf.Epoch, 420); err != nil {
			t.Error(err)
		}
		acts, err := l.Acts(ctx, name, 1)
		if err != nil || !acts[0].SoldOut || !strings.Contains(acts[0].What, "stock_rev 414 → 420") {
			t.Errorf("acts: got %+v, %v, want it sold out at 420", acts, err)
		}
		for _, rev := range []int64{-1, room.MaxStockRev + 1} {
			if err := l.soldOut(ctx, name, conf.Epoch, rev); err == nil {
				t.Errorf("stock_rev %d: got no error", rev)
			}
		}
	})
}

// Sold out is ended by a reopening and by nothing else that an operator does, in
// whatever state the room is.
func TestReopen(t *testing.T) {
	onServers(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, l, conf := background(), New(rdb), openConf()
		name := create(t, l, conf)
		soldOut := func(what string, want bool) {
			t.Helper()
			if status, err := l.Status(ctx, name); err != nil || status.Conf.SoldOut != want {
				t.Errorf("%s: got %+v, %v, want sold out %v", what, status.Conf, err, want)
			}
		}
		tell := func(stock int64) {
			t.Helper()
			if err := l.soldOut(ctx, name, conf.Epoch, stock); err != nil {
				t.Fatal(err)
			}
		}
		for _, stock := range []int64{0, 7} {
			tell(stock)
			for what, change := range map[string]room.Change{"pause and resume": {Pause: true}, "close and open": {State: ptr(room.Closed)}} {
				next := room.Change{Actor: "test", Resume: true}
				if change.State != nil {
					next = room.Change{Actor: "test", State: ptr(room.Open)}
				}
				change.Actor = "test"
				for _, ch := range []room.Change{change, next} {
					if _, err := l.Set(ctx, name, ch); err != nil {
						t.Fatal(err)
					}
				}
				soldOut(what, true)
			}
			changed, err := l.Reopen(ctx, name, "ann", 0)
			if want := (room.Field{Name: "sold_out", Old: "1", New: "0"}); err != nil || len(changed.Fields) != 1 || changed.Fields[0] != want {
				t.Errorf("reopen: got %+v, %v, want %+v", changed, err, want)
			}
			soldOut("reopen", false)
			if changed, err = l.Reopen(ctx, name, "ann", 0); err != nil || len(changed.Fields) != 0 {
				t.Errorf("reopen again: got %+v, %v, want nothing to change", changed, err)
			}
		}
		acts, err := l.Acts(ctx, name, 1)
		if err != nil || acts[0].Actor != "ann" || acts[0].What != "set sold_out 1 → 0" {
			t.Errorf("acts: got %+v, %v, want the reopening by ann", acts, err)
		}

		// What was said before the reopening comes again, or only now.
		tell(7)
		soldOut("the same fact again", false)
		if _, err := l.Reopen(ctx, name, "ann", 9); err != nil {
			t.Fatal(err)
		}
		tell(8)
		soldOut("a fact older than the seats", false)
		tell(10)
		soldOut("a fact of now", true)
		for _, stale := range []int64{9, 10} {
			if _, err := l.Reopen(ctx, name, "ann", stale); !errors.Is(err, room.ErrSoldOut) || !strings.Contains(err.Error(), "stock_rev 10") {
				t.Errorf("reopen of stock %d: got %v, want %v at 10", stale, err, room.ErrSoldOut)
			}
			soldOut("a reopening older than the fact", true)
		}
		if _, err := l.Set(ctx, name, room.Change{Actor: "test", State: ptr(room.Closed)}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reopen(ctx, name, "ann", 11); err != nil {
			t.Error(err)
		}
		if status, err := l.Status(ctx, name); err != nil || status.Conf.SoldOut || status.Conf.State != room.Closed || status.Conf.StockRev != 11 {
			t.Errorf("reopen of a closed room: got %+v, %v, want it closed, at stock 11 and not sold out", status.Conf, err)
		}
		for _, ch := range []room.Change{{Reopen: true, Pause: true}, {Reopen: true, State: ptr(room.Open)}, {Reopen: true, StockRev: -1}, {StockRev: 3}} {
			ch.Actor = "test"
			if _, err := l.Set(ctx, name, ch); err == nil {
				t.Errorf("%+v: got no error", ch)
			}
		}
	})
}
