package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking"
	"waitroom/internal/boxoffice"
	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/outbox"
	"waitroom/internal/process"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
)

// bookerIdle is cmd/booker's: how long a socket waits for its next request.
const bookerIdle = 130 * time.Second

// bookerFlags are those of the command, read by the same tags and with the same
// defaults, and those of the bench: brokers, without which facts are acknowledged at
// once, and the topic and group of admissions, without which none are read.
type bookerFlags struct {
	Brokers  string
	Admitted string
	Group    string
	Public   process.Public   `embed:""`
	Shop     boxoffice.Config `embed:""`
}

// acked counts the facts that Kafka has, and sends them to the bench's topic.
type acked struct {
	next outbox.Publisher // nil: nobody
	all  atomic.Int64
}

func (c *acked) Publish(ctx context.Context, records []events.Record) error {
	if c.next != nil {
		for i := range records {
			records[i].Topic = benchTopic
		}
		if err := c.next.Publish(ctx, records); err != nil {
			return err
		}
	}
	c.all.Add(int64(len(records)))
	return nil
}

// Partitions implements outbox.Publisher, for the topic that the records go to.
func (c *acked) Partitions(ctx context.Context, _ string) (int, error) {
	if c.next == nil {
		return 8, nil
	}
	return c.next.Partitions(ctx, benchTopic)
}

// playBooker: URL of the database, file of the keys, flags. It is cmd/booker's wiring,
// served in the same way, without its page.
func playBooker(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("want a database URL, a file of keys, and flags")
	}
	var flags bookerFlags
	parser, err := kong.New(&flags)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args[2:]); err != nil {
		return err
	}
	keys, err := token.LoadFile(args[1])
	if err != nil {
		return err
	}
	env := &process.Env{Name: "bench", Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Out: os.Stderr}
	flags.Public.Memory.Set(env.Log)
	db, err := sqldb.Open(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	facts := &acked{}
	var given atomic.Int64 // when the first admissions were, in µs since 1970
	o := boxoffice.Options{Config: flags.Shop, DB: db, Passes: keys.Verifier(), Publisher: facts, Gateway: booking.FreeGateway{},
		Log: env.Log, Metrics: env.Metrics}
	if flags.Brokers != "" {
		writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: strings.Split(flags.Brokers, ","), ClientID: "bench"})
		defer writer.Close()
		facts.next = writer
	}
	if flags.Admitted != "" {
		consumer := kafkaio.NewConsumer(kafkaio.ConsumerConfig{Brokers: strings.Split(flags.Brokers, ","), Group: flags.Group,
			Topics: []string{flags.Admitted}, ClientID: "bench", Log: env.Log})
		o.Consume = func(ctx context.Context, handle func(context.Context, []events.Record) error) error {
			return consumer.Run(ctx, func(ctx context.Context, records []events.Record) error {
				given.CompareAndSwap(0, time.Now().UnixMicro())
				return handle(ctx, records)
			})
		}
	}
	shop, err := boxoffice.New(ctx, o)
	if err != nil {
		return err
	}
	sockets, err := flags.Public.Sockets(env, process.Need{Flag: "the bench's booker"}, bookerIdle)
	if err != nil {
		return err
	}
	l, err := process.Listen("listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// Everything below ends with the process, which ends with its input.
	go sockets.Serve(ctx, l, shop.Handler(), time.Second)
	if err := say(l.Addr().String()); err != nil {
		return err
	}
	return answer(map[string]func(string) (any, error){
		"usage":     func(string) (any, error) { return usage(nil) },
		"run":       func(string) (any, error) { go shop.Run(ctx); return true, nil },
		"given":     func(string) (any, error) { return given.Load(), nil },
		"published": func(string) (any, error) { return facts.all.Load(), nil },
	})
}

// booker is one of them, as the bench sees it.
type booker struct {
	*proc
	address string
}

// booker starts one over the row's database, at the default flags where none are
// given. Its loops begin when it is told to run.
func (g *shopGround) booker(ctx context.Context, flags ...string) (*booker, error) {
	p, err := spawn(ctx, "booker", append([]string{g.dsn, filepath.Join(g.dir, "keys")}, flags...)...)
	if err != nil {
		return nil, err
	}
	b := &booker{proc: p}
	if err := p.hear(&b.address); err != nil {
		p.end()
		return nil, err
	}
	return b, nil
}

// running starts a booker and its loops.
func (g *shopGround) running(ctx context.Context, flags ...string) (*booker, error) {
	b, err := g.booker(ctx, flags...)
	if err != nil {
		return nil, err
	}
	if err := b.run(); err != nil {
		b.end()
		return nil, err
	}
	return b, nil
}

// run starts the loops.
func (b *booker) run() error {
	var ok bool
	return b.ask("run", &ok)
}
