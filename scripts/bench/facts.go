package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/segmentio/kafka-go"

	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/outbox"
	"waitroom/internal/room"
	"waitroom/internal/seat"
)

// factsWaiting lie in the table when the booker begins: two seconds at the goal.
const factsWaiting = 10_000

// measureFacts: facts per second from the table to Kafka, all replicas of which have
// acknowledged them, by one booker. They wait when it begins: it is the rate at which
// it catches up.
func measureFacts(ctx context.Context, b *bench) error {
	if b.kafka == "" {
		return errors.New("WAITROOM_TEST_KAFKA is not set")
	}
	brokers := strings.Split(b.kafka, ",")
	if err := kafkaio.EnsureTopics(ctx, brokers, 1, benchTopic); err != nil {
		return err
	}
	n := b.scale(factsWaiting)
	f := Figure{Name: "facts out of the table into Kafka, acks=all, one booker", Aim: "≥ 5,000/s", Unit: "/s", Met: atLeast(5000)}
	var costs []string
	err := b.repeat(func() error {
		return onShop(ctx, b, func(g *shopGround) error { // each time anew: a table that was emptied is not an empty one
			if err := g.writeFacts(ctx, n); err != nil {
				return err
			}
			shop, err := g.booker(ctx, "--brokers="+b.kafka)
			if err != nil {
				return err
			}
			defer shop.end()
			perSecond, cost, err := g.drained(ctx, shop, n)
			if err != nil {
				return err
			}
			floor, err := g.bareFacts(ctx, brokers, n)
			if err != nil {
				return err
			}
			f.Runs, f.Floor = append(f.Runs, perSecond), append(f.Floor, floor)
			costs = append(costs, cost)
			return nil
		})
	})
	if err != nil {
		return err
	}
	f.Note = fmt.Sprintf("%s facts wait; processor time of one, booker + database, in each run: %s µs; floor: SELECT 200, produce them, DELETE them by key, one after the other, without any code of the shop; load %s",
		count(int64(n)), strings.Join(costs, ", "), load())
	b.report(f)
	return nil
}

// writeFacts puts n facts into the outbox, in transactions of 50.
func (g *shopGround) writeFacts(ctx context.Context, n int) error {
	epoch := room.NewEpoch()
	t := callers(ctx, 4, (n+gather-1)/gather, rowLimit, func(ctx context.Context, i int) error {
		return g.db.Tx(ctx, func(tx *sqlx.Tx) error {
			var records []events.Record
			for j := range min(gather, n-i*gather) {
				a := room.Admission{Room: "bench", Epoch: epoch, Number: room.Number(i*gather + j + 1), Visitor: room.NewVisitorID()}
				hold := string(seat.NewHoldID())
				records = append(records, events.EncodeBooking(events.Booking{Type: events.TypeHeld, ID: hold + "." + events.TypeHeld, Room: "bench",
					Epoch: epoch, Admission: a.String(), Hold: hold, Seats: []seat.ID{"A-1"}, AtMS: time.Now().UnixMilli()}))
			}
			return outbox.Add(ctx, tx, records...)
		})
	})
	return t.all((n + gather - 1) / gather)
}

// drained lets a booker publish n facts and says how many a second, from the first
// that are out: what its start takes is not in it.
func (g *shopGround) drained(ctx context.Context, shop *booker, n int) (perSecond float64, cost string, err error) {
	var used, use Usage
	if err := shop.ask("usage", &used); err != nil {
		return 0, "", err
	}
	before, err := g.spent()
	if err != nil {
		return 0, "", err
	}
	told := time.Now()
	if err := shop.run(); err != nil {
		return 0, "", err
	}
	first, began, ended, err := rising(ctx, n, func() (done int, err error) { return done, shop.ask("published", &done) })
	if err != nil {
		return 0, "", fmt.Errorf("facts published: %w", err)
	}
	if first == n { // all between two looks: with the start, it is no more than the rate
		first, began = 0, told
	}
	perSecond = float64(n-first) / ended.Sub(began).Seconds()
	after, err := g.spent()
	if err == nil {
		err = shop.ask("usage", &use)
	}
	return perSecond, fmt.Sprintf("%.0f + %.0f", use.since(used).CPUUS/float64(n), after.each(before, n).db), err
}

// rising watches a count until it is n, for rowLimit at most. first is what it was when
// it was first seen above nothing, at began.
func rising(ctx context.Context, n int, look func() (int, error)) (first int, began, ended time.Time, err error) {
	for end := time.Now().Add(rowLimit); time.Now().Before(end); {
		done, err := look()
		if err != nil {
			return 0, began, ended, err
		}
		ended = time.Now()
		if first == 0 && done > 0 {
			first, began = done, ended
		}
		if done >= n {
			return first, began, ended, nil
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil { // costs what is measured next to nothing
			return 0, began, ended, err
		}
	}
	return 0, began, ended, fmt.Errorf("not all %d within %s", n, rowLimit)
}

// bareFacts is the floor: n facts from a table to Kafka in one loop, in facts a second.
func (g *shopGround) bareFacts(ctx context.Context, brokers []string, n int) (float64, error) {
	for range n / gather {
		var s statements
		s.facts(gather, string(room.NewVisitorID()))
		if err := atOnce(ctx, g.floor, s); err != nil {
			return 0, err
		}
	}
	// kafka-go's own writer: it fills a request per partition and lingers no longer
	// than it must.
	to := &kafka.Writer{Addr: kafka.TCP(brokers...), Topic: benchTopic, Balancer: &kafka.Hash{}, RequiredAcks: kafka.RequireAll,
		BatchSize: 200, BatchTimeout: time.Millisecond}
	defer to.Close()
	n, began := 0, time.Now()
	for {
		ids, messages, err := g.nextFacts(ctx)
		if err != nil {
			return 0, err
		}
		if len(ids) == 0 {
			return float64(n) / time.Since(began).Seconds(), nil
		}
		if err := to.WriteMessages(ctx, messages...); err != nil {
			return 0, err
		}
		if _, err := g.floor.ExecContext(ctx, "DELETE FROM floor_facts WHERE id IN ("+strings.Join(ids, ", ")+")"); err != nil {
			return 0, err
		}
		n += len(ids)
	}
}

// nextFacts reads 200 facts of the floor.
func (g *shopGround) nextFacts(ctx context.Context) (ids []string, messages []kafka.Message, err error) {
	found, err := g.floor.QueryContext(ctx, "SELECT id, msg_key, headers, payload FROM floor_facts ORDER BY id LIMIT 200")
	if err != nil {
		return nil, nil, err
	}
	defer found.Close()
	for found.Next() {
		var id int64
		var m kafka.Message
		var headers []byte
		if err := found.Scan(&id, &m.Key, &headers, &m.Value); err != nil {
			return nil, nil, err
		}
		m.Headers = []kafka.Header{{Key: "all", Value: headers}}
		ids, messages = append(ids, strconv.FormatInt(id, 10)), append(messages, m)
	}
	return ids, messages, found.Err()
}
