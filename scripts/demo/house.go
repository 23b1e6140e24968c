package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/admission"
	"waitroom/internal/booking"
	"waitroom/internal/boxoffice"
	"waitroom/internal/events"
	"waitroom/internal/gateway"
	"waitroom/internal/kafkaio"
	"waitroom/internal/line"
	"waitroom/internal/node"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/seatmap"
	"waitroom/internal/shop"
	"waitroom/internal/signs"
	"waitroom/internal/token"
	"waitroom/web"
)

const (
	drain    = 500 * time.Millisecond // nobody but the watcher's page has to be sent away gently
	farewell = 5 * time.Second
	// guests are connections beside those of the bots: the watcher's pages, phones,
	// and bots on their way out. With 300 bots a limit of 4,096 files is enough.
	guests = 1_000
	idle   = time.Minute // of a socket between two requests; there is no proxy in front

	// Consumer groups of their own: on a Kafka that a fleet uses, the demo reads
	// along and takes no record away from it.
	factsGroup      = "waitroom-demo-admitter"
	admissionsGroup = "waitroom-demo-booker"
)

// house is the three roles, built and not running.
type house struct {
	env     *process.Env
	on      addresses
	sockets *process.Sockets
	room    room.Name
	lines   *line.Lines

	node *node.Node // waitroom

	admitter  *admission.Service // admitter
	admitting *signs.Beat        // two roles, so two signs of life: status shows the demo as it shows a fleet
	facts     *kafkaio.Follower

	shop *boxoffice.BoxOffice // booker

	bots *bots
}

// build makes the roles as their commands do, with four differences: one port
// serves the line and the shop; the keys are made here and last as long as the
// process, so the shop verifies with them and asks nobody; one writer and one
// registry of metrics serve all three; and on servers that others use too, only
// the demo's own room is served.
func (c *cli) build(ctx context.Context, env *process.Env, behind *servers, on addresses) (*house, error) {
	h := &house{env: env, on: on, room: room.Name(c.Room), lines: behind.lines}
	// Each bot is a file here as well as a connection.
	var err error
	h.sockets, err = process.Public{}.Sockets(env, process.Need{
		Flag: fmt.Sprintf("--bots %d", c.Bots), Upgraded: c.Bots + guests, Besides: c.Bots}, idle)
	if err != nil {
		return nil, err
	}
	key, err := token.NewKey()
	if err != nil {
		return nil, err
	}
	keys, err := token.NewKeyring(key)
	if err != nil {
		return nil, err
	}
	writer := kafkaio.NewWriter(kafkaio.WriterConfig{Brokers: behind.brokers, ClientID: actor})
	behind.stops = append(behind.stops, func() { _ = writer.Close() })

	front := gateway.Config{MaxConnections: c.Bots + guests, Drain: drain, ShopURL: "/rooms/{room}/shop"}
	if h.node, err = node.New(node.Options{Line: behind.lines, Keys: keys, Edge: front, Version: process.ReadBuild().Version,
		Log: env.Log.Named("waitroom"), Metrics: env.Metrics}); err != nil {
		return nil, err
	}

	h.admitting = signs.NewBeat(behind.lines, room.RoleAdmitter, process.ReadBuild().Version,
		func() []room.RoomSign { return h.admitter.Signs() }, env.Log.Named("admitter"))
	if h.admitter, err = admission.New(admission.Config{Rooms: []string{c.Room}, Process: h.admitting.ID()}, actor, behind.lines, writer, env.Log.Named("admitter"), env.Metrics); err != nil {
		return nil, err
	}
	h.facts = kafkaio.NewFollower(kafkaio.FollowerConfig{Brokers: behind.brokers, Group: factsGroup,
		Topic: events.TopicBookings, Dead: writer, ClientID: actor, Log: env.Log.Named("admitter"),
		Metrics: env.Metrics, Subsystem: "admitter"})

	members := kafkaio.NewConsumer(kafkaio.ConsumerConfig{Brokers: behind.brokers, Group: admissionsGroup,
		Topics: booking.Reads, ClientID: actor, Log: env.Log.Named("booker"),
		Metrics: env.Metrics, Subsystem: "booker"})
	start, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	rules := boxoffice.Config{Booking: booking.Config{Hold: time.Minute, Extend: 2 * time.Minute, Grace: 2 * time.Second, Sweep: 500 * time.Millisecond, Keep: 720 * time.Hour},
		Shop: shop.Config{MaxSeats: 6, MaxCalls: 2000, Patience: 5 * time.Second}, Map: seatmap.Config{MaxStreams: 1000}}
	if err := rules.Check(); err != nil {
		return nil, err
	}
	h.shop, err = boxoffice.New(start, boxoffice.Options{
		Config: rules, DB: behind.db, Passes: keys.Verifier(), Publisher: writer, Gateway: booking.FreeGateway{},
		Consume: func(ctx context.Context, handle func(context.Context, []events.Record) error) error {
			return members.Run(ctx, handle)
		},
		Page: web.Handler(web.Options{Page: web.Seats, WaitingURL: "/rooms/{room}",
			Rooms: func(name room.Name) (room.Event, room.Known) { return h.shop.Event(name), room.Listed }}),
		Log: env.Log.Named("booker"), Metrics: env.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("--db: %w", err)
	}
	h.bots = newBots(c.Bots, url(on.pages), h.room, behind.lines, env)
	return h, nil
}

// public is the line and the shop under one origin, so that neither has to know
// the other's address: a phone goes on where it asked, whatever it calls us.
func (h *house) public() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h.node.Handler())             // the waiting page, the keys, and the assets, which are the same for both pages
	mux.Handle("/rooms/{room}", h.node.Handler()) // named, or the mux would put a slash behind it for the shop
	mux.Handle("/rooms/{room}/ws", h.node.Handler())
	mux.Handle("/rooms/{room}/{rest...}", h.shop.Handler())
	return mux
}

// serve runs until ctx ends or a part fails. Then it goes in this order: the
// bots and the listeners, the sockets, the loops.
func (h *house) serve(ctx context.Context) error {
	last, stop := context.WithCancel(context.WithoutCancel(ctx)) // ends when the visitors are gone
	defer stop()
	var ready process.Ready
	parts, ending := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{
		h.node.Run, h.admitter.Run, h.shop.Run, h.admitting.Run,
		func(ctx context.Context) error { return h.facts.Run(ctx, h.admitter.Facts) },
		func(ctx context.Context) error {
			return process.Serve(ctx, h.on.ops, process.Ops(h.env.Metrics, &ready), farewell)
		},
	} {
		parts.Go(func() error { return loop(last) })
	}
	var visitors sync.WaitGroup // and what faces them
	for _, part := range []func(context.Context) error{
		h.bots.run,
		func(ctx context.Context) error { return h.sockets.Serve(ctx, h.on.pages, h.public(), farewell) },
	} {
		visitors.Add(1)
		parts.Go(func() error {
			defer visitors.Done()
			return part(ending)
		})
	}
	parts.Go(func() error {
		defer stop()
		select {
		case <-h.node.Contact():
			ready.Set(true)
		case <-ending.Done():
		}
		<-ending.Done()
		ready.Set(false)
		limit, cancel := context.WithTimeout(last, drain+farewell)
		defer cancel()
		h.shop.Drain(limit)
		h.node.Drain(limit)
		visitors.Wait()
		return nil
	})
	began := time.Now()
	err := parts.Wait()
	h.env.Log.Info("the demo is over", zap.Duration("after", time.Since(began).Round(time.Second)))
	return err
}
