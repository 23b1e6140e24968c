// Command booker is the shop behind the line: visitors with a pass hold and buy
// seats. `booker seats` makes the seats of a room.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"waitroom/internal/booking"
	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/web"
)

const (
	startWait  = 15 * time.Second // for the servers behind to answer; then a supervisor tries again
	drainGrace = 10 * time.Second // for requests in service: longer than one may take
)

type cli struct {
	process.Logging `embed:""`
	Run             runCmd   `cmd:"" default:"withargs" help:"Serve the shop."`
	Seats           seatsCmd `cmd:"" help:"Add the seats of a room; those it has stay as they are. Its first ones ask for --new."`
}

func main() {
	process.Main("booker", "The shop behind the line: seats that visitors with a pass hold and buy.", &cli{})
}

type runCmd struct {
	Servers servers        `embed:""`
	Public  process.Public `embed:""`
	Shop    booking.Config `embed:""`
}

// Run opens each server by name, listens, serves, and drains in this order: not
// ready, after a delay no new request, the requests in service, the loops, the connections.
func (c *runCmd) Run(ctx context.Context, env *process.Env) error {
	start, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	db, err := c.Servers.Database.open(start)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := kafkaio.Ping(start, c.Servers.Kafka); err != nil {
		return fmt.Errorf("--kafka: %w", err)
	}
	if err := kafkaio.EnsureTopics(start, c.Servers.Kafka, c.Servers.Replication, booking.Topics...); err != nil {
		return fmt.Errorf("--kafka: %w", err)
	}
	if err := kafkaio.EnsureCompacted(start, c.Servers.Kafka, c.Servers.Replication, booking.Compacted...); err != nil {
		return fmt.Errorf("--kafka: %w", err)
	}
	verifier, err := token.LoadVerifier(c.Servers.JWKS)
	if err != nil {
		return fmt.Errorf("--jwks: %w", err)
	}
	client, _ := os.Hostname() // a name in the brokers' logs only
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: c.Servers.Kafka, ClientID: "booker-" + client})
	defer writer.Close()
	members := c.Servers.admissions("booker-"+client, env.Metrics, env.Log)
	var shop *booking.Booker // the pages ask it, which are served once it is there
	page := web.Handler(web.Options{Page: web.Seats, Prefix: c.Servers.Prefix, WaitingURL: c.Servers.WaitingURL,
		Rooms: func(name room.Name) (room.Event, room.Known) { return shop.Event(name), room.Listed }})
	shop, err = booking.New(start, c.Shop, booking.Parts{
		DB: db, Passes: verifier, Publisher: writer, Gateway: booking.FreeGateway{},
		Consume: func(ctx context.Context, handle func(context.Context, []events.Record) error) error {
			return members.Run(ctx, handle)
		},
		Page: page, Prefix: c.Servers.Prefix, Log: env.Log, Metrics: env.Metrics,
	})
	if err != nil {
		return fmt.Errorf("--db: %w", err)
	}
	return c.serve(ctx, env, shop, verifier)
}
