package line

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Of what the shop says of its stock the greater revision wins: a fact that comes
// late or again does not close a room that has heard of newer stock.
func TestStaleSoldOut(t *testing.T) {
	onServers(t, func(t *testing.T, rdb *redis.Client) {
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
			{0, true, false, 412},  // of a shop that does not count: nothing new
			{413, true, true, 413}, // sold out before and after
		} {
			before, err := l.Status(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.SoldOut(ctx, name, conf.Epoch, step.told); err != nil {
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
			if err := l.SoldOut(ctx, name, conf.Epoch, told); err != nil {
				t.Error(err)
			}
			if status, err := l.Status(ctx, name); err != nil || status.Conf.SoldOut != want {
				t.Errorf("told %d with stock 414: got %+v, %v, want sold out %v", told, status.Conf, err, want)
			}
		}
		if err := l.SoldOut(ctx, name, conf.Epoch, 420); err != nil {
			t.Error(err)
		}
		acts, err := l.Acts(ctx, name, 1)
		if err != nil || !acts[0].SoldOut || !strings.Contains(acts[0].What, "stock_rev 414 → 420") {
			t.Errorf("acts: got %+v, %v, want it sold out at 420", acts, err)
		}
		for _, rev := range []int64{-1, room.MaxStockRev + 1} {
			if err := l.SoldOut(ctx, name, conf.Epoch, rev); err == nil {
				t.Errorf("stock_rev %d: got no error", rev)
			}
		}
	})
}
