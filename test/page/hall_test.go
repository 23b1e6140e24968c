package page

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waitroom/internal/line"
	"waitroom/internal/room"
	"waitroom/internal/testenv"
	"waitroom/test/internal/child"
)

// hall is what a test of the page stands in: a Redis of its own, nodes behind a
// balancer, a shop that only greets, and one room.
type hall struct {
	t     *testing.T
	dir   string // of logs
	redis *testenv.RedisServer
	lines *line.Lines
	env   []string
	room  room.Name
	epoch room.Epoch
	nodes []*child.Process
	at    []string // addresses of the nodes
	front *balancer
	shop  *httptest.Server
}

// newHall starts n nodes and makes the room: open, but without an admitter nobody
// is let in before the test does it by admit. more are flags of `room create`.
func newHall(t *testing.T, n int, more ...string) *hall {
	t.Helper()
	child.Need(t)
	h := &hall{t: t, dir: t.TempDir(), redis: testenv.StartRedis(t), room: "gala"}
	rdb, err := line.Dial(h.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	h.lines = line.New(rdb)
	h.env = []string{"WAITROOM_REDIS=" + h.redis.URL()}
	h.epoch = h.create(h.room, more...)

	h.shop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>shop</title><p>This is the shop"))
	}))
	t.Cleanup(h.shop.Close)

	child.Must(t, "waitroom", nil, "keys", "new", "--file", filepath.Join(h.dir, "keys.json"))
	for range n {
		h.node()
	}
	for _, c := range h.nodes {
		c.Ready()
	}
	h.front = newBalancer(t, h.at...)
	return h
}

// node starts one more node; more are further flags of `waitroom run`.
func (h *hall) node(more ...string) *child.Process {
	h.t.Helper()
	listen, ops := child.Address(h.t), child.Address(h.t)
	args := append([]string{"run", "--listen", listen, "--ops-listen", ops, "--keys", filepath.Join(h.dir, "keys.json"),
		"--drain", "2s", "--shop-url", h.shop.URL + "/rooms/{room}/shop"}, more...)
	c := child.New(h.t, h.dir, fmt.Sprint("waitroom-", len(h.nodes)+1), ops, h.env, args...)
	c.Start()
	h.nodes, h.at = append(h.nodes, c), append(h.at, listen)
	return c
}

// create makes a further room and returns its epoch.
func (h *hall) create(name room.Name, more ...string) room.Epoch {
	h.t.Helper()
	out := child.Must(h.t, "admitter", h.env, append([]string{"room", "create", string(name), "--rate", "1000", "--burst", "1000", "--state", "open"}, more...)...)
	return room.Epoch(strings.TrimSpace(out[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:]))
}

// and is the same hall at the door of a further room.
func (h *hall) and(name room.Name, more ...string) *hall {
	h.t.Helper()
	other := *h
	other.room, other.epoch = name, h.create(name, more...)
	return &other
}

// operate runs a command of the admitter for the room.
func (h *hall) operate(words ...string) {
	h.t.Helper()
	child.Must(h.t, "admitter", h.env, append(words, string(h.room))...)
}

// url is the page's address, behind the balancer.
func (h *hall) url() string { return "http://" + h.front.addr() + "/rooms/" + string(h.room) }

// admit lets n people in, as admitters do, and returns when they are.
func (h *hall) admit(n int) {
	h.t.Helper()
	child.Await(h.t, setup, fmt.Sprintf("%d more are admitted", n), func() (bool, string) {
		round, err := h.round(n)
		n -= round.Admitted
		return n <= 0, fmt.Sprintf("%+v %v", round, err)
	})
}

// round is one round of an admitter, which also finds out who missed the turn.
func (h *hall) round(limit int) (room.Round, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
	defer cancel()
	return h.lines.Admit(ctx, h.room, room.Caller{Epoch: h.epoch}, limit)
}

// joined opens a page for a new visitor and waits for its position.
func (h *hall) joined() *tab {
	h.t.Helper()
	p := open(h.t, h.url())
	p.heard(setup, time.Time{}, 1, "position")
	return p
}

// number is the place number that the page was given, by the message itself.
func number(p *tab) any {
	all := p.messages(time.Time{}, "heard", "joined")
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1].field("number")
}

// config writes a file into the hall's folder and returns its path.
func (h *hall) config(name, text string) string {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return file
}
