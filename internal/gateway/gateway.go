package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/conversation"
	"waitroom/internal/limit"
	"waitroom/internal/outage"
	"waitroom/internal/socket"
	"waitroom/internal/wire"
)

const (
	// retrySpread is the greatest delay asked of whoever is sent away, in seconds:
	// a crowd that comes back all at once would be sent away again.
	retrySpread = 5
	// goodbye is how long connections may take to end once all were sent away: the
	// peer's answer to the close frame, and the janitor's next look.
	goodbye = 6 * time.Second
)

// Gateway is the public edge of one node.
type Gateway struct {
	// Set once.
	conf    Config
	desk    *conversation.Desk
	origins *origins
	source  *limit.Source
	limits  *limit.Limiter
	server  *socket.Server
	log     *zap.Logger
	advice  *advice
	metrics *metrics
	trouble *outage.Log     // connections that can't be kept
	ctx     context.Context // of the calls that visitors ask for; ends with end
	end     context.CancelFunc

	draining atomic.Bool
	shaking  atomic.Int64 // handshakes under way; then they are the server's
}

// New makes the edge of a node.
func New(conf Config, desk *conversation.Desk, limits *limit.Limiter, log *zap.Logger, reg prometheus.Registerer) (*Gateway, error) {
	origins, err := newOrigins(conf)
	if err != nil {
		return nil, err
	}
	server, err := socket.New(socket.Options{Subprotocols: []string{wire.Subprotocol}, MaxMessage: wire.MaxJoin})
	if err != nil {
		return nil, err
	}
	for _, warning := range limit.Warnings(origins.proxies) {
		log.Warn(warning)
	}
	g := &Gateway{conf: conf, desk: desk, origins: origins, source: limit.NewSource(origins.proxies, conf.Limit.Private), limits: limits,
		server: server, log: log, advice: newAdvice(log)}
	g.metrics = newMetrics(reg, g)
	g.trouble = outage.New(outage.Config{Log: log, Grave: true, Quiet: time.Minute,
		Down: "visitors are cut right after their handshake: the system has nothing left for them; look at the limit of open files and at fs.epoll.max_user_watches"})
	g.ctx, g.end = context.WithCancel(context.Background())
	return g, nil
}

// Handler answers the public port: the WebSocket, the public keys in jwks, and whatever
// pages (may be nil) answers.
func (g *Gateway) Handler(jwks []byte, pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+g.conf.Prefix+"/rooms/{room}/ws", g.upgrade)
	mux.HandleFunc("GET "+g.conf.Prefix+"/.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/jwk-set+json")
		h.Set("Cache-Control", "public, max-age=60") // a rotation waits longer than this
		h.Set("Access-Control-Allow-Origin", "*")    // the keys are public
		_, _ = w.Write(jwks)                         // a client that went away
	})
	if pages == nil {
		pages = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { wire.WriteProblem(w, wire.NotFound, 0) })
	}
	mux.Handle("/", pages)
	return mux
}

// upgrade is the handler of the WebSocket. It returns as soon as the connection
// is ours, so that nothing of the HTTP server stays in memory for it.
func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request) {
	// Counted before the look: whoever Drain does not see here sees it draining.
	shaking := g.shaking.Add(1)
	defer g.shaking.Add(-1)
	if g.draining.Load() {
		g.turnAway(w, wire.Draining, 0)
		return
	}
	page := asked{origin: r.Header.Get("Origin"), peer: r.RemoteAddr, host: r.Host,
		forwardedHost: r.Header.Get("X-Forwarded-Host"), forwardedProto: r.Header.Get("X-Forwarded-Proto")}
	if !g.origins.allow(page) {
		g.advice.origin(page, g.origins.trusted(page.peer))
		g.metrics.refused.WithLabelValues(string(wire.Origin)).Inc()
		wire.WriteProblem(w, wire.Origin, 0)
		return
	}
	if shaking+int64(g.server.Open()) > int64(g.conf.MaxConnections) {
		g.turnAway(w, wire.Overloaded, 0)
		return
	}
	v := &visitor{gateway: g}
	from, limited := g.source.Client(r.RemoteAddr, r.Header.Values("X-Forwarded-For"))
	if !limited {
		from = netip.Prefix{}
	}
	if code, retry := g.admit(v, from, r); code != "" {
		g.turnAway(w, code, retry)
		return
	}
	// The origin was looked at above, with the proxies in mind.
	conn, err := g.server.Accept(w, r)
	if err != nil {
		v.lease.Release()
		g.notAccepted(r, err)
		return
	}
	v.conn = conn
	v.talk = g.desk.Begin(r.PathValue("room"), from, v)
	conn.Start(v)
	if g.draining.Load() { // Drain looked before it was there, and waits for it
		v.sendAway()
	}
}

