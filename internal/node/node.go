// Package node wires one node of the fleet out of its parts, the same for the
// command, the demo, the bench and the tests: what is proved with one of them holds
// for all.
package node

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/conversation"
	"waitroom/internal/directory"
	"waitroom/internal/gateway"
	"waitroom/internal/hub"
	"waitroom/internal/limit"
	"waitroom/internal/room"
	"waitroom/internal/signs"
	"waitroom/internal/token"
	"waitroom/web"
)

// Line is all that a node needs of the line; line.Lines is one.
type Line interface {
	hub.Line
	Rooms(context.Context) ([]room.Name, error)
	Deleted(context.Context, room.Name) (bool, error)
	Pulses(context.Context, []room.Name) ([]room.Pulse, []error)
	Shards(context.Context, []room.Name) [][]room.Name
	EventRevs(context.Context, []room.Name) (map[room.Name]room.EventRev, error)
	Event(context.Context, room.Name) (room.Event, error)
	Sign(context.Context, room.Sign) error
}

// Options are what a node is made of.
type Options struct {
	Line    Line
	Keys    *token.Keyring
	Edge    gateway.Config
	Hub     hub.Config
	Version string // for its sign of life
	Log     *zap.Logger
	Metrics prometheus.Registerer
	// Around may put something between conversations and the hub, to look at what
	// passes; nil: nothing.
	Around func(*hub.Hub) conversation.Hub
}

// Node is a node that Run brings to life.
type Node struct {
	Rooms *directory.Directory
	Hub   *hub.Hub
	Desk  *conversation.Desk
	Edge  *gateway.Gateway

	beat  *signs.Beat
	pages http.Handler
}

// New wires a node. What waits for connections runs from here on, and ends with
// Drain; the rest begins with Run.
func New(o Options) (*Node, error) {
	n := &Node{Rooms: directory.New(o.Line, o.Log)}
	// One id for all that the process does: who finds its sign missing knows whose
	// lanes nobody will finish.
	n.beat = signs.NewBeat(o.Line, room.RoleNode, o.Version, func() []room.RoomSign { return n.Hub.Signs() }, o.Log)
	n.Hub = hub.New(o.Hub, n.beat.ID(), o.Line, n.Rooms, o.Keys, o.Edge.ShopURL, o.Log, o.Metrics)
	var served conversation.Hub = n.Hub
	if o.Around != nil {
		served = o.Around(n.Hub)
	}
	limits := limit.New(o.Edge.Limit)
	n.Desk = conversation.NewDesk(served, o.Keys, limits, o.Metrics)
	var err error
	if n.Edge, err = gateway.New(o.Edge, n.Desk, limits, o.Log, o.Metrics); err != nil {
		return nil, err
	}
	n.pages = n.Edge.Handler(o.Keys.JWKS(), web.Handler(web.Options{Page: web.Waiting, Prefix: o.Edge.Prefix, Rooms: n.Rooms.Room}))
	o.Log.Info("signs that it lives", zap.String("sign", n.beat.ID())) // as status names it
	return n, nil
}

// Handler answers the public port: pages, keys and the WebSocket.
func (n *Node) Handler() http.Handler { return n.pages }

// Contact is closed once the line has answered for the first time.
func (n *Node) Contact() <-chan struct{} { return n.Rooms.Contact() }

// Run runs the node's loops until ctx ends, and returns when all have ended.
// Visitors are sent away by Drain, before.
func (n *Node) Run(ctx context.Context) error {
	loops, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{n.Rooms.Run, n.Hub.Run, n.Edge.Run, n.beat.Run} {
		loops.Go(func() error { return loop(ctx) })
	}
	return loops.Wait()
}

// Drain sends every visitor away, evenly over the configured time, while Run goes
// on.
func (n *Node) Drain(ctx context.Context) { n.Edge.Drain(ctx) }
