package main

import (
	"context"
	"fmt"
	"os"

	"waitroom/api"
	"waitroom/internal/booking"
	"waitroom/internal/boxoffice"
	"waitroom/internal/events"
	"waitroom/internal/kafkaio"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/sqldb"
	"waitroom/internal/token"
	"waitroom/web"
)

// open opens the database, looks for Kafka, and makes the shop. missing is why Kafka
// is not there.
func (c *runCmd) open(ctx context.Context, env *process.Env, start *process.Start, verifier *token.Verifier, kafka *broker) (shop *boxoffice.BoxOffice, missing, err error) {
	tables, cancelTables := context.WithTimeout(ctx, tablesWait)
	defer cancelTables()
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var db *sqldb.DB
	err = start.Await("the database", func() error {
		if db, err = c.Servers.Database.open(ctx); err == nil {
			start.Close("database", db.Close)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if missing, err = kafka.look(ctx, start); err != nil {
		return nil, nil, err
	}
	client, _ := os.Hostname() // a name in the brokers' logs only
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: c.Servers.Kafka, ClientID: "booker-" + client})
	start.Close("kafka", writer.Close)
	members := c.Servers.admissions("booker-"+client, env.Metrics, env.Log)
	page := web.Handler(web.Options{Page: web.Seats, Prefix: c.Servers.Prefix, WaitingURL: c.Servers.WaitingURL,
		Rooms: func(name room.Name) (room.Event, room.Known) { return shop.Event(name), room.Listed }}) // served once the shop is there
	if c.Servers.APIDocs {
		page = api.Handler(c.Servers.Prefix, page)
	}
	err = start.Await("the database's tables", func() error {
		shop, err = boxoffice.New(tables, boxoffice.Options{
			Config: c.Shop, DB: db, Passes: verifier, Publisher: writer, Gateway: booking.FreeGateway{},
			Consume: func(ctx context.Context, handle func(context.Context, []events.Record) error) error {
				if !kafka.awaitFound(ctx) { // a group needs its topics
					return nil
				}
				return members.Run(ctx, handle)
			},
			Page: page, Prefix: c.Servers.Prefix, Log: env.Log, Metrics: env.Metrics,
		})
		if err != nil {
			return fmt.Errorf("--db: %w", err)
		}
		return nil
	})
	return shop, missing, err
}
