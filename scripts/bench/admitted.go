package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/room"
)

// admissionsWaiting lie in Kafka when the booker begins: three seconds at the goal.
const admissionsWaiting = 30_000

// measureAdmitted: admissions per second from Kafka into the table, by one booker:
// those it never heard of, and the same ones again, as after a rebalance or by passes
// that were there first.
func measureAdmitted(ctx context.Context, b *bench) error {
	if b.kafka == "" {
		return errors.New("WAITROOM_TEST_KAFKA is not set")
	}
	brokers := strings.Split(b.kafka, ",")
	n := b.scale(admissionsWaiting)
	fresh := Figure{Name: "admissions from Kafka into the table, fresh", Aim: "≥ 10,000/s", Unit: "/s", Met: atLeast(10_000)}
	known := Figure{Name: "admissions from Kafka into the table, known", Aim: "≥ 10,000/s", Unit: "/s", Met: atLeast(10_000)}
	err := b.repeat(func() error {
		topic := "waitroom.bench-" + strings.ToLower(crand.Text()[:12])
		if err := kafkaio.EnsureTopics(ctx, brokers, 1, topic); err != nil {
			return err
		}
		defer dropTopic(brokers, topic)
		if err := fillTopic(ctx, brokers, topic, n); err != nil {
			return err
		}
		return onShop(ctx, b, func(g *shopGround) error {
			for i, f := range []*Figure{&fresh, &known} {
				// A group of its own each time reads all from the beginning.
				perSecond, err := g.consumed(ctx, b, topic, fmt.Sprintf("%s-%d", topic, i), n)
				if err != nil {
					return err
				}
				f.Runs = append(f.Runs, perSecond)
			}
			for _, f := range []*Figure{&fresh, &known} {
				floor, err := g.bareAdmissions(ctx, n)
				if err != nil {
					return err
				}
				f.Floor = append(f.Floor, floor)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	fresh.Note = fmt.Sprintf("%s wait in 8 partitions, one booker, counted by the offsets it commits; floor: INSERT of 100 rows by 8 callers, without Kafka; load %s", count(int64(n)), load())
	known.Note = "the same again, by another group; floor: the same by INSERT IGNORE"
	b.report(fresh)
	b.report(known)
	return nil
}

// fillTopic publishes n admissions.
func fillTopic(ctx context.Context, brokers []string, topic string, n int) error {
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: brokers, ClientID: "bench"})
	defer writer.Close()
	epoch := room.NewEpoch()
	const batch = 1000
	for from := 0; from < n; from += batch {
		var records []events.Record
		for i := range min(batch, n-from) {
			r := events.EncodeAdmitted("bench", room.Admitted{Visitor: room.NewVisitorID(), Number: room.Number(from + i + 1), At: time.Now(), Epoch: epoch})
			r.Topic = topic
			records = append(records, r)
		}
		if err := writer.Publish(ctx, records); err != nil {
			return err
		}
	}
	return nil
}

// dropTopic removes a topic of the bench's own; what it can't remove is a broker's to
// keep for its retention.
func dropTopic(brokers []string, topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(brokers...)}
	_, _ = client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
}

// consumed lets a booker read the n admissions of a topic, and says how many a second
// from the first that it was given to the last offset it has committed: what joining
// the group takes is not in it.
func (g *shopGround) consumed(ctx context.Context, b *bench, topic, group string, n int) (float64, error) {
	shop, err := g.running(ctx, "--brokers="+b.kafka, "--admitted="+topic, "--group="+group)
	if err != nil {
		return 0, err
	}
	defer shop.end()
	client := &kafka.Client{Addr: kafka.TCP(strings.Split(b.kafka, ",")...)}
	var partitions []int
	for i := range kafkaio.Partitions {
		partitions = append(partitions, i)
	}
	_, _, ended, err := rising(ctx, n, func() (done int, err error) {
		reply, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
		if err != nil {
			return 0, err
		}
		// A group that was made a moment ago has no coordinator yet: reply.Error says so,
		// and there are no offsets.
		for _, p := range reply.Topics[topic] {
			done += int(max(0, p.CommittedOffset)) // -1: none yet
		}
		return done, nil
	})
	if err != nil {
		return 0, fmt.Errorf("admissions read: %w", err)
	}
	var rows int
	if err := g.floor.QueryRowContext(ctx, "SELECT COUNT(*) FROM admissions").Scan(&rows); err != nil {
		return 0, err
	}
	if rows != n {
		return 0, fmt.Errorf("%d admissions in the table, want %d: an offset was committed before its row", rows, n)
	}
	var began int64
	if err := shop.ask("given", &began); err != nil {
		return 0, err
	}
	return float64(n) / ended.Sub(time.UnixMicro(began)).Seconds(), nil
}

// bareAdmissions is the floor: n rows into a table, in rows a second. The first call
// finds it empty, a second one finds each of them.
func (g *shopGround) bareAdmissions(ctx context.Context, n int) (float64, error) {
	const batch = 100
	t := callers(ctx, 8, n/batch, rowLimit, func(ctx context.Context, i int) error {
		args := make([]any, 0, 6*batch)
		for j := range batch {
			id := fmt.Sprintf("bench.abcdefgh.%d.0123456789abcdef", i*batch+j)
			args = append(args, id, time.Now().UnixMicro(), time.Now().UnixMilli(), "", "", 0)
		}
		_, err := g.floor.ExecContext(ctx, "INSERT IGNORE INTO floor_admissions (id, admitted_at_us, created_ms, hold, booking, spent_ms) VALUES "+rows(batch, 6), args...)
		return err
	})
	if err := t.all(n / batch); err != nil {
		return 0, err
	}
	return float64(n/batch*batch) / t.took.Seconds(), nil
}