// admit lets a handshake in by what it shows, or says why not. A place that is good
// for this room is never refused because of its address: only by a limit of its
// own, and for its first connections, so that it is no ticket for a flood. from is the address that counts; zero:
// none does.
func (g *Gateway) admit(v *visitor, from netip.Prefix, r *http.Request) (code wire.Code, retry time.Duration) {
	hasPlace := false
	if offered := wire.OfferedPlace(r.Header); offered != "" {
		if visitor, ok := g.desk.Verify(r.Context(), offered, r.PathValue("room")); ok {
			exempt := false
			if v.lease, exempt, retry = g.limits.Place(string(visitor)); retry > 0 {
				return wire.PlaceLimit, retry
			}
			if exempt {
				return "", 0
			}
			hasPlace = true
		}
	}
	if g.desk.Full() && !hasPlace {
		return wire.Overloaded, 0
	}
	if v.lease, retry = g.limits.Connect(from); retry > 0 {
		g.advice.address(r, g.origins.trusted(r.RemoteAddr))
		return wire.AddressLimit, retry
	}
	return "", 0
}

// notAccepted says why a handshake came to nothing.
func (g *Gateway) notAccepted(r *http.Request, err error) {
	code := wire.BadRequest
	switch {
	case errors.Is(err, socket.ErrClosed):
		code = wire.Draining
	case errors.Is(err, socket.ErrNotTaken):
		code = wire.Internal
		g.trouble.Note(context.Background(), err) // the request's context ends with its connection
	default:
		g.advice.handshake(r)
	}
	g.metrics.refused.WithLabelValues(string(code)).Inc()
}

func (g *Gateway) turnAway(w http.ResponseWriter, code wire.Code, after time.Duration) {
	g.metrics.refused.WithLabelValues(string(code)).Inc()
	wire.WriteProblem(w, code, int((after+time.Second-1)/time.Second)+1+rand.IntN(retrySpread))
}

// connections are those that hold a descriptor, or are about to: one that is closing
// counts until it is gone.
func (g *Gateway) connections() float64 {
	return float64(g.shaking.Load() + int64(g.server.Open()))
}

// Run is the janitor of connections, until ctx ends.
func (g *Gateway) Run(ctx context.Context) error { return g.server.Run(ctx) }

// Drain sends every connection away, evenly over the configured time, and
// returns when all have ended or ctx does; then it cuts the rest. New ones are
// refused from its start on. Run must go on meanwhile.
func (g *Gateway) Drain(ctx context.Context) {
	g.draining.Store(true)
	all := g.server.Handlers()
	g.log.Info("draining", zap.Int("connections", len(all)), zap.Duration("over", g.conf.Drain))
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, h := range all {
		if wait := time.Until(start.Add(g.conf.Drain * time.Duration(i) / time.Duration(len(all)))); wait > time.Millisecond && ctx.Err() == nil {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		h.(*visitor).sendAway()
	}
	limit, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	for g.shaking.Load() > 0 && limit.Err() == nil { // a server that drains would cut them without a word
		timer.Reset(time.Millisecond)
		<-timer.C
	}
	// Who waits for the line is cut with its connection.
	defer context.AfterFunc(limit, g.end)()
	rest := g.server.Drain(limit)
	g.end()
	g.log.Info("drained", zap.Int("cut", rest), zap.Duration("took", time.Since(start)))
}
