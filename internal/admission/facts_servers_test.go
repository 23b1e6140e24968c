package admission_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
)

// A line that was sold out admits again once seats are left, and no operator says so.
func TestSeatsAreLeftAgain(t *testing.T) {
	t.Run("stand-ins", func(t *testing.T) { testSeatsAreLeftAgain(standIns(t)) })
	t.Run("servers", func(t *testing.T) { testSeatsAreLeftAgain(t, testenv.Redis(t), testenv.Kafka(t)) })
	t.Run("cluster", func(t *testing.T) { testSeatsAreLeftAgain(t, testenv.Cluster(t), testenv.Kafka(t)) })
}

func testSeatsAreLeftAgain(t *testing.T, rdb redis.UniversalClient, broker string) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	lines, name := line.New(rdb), room.Name(testenv.Room(t))
	conf := room.DefaultConf()
	conf.Epoch, conf.Rate, conf.State = room.NewEpoch(), 100_000, room.Paused
	if err := lines.Create(ctx, name, conf, "test"); err != nil {
		t.Fatal(err)
	}
	brokers := []string{broker}
	// One of its own: what it is read from the beginning for is this test's.
	topic := testenv.Topic(t, "bookings")
	if err := kafkaio.EnsureTopics(ctx, brokers, 1, events.TopicAdmitted, topic, events.DLQ(topic)); err != nil {
		t.Fatal(err)
	}
	if err := kafkaio.EnsureCompacted(ctx, brokers, 1, events.TopicRooms); err != nil {
		t.Fatal(err)
	}
	join := func(n int) error {
		ids := make([]room.VisitorID, n)
		for i := range ids {
			ids[i] = room.NewVisitorID()
		}
		_, err := lines.Join(ctx, name, room.Caller{Epoch: conf.Epoch}, room.Lane{Name: "test", Batch: time.Now().UnixNano()}, ids)
		return err
	}
	if err := join(5); err != nil {
		t.Fatal(err)
	}
	shop := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: brokers})
	t.Cleanup(func() { shop.Close() })
	noon := time.Now()
	left := func(rev, n int64) events.Record {
		return events.EncodeStock(events.Stock{Room: name, Epoch: conf.Epoch, Rev: rev, Left: n, Seats: 500, AtMS: noon.UnixMilli() + rev})
	}
	older := func(rev, ms int64) events.Record { // the fact of an older booker
		return events.EncodeBooking(events.Booking{Type: events.TypeSoldOut, ID: "sold-out", Room: name, Epoch: conf.Epoch, StockRev: rev, AtMS: noon.UnixMilli() + ms})
	}
	tell := func(records ...events.Record) {
		t.Helper()
		for i := range records {
			records[i].Topic = topic
		}
		if err := shop.Publish(ctx, records); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, is func(room.Status) bool) room.Status {
		t.Helper()
		for {
			status, err := lines.Status(ctx, name)
			if err != nil {
				t.Fatalf("%s: %v, %+v", what, err, status)
			}
			if is(status) {
				return status
			}
			time.Sleep(5 * time.Millisecond) // between two looks at what comes by itself
		}
	}
	group := testenv.Topic(t, "admitter")
	stop := []func(){replica(t, rdb, brokers, name, group, topic), replica(t, rdb, brokers, name, group, topic)}

	tell(left(1, 2), older(0, 2), left(2, 0), older(2, 2))
	until("sold out", func(s room.Status) bool { return s.Conf.SoldOut && s.Conf.StockRev == 2 })
	if _, err := lines.Set(ctx, name, room.Change{Actor: "ann", Resume: true}); err != nil {
		t.Fatal(err)
	}
	if round, err := lines.Admit(ctx, name, room.Caller{Epoch: conf.Epoch}, 10); err != nil || round.Admitted != 0 || round.Stop != room.StopSoldOut {
		t.Errorf("a round: got %+v, %v, want nobody let in", round, err)
	}
	if err := join(1); !errors.Is(err, room.ErrSoldOut) {
		t.Errorf("a join: got %v, want %v", err, room.ErrSoldOut)
	}

	tell(left(2, 0), left(4, 3), left(3, 0), older(3, 3), older(0, 2), older(2, 2), left(1, 2))
	status := until("admitted again", func(s room.Status) bool { return s.Stats.Admitted == 5 && s.Conf.StockRev == 4 })
	if status.Conf.SoldOut {
		t.Errorf("got %+v, want seats left", status.Conf)
	}
	if err := join(1); err != nil {
		t.Errorf("a join: %v", err)
	}
	acts := func() (all []string) {
		t.Helper()
		entries, err := lines.Acts(ctx, name, room.MaxActs)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range entries {
			all = append(all, a.Actor+": "+a.What)
		}
		return all
	}
	before := acts()
	if n := len(before); n < 4 || before[0] != "booker: set sold_out 1 → 0, stock_rev 2 → 4" && before[0] != "booker: set sold_out 1 → 0, stock_rev 3 → 4" {
		t.Errorf("got the acts %q, want seats left again as the last of four", before)
	}

	// An admitter that knows no offset hears all of it from the beginning.
	for _, end := range stop {
		end()
	}
	replica(t, rdb, brokers, name, testenv.Topic(t, "admitter"), topic)
	tell(left(5, 1))
	status = until("from the beginning", func(s room.Status) bool { return s.Conf.StockRev == 5 })
	if again := acts(); status.Conf.SoldOut || !slices.Equal(again, before) {
		t.Errorf("from the beginning: got %+v and the acts %q, want seats left and %q", status.Conf, again, before)
	}
}
