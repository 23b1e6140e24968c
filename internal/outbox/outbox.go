package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outage"
	"waitroom/internal/sqldb"
)

// Bounds of the publisher.
const (
	outboxRows = 200 // read, published and deleted at once
	// outboxEvery is how soon facts of a booker that died are taken over. One's
	// own facts are published at once.
	outboxEvery = time.Second
	// publishMost caps the pause after a failed attempt, which doubles from
	// publishFirst. Attempts have no bound: meanwhile the facts wait in the
	// table, whose bound is the disk. It fills slowly, since the same Kafka is
	// needed to admit more visitors.
	publishFirst = 100 * time.Millisecond
	publishMost  = 5 * time.Second
)

// Publisher is Kafka.
type Publisher interface {
	// Publish returns nil when all records are acknowledged by all replicas.
	Publish(ctx context.Context, records []events.Record) error
}

// Outbox carries facts from the table to Kafka. Every booker runs one: two may
// publish the same fact, whose id lets the reader absorb the repeat. Facts of
// one visitor leave in the order in which they were written, since the row of
// the admission is locked from before the first one's id to its commit.
type Outbox struct {
	db   *sqldb.DB
	to   Publisher
	away *outage.Log
	met  *metrics
	now  func() time.Time // the seats' clock, which dates the facts
	news chan struct{}    // of one: a fact was committed by this process
}

// New makes an outbox on a database whose tables are there once it runs.
func New(db *sqldb.DB, to Publisher, now func() time.Time, log *zap.Logger, reg prometheus.Registerer) *Outbox {
	return &Outbox{db: db, to: to, met: newMetrics(reg), now: now, news: make(chan struct{}, 1), away: outage.New(outage.Config{
		Log: log, Down: "facts of the shop cannot be published; trying again", Up: "facts of the shop are published again"})}
}

// Add writes facts in the transaction of what they tell.
func Add(ctx context.Context, tx *sqlx.Tx, records ...events.Record) error {
	for _, r := range records {
		if _, err := tx.ExecContext(ctx, "INSERT INTO outbox (type, body) VALUES (?, ?)", r.Headers["ce_type"], string(r.Value)); err != nil {
			return err
		}
	}
	return nil
}

// Poke says that there are facts. It never blocks.
func (o *Outbox) Poke() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends. It reads the lowest ids that exist each time and
// never remembers how far it came: ids are given before they are committed, so a
// lower one can appear after a higher one was read.
func (o *Outbox) Run(ctx context.Context) {
	pause := publishFirst
	for {
		n, err := o.step(ctx)
		if ctx.Err() != nil {
			return
		}
		o.away.Note(ctx, err)
		var wait time.Duration
		news := o.news
		switch {
		case err != nil:
			news = nil // more facts are no reason to knock sooner
			o.met.unpublished.Inc()
			wait = pause/2 + rand.N(pause)
			pause = min(2*pause, publishMost)
		case n == outboxRows: // there may be more
		default:
			wait = outboxEvery/2 + rand.N(outboxEvery)
		}
		if err == nil {
			pause = publishFirst
		}
		if wait == 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-news:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// step publishes one batch and deletes it. A crash in between publishes it again.
func (o *Outbox) step(ctx context.Context) (n int, err error) {
	ids, records, oldest, err := o.facts(ctx, outboxRows)
	if err != nil {
		return 0, err // what is known stays in the gauges
	}
	if len(ids) == 0 {
		o.met.outbox.Set(0)
		o.met.oldest.Set(0)
		return 0, nil
	}
	o.met.oldest.Set(max(0, o.now().Sub(oldest).Seconds()))
	// Rows between the first and the last read, as a hint of the depth: when the
	// batch is full the rest is counted too.
	depth := int64(len(ids))
	if len(ids) == outboxRows {
		if depth, err = o.depth(ctx); err != nil {
			return 0, err
		}
	}
	o.met.outbox.Set(float64(depth))
	if err := o.to.Publish(ctx, records); err != nil {
		return 0, err
	}
	o.met.published.Add(float64(len(records)))
	return len(ids), o.published(ctx, ids)
}

// facts reads the lowest ids of the outbox, and when the first of them came about.
func (o *Outbox) facts(ctx context.Context, limit int) (ids []int64, records []events.Record, oldest time.Time, err error) {
	var rows []struct {
		ID   int64  `db:"id"`
		Type string `db:"type"`
		Body string `db:"body"`
	}
	if err := o.db.SelectContext(ctx, &rows, "SELECT id, type, body FROM outbox ORDER BY id LIMIT ?", limit); err != nil {
		return nil, nil, oldest, err
	}
	for _, r := range rows {
		if r.Type == events.TypeStock {
			stock, err := events.DecodeStock(map[string]string{"ce_type": r.Type}, []byte(r.Body))
			if err != nil {
				return nil, nil, oldest, fmt.Errorf("outbox row %d: %w", r.ID, err)
			}
			if len(ids) == 0 {
				oldest = time.UnixMilli(stock.AtMS)
			}
			ids, records = append(ids, r.ID), append(records, events.EncodeStock(stock))
			continue
		}
		var b events.Booking
		if err := json.Unmarshal([]byte(r.Body), &b); err != nil {
			return nil, nil, oldest, fmt.Errorf("outbox row %d: %w", r.ID, err)
		}
		b.Type = r.Type
		if len(ids) == 0 {
			oldest = time.UnixMilli(b.AtMS)
		}
		ids, records = append(ids, r.ID), append(records, events.EncodeBooking(b))
	}
	return ids, records, oldest, nil
}

// depth is about how many facts wait; ids have holes.
func (o *Outbox) depth(ctx context.Context) (n int64, err error) {
	err = o.db.GetContext(ctx, &n, "SELECT COALESCE(MAX(id) - MIN(id) + 1, 0) FROM outbox")
	return n, err
}

// published deletes facts that Kafka has; another booker may have done so.
func (o *Outbox) published(ctx context.Context, ids []int64) error {
	query, args, err := sqlx.In("DELETE FROM outbox WHERE id IN (?)", ids)
	if err != nil {
		return err
	}
	_, err = o.db.Write(ctx, query, args...)
	return err
}
