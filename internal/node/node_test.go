package node

import (
	"context"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"waitroom/internal/conversation"
	"waitroom/internal/embedded"
	"waitroom/internal/gateway"
	"waitroom/internal/hub"
	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// atOnce is how many of the tests run at the same time. They wait for ticks, beats and
// limits of some seconds, on rooms and nodes of their own, and need a twentieth of a core;
// by default there would be as many as cores.
const atOnce = 6

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const wait = 15 * time.Second // for any one fact; nothing here takes a tenth of it

// hall is a Redis with one room, and the keys that its nodes share.
type hall struct {
	url   string
	lines *line.Lines
	keys  *token.Keyring
	room  room.Name
	epoch room.Epoch
}

// node is a waitroom over real sockets.
type testNode struct {
	*hall
	*Node
	metrics *prometheus.Registry
	logs    *observer.ObservedLogs
	sinks   *sinks
	server  *httptest.Server
	prefix  string
}

// onBoth runs a test on miniredis and, where there is one, on the real Redis.
func onBoth(t *testing.T, test func(*testing.T, *hall)) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		_, addr, stop, err := embedded.Redis()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		test(t, newHall(t, "redis://"+addr+"/0"))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, newHall(t, testenv.RedisURL(t)))
	})
}

func dial(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	rdb, err := line.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func newHall(t testing.TB, url string) *hall {
	t.Helper()
	h := &hall{url: url, lines: line.New(dial(t, url)), keys: newHallKeys(t), room: room.Name(testenv.Room(t))}
	h.create(t)
	return h
}

// create makes the room, open, with a new epoch.
func (h *hall) create(t testing.TB) {
	t.Helper()
	conf := room.DefaultConf()
	h.epoch = room.NewEpoch()
	conf.Epoch, conf.State, conf.Rate, conf.Burst = h.epoch, room.Open, room.MaxRate, room.MaxRate.MinBurst()
	conf.Claim, conf.MaxActive = 5*time.Second, 100_000
	if err := h.lines.Create(t.Context(), h.room, conf, "test"); err != nil {
		t.Fatal(err)
	}
}

// admit admits n visitors, as an admitter would.
func (h *hall) admit(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(wait); n > 0; {
		r, err := h.lines.Admit(t.Context(), h.room, room.Caller{Epoch: h.epoch}, n)
		if err != nil {
			t.Fatal(err)
		}
		if n -= r.Admitted; time.Now().After(deadline) {
			t.Fatalf("%d are not admitted: %+v", n, r)
		}
	}
}

func (h *hall) set(t testing.TB, ch room.Change) {
	t.Helper()
	ch.Actor = "test"
	if _, err := h.lines.Set(t.Context(), h.room, ch); err != nil {
		t.Fatal(err)
	}
}

// sinks passes every connection on to the hub and keeps the last one.
type sinks struct {
	*hub.Hub
	full atomic.Bool // as if it were
	mu   sync.Mutex
	last hub.Sink
}

func (s *sinks) Full() bool { return s.full.Load() || s.Hub.Full() }

func (s *sinks) Join(ctx context.Context, name room.Name, sink hub.Sink) (*hub.Session, error) {
	s.mu.Lock()
	s.last = sink
	s.mu.Unlock()
	return s.Hub.Join(ctx, name, sink)
}

func (h *hall) node(t testing.TB, change func(*gateway.Config)) *testNode {
	t.Helper()
	return h.nodeOver(t, line.New(dial(t, h.url)), change)
}

// nodeOver is a node over a line of the test's.
func (h *hall) nodeOver(t testing.TB, over Line, change func(*gateway.Config)) *testNode {
	t.Helper()
	conf := gateway.Config{MaxConnections: 100, Drain: 200 * time.Millisecond, ShopURL: "http://shop.example/rooms/{room}/shop"}
	if change != nil {
		change(&conf)
	}
	core, logs := observer.New(zap.InfoLevel)
	n := &testNode{hall: h, metrics: prometheus.NewRegistry(), logs: logs, sinks: &sinks{}}
	var err error
	n.Node, err = New(Options{Line: over, Keys: h.keys, Edge: conf, Log: zap.New(core), Metrics: n.metrics,
		Around: func(h *hub.Hub) conversation.Hub { n.sinks.Hub = h; return n.sinks }})
	if err != nil {
		t.Fatal(err)
	}
	n.prefix = conf.Prefix
	n.server = httptest.NewServer(n.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = n.Run(ctx); close(done) }() // ends below
	t.Cleanup(func() {
		n.server.Close()
		ended, end := context.WithCancel(context.Background())
		end()
		n.Drain(ended)
		cancel()
		<-done
	})
	select {
	case <-n.Contact():
	case <-time.After(wait):
		t.Fatal("no contact with the line")
	}
	return n
}

// connections is what the node's metric says.
func (n *testNode) connections(t testing.TB) int {
	t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "waitroom_connections" {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	t.Fatal("no metric waitroom_connections")
	return 0
}

func (n *testNode) url(name room.Name) string {
	return strings.Replace(n.server.URL, "http", "ws", 1) + n.prefix + "/rooms/" + string(name) + "/ws"
}

// client is a visitor's page.
type client struct {
	t  testing.TB
	ws *websocket.Conn
}

// message is any message of the server.
type message struct {
	Type     wire.Type
	Place    string
	Number   room.Number
	Epoch    room.Epoch
	Position room.Position
	Waiting  int64
	ClaimMS  int64 `json:"claim_ms"`
	Pass     string
	URL      string
	State    room.Shown
	Notice   string
	RetryMS  int64 `json:"retry_ms"`
	Code     wire.Code
}

func (n *testNode) dial(t testing.TB, name room.Name) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, n.url(name), &websocket.DialOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if got := ws.Subprotocol(); got != wire.Subprotocol {
		t.Errorf("got subprotocol %q, want %q", got, wire.Subprotocol)
	}
	return &client{t, ws}
}

func (c *client) say(r wire.Request) {
	c.t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, b); err != nil {
		c.t.Fatalf("say %s: %v", r.Type, err)
	}
}

