package gateway

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/conversation"
	"waitroom/internal/wire"
)

// tendEvery is how often the janitor looks at busy connections: a torn frame goes
// on within this time of the peer reading again.
const tendEvery = 250 * time.Millisecond

// retrySpread is the greatest delay asked of whoever is sent away, in seconds:
// a crowd that comes back all at once would be sent away again.
const retrySpread = 5

// Gateway is the public edge of one node.
type Gateway struct {
	conf     Config
	desk     *conversation.Desk
	origins  *origins
	log      *zap.Logger
	advice   *advice
	metrics  *metrics
	draining atomic.Bool
	open     atomic.Int64 // connections, from before the upgrade on

	ctx context.Context // of the acts of visitors; ends with end
	end context.CancelFunc

	wg      sync.WaitGroup // readers
	mu      sync.Mutex
	sockets []*socket // each knows its index
}

// New makes the edge of a node.
func New(conf Config, desk *conversation.Desk, log *zap.Logger, reg prometheus.Registerer) (*Gateway, error) {
	origins, err := newOrigins(conf)
	if err != nil {
		return nil, err
	}
	g := &Gateway{conf: conf, desk: desk, origins: origins, log: log, advice: newAdvice(log)}
	g.metrics = newMetrics(reg, func() float64 { return float64(g.open.Load()) })
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
	if g.draining.Load() {
		g.turnAway(w, wire.Draining)
		return
	}
	from := asked{origin: r.Header.Get("Origin"), peer: r.RemoteAddr, host: r.Host,
		forwardedHost: r.Header.Get("X-Forwarded-Host"), forwardedProto: r.Header.Get("X-Forwarded-Proto")}
	if !g.origins.allow(from) {
		g.advice.origin(from, g.origins.trusted(from.peer))
		g.metrics.refused.WithLabelValues(string(wire.Origin)).Inc()
		wire.WriteProblem(w, wire.Origin, 0)
		return
	}
	if g.open.Add(1) > int64(g.conf.MaxConnections) {
		g.open.Add(-1)
		g.turnAway(w, wire.Overloaded)
		return
	}
	h := &hijack{ResponseWriter: w}
	// Compression would cost more memory per connection than all the rest. The
	// origin was looked at above, with the proxies in mind.
	s := &socket{gateway: g, room: r.PathValue("room")}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol},
		InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
		OnPingReceived: func(context.Context, []byte) bool { return s.talk.Spend() }})
	if err != nil {
		if h.conn != nil {
			_ = h.conn.Close() // the handshake failed after it became ours
		}
		g.open.Add(-1)
		g.advice.handshake(r)
		g.metrics.refused.WithLabelValues(string(wire.BadRequest)).Inc()
		return
	}
	s.ws, s.conn = ws, h.conn
	g.add(s)
}

func (g *Gateway) turnAway(w http.ResponseWriter, code wire.Code) {
	g.metrics.refused.WithLabelValues(string(code)).Inc()
	wire.WriteProblem(w, code, 1+rand.IntN(retrySpread))
}

// hijack hands the library our conn instead of the server's.
type hijack struct {
	http.ResponseWriter
	conn *conn
}

// Hijack gives small buffers: 128 bytes hold the greatest control frame, which is
// all the library writes.
func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	var early []byte
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		_, _ = rw.Reader.Read(early) // buffered: it can not fail
	}
	c, err := newConn(nc, early)
	if err != nil {
		return nil, nil, errors.Join(err, nc.Close())
	}
	c.ahead = bufio.NewReaderSize(c, 128)
	h.conn = c
	return c, bufio.NewReadWriter(c.ahead, bufio.NewWriterSize(c, 128)), nil
}

func (g *Gateway) add(s *socket) {
	g.mu.Lock()
	if g.draining.Load() {
		// Drain has taken its list, or is about to and would wait for a reader that
		// is not there yet.
		g.mu.Unlock()
		s.sendAway()
		_ = s.ws.CloseNow() // what was sent is in the kernel's hands
		g.open.Add(-1)
		return
	}
	s.index = len(g.sockets)
	g.sockets = append(g.sockets, s)
	g.wg.Add(1)
	g.mu.Unlock()
	go func() { // ends with its connection, which Drain ends at the latest; Drain waits
		defer g.wg.Done()
		s.run()
		g.remove(s)
	}()
}

func (g *Gateway) remove(s *socket) {
	g.mu.Lock()
	last := len(g.sockets) - 1
	g.sockets[s.index] = g.sockets[last]
	g.sockets[s.index].index = s.index
	g.sockets[last] = nil
	g.sockets = g.sockets[:last]
	g.mu.Unlock()
	g.open.Add(-1)
}

// Run is the janitor: it tends busy connections until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	var all []*socket
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			g.mu.Lock()
			all = append(all[:0], g.sockets...)
			g.mu.Unlock()
			for _, s := range all {
				if s.conn.tend(now) {
					g.metrics.closed.WithLabelValues(string(wire.Slow)).Inc()
				}
			}
			clear(all)
		}
	}
}

// Drain sends every connection away, evenly over the configured time, and
// returns when all have ended or ctx does; then it cuts the rest. New ones are
// refused from its start on. The janitor must go on meanwhile.
func (g *Gateway) Drain(ctx context.Context) {
	g.draining.Store(true)
	g.mu.Lock()
	all := append([]*socket(nil), g.sockets...)
	g.mu.Unlock()
	g.log.Info("draining", zap.Int("connections", len(all)), zap.Duration("over", g.conf.Drain))
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, s := range all {
		if wait := time.Until(start.Add(g.conf.Drain * time.Duration(i) / time.Duration(len(all)))); wait > time.Millisecond && ctx.Err() == nil {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		s.sendAway()
	}
	ended := make(chan struct{})
	go func() { // ends when the readers have; below they are made to
		g.wg.Wait()
		close(ended)
	}()
	timer.Reset(closeGrace + time.Second)
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
	g.end()
	g.mu.Lock()
	rest := len(g.sockets)
	for _, s := range g.sockets {
		_ = s.conn.Close() // wakes its reader
	}
	g.mu.Unlock()
	<-ended
	g.log.Info("drained", zap.Int("cut", rest), zap.Duration("took", time.Since(start)))
}
