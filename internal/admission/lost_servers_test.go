package admission_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"waitroom/internal/admission"
	"waitroom/internal/embedded"
	"waitroom/internal/events"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// An empty Redis and an empty registry are put right by an admitter that served the
// room: listed, with its event, with the sold_out that came meanwhile; the shop hears of
// the room what it heard before.
func TestLossesOverALine(t *testing.T) {
	t.Run("stand-in", func(t *testing.T) {
		_, addr, stop, err := embedded.Redis()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		rdb, err := line.Dial("redis://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rdb.Close() })
		testLosses(t, rdb)
	})
	t.Run("server", func(t *testing.T) { testLosses(t, testenv.StartRedis(t).Client()) })
}

// topic remembers what rooms are said to be for.
type topic struct {
	mu   sync.Mutex
	told []events.Described // guarded by mu
}

func (k *topic) Publish(_ context.Context, records []events.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range records {
		if r.Topic == events.TopicRooms {
			d, deleted, err := events.DecodeDescribed(r)
			if err != nil {
				return err
			}
			if deleted {
				d.Title = "†"
			}
			k.told = append(k.told, d)
		}
	}
	return nil
}

func (k *topic) titles() (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.told {
		all = append(all, d.Title)
	}
	return all
}

func testLosses(t *testing.T, rdb redis.UniversalClient) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	lines, shop := line.New(rdb), &topic{}
	const name = room.Name("sale")
	conf := room.DefaultConf()
	conf.Epoch, conf.Rate, conf.State = room.NewEpoch(), 1000, room.Open
	if err := lines.CreateWithEvent(ctx, name, conf, room.Event{Title: "Gala", Venue: "Hall 1"}, "test"); err != nil {
		t.Fatal(err)
	}
	service, err := admission.New(admission.Config{Process: "p"}, "test", lines, shop, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- service.Run(running) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	until := func(what string, is func() bool) {
		t.Helper()
		for !is() {
			if ctx.Err() != nil {
				t.Fatalf("never: %s", what)
			}
			time.Sleep(20 * time.Millisecond) // between two looks at what comes by itself
		}
	}
	listed := func() bool {
		names, err := lines.Rooms(ctx)
		return err == nil && len(names) == 1
	}
	until("the event is told", func() bool { return len(shop.titles()) == 1 })

	if err := rdb.Del(ctx, "wr1:rooms").Err(); err != nil {
		t.Fatal(err)
	}
	until("a room that the registry lost is listed again", listed)

	// Another process is first, and does not know the event.
	before, err := lines.Status(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := lines.Recreate(ctx, name, room.Caller{Epoch: conf.Epoch, Process: "n"}, before.Saved); err != nil {
		t.Fatal(err)
	}
	until("the event is back, though another process was first", func() bool {
		event, err := lines.Event(ctx, name)
		return err == nil && event.Title == "Gala"
	})
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	fact := []events.Record{events.EncodeBooking(events.Booking{Type: events.TypeSoldOut, ID: "f", Room: name, Epoch: conf.Epoch, AtMS: time.Now().UnixMilli()})}
	until("the sold_out of that moment is applied", func() bool {
		verdict := service.Facts(ctx, fact)[0]
		if verdict.Fate == events.Never {
			t.Fatal(verdict.Err)
		}
		return verdict.Fate == events.Done
	})
	status, err := lines.Status(ctx, name)
	if err != nil || !status.Conf.SoldOut || status.Conf.Epoch != conf.Epoch || !listed() {
		t.Errorf("got %+v, %v, want the room back, listed and sold out", status.Conf, err)
	}
	until("the event is back", func() bool {
		event, err := lines.Event(ctx, name)
		return err == nil && event.Title == "Gala" && event.Venue == "Hall 1" && event.Rev == 1
	})
	if got := shop.titles(); len(got) != 1 {
		t.Errorf("told: got %q, want it once", got)
	}
}