func (c *client) next() (message, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), wait)
	defer cancel()
	_, b, err := c.ws.Read(ctx)
	var m message
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

// hear waits for a message of a type, past those of others.
func (c *client) hear(want wire.Type) message {
	c.t.Helper()
	for end := time.Now().Add(wait); ; { // a beat comes for ever
		m, err := c.next()
		if err != nil || time.Now().After(end) {
			c.t.Fatalf("waiting for %s: got %+v, %v", want, m, err)
		}
		if m.Type == want {
			return m
		}
		if m.Type == wire.Error {
			c.t.Fatalf("waiting for %s: got error %s", want, m.Code)
		}
	}
}

// until waits for a message that is right.
func (c *client) until(what string, right func(message) bool) message {
	c.t.Helper()
	for end := time.Now().Add(wait); ; {
		m, err := c.next()
		if err != nil || time.Now().After(end) {
			c.t.Fatalf("waiting for %s: got %+v, %v", what, m, err)
		}
		if right(m) {
			return m
		}
	}
}

// ends waits for the close code, and returns the error told before it, if any.
func (c *client) ends() (wire.Code, int) {
	c.t.Helper()
	var told wire.Code
	for end := time.Now().Add(wait); ; {
		m, err := c.next()
		if err != nil {
			return told, int(websocket.CloseStatus(err))
		}
		if time.Now().After(end) {
			c.t.Fatalf("the connection stays open; last heard %+v", m)
		}
		if m.Type == wire.Error {
			told = m.Code
		}
	}
}

func (n *testNode) join(t testing.TB) (*client, message) {
	t.Helper()
	c := n.dial(t, n.room)
	c.say(wire.Request{Type: wire.Join})
	return c, c.hear(wire.Joined)
}

func (n *testNode) back(t testing.TB, place string) *client {
	t.Helper()
	c := n.dial(t, n.room)
	c.say(wire.Request{Type: wire.Join, Place: place})
	return c
}

// raw opens the TCP connection of a visitor by hand.
func (n *testNode) raw(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", n.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

func get(t testing.TB, url string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return resp
}
