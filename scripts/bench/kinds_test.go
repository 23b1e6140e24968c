package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"waitroom/internal/wire"
)

// pipes is a listener without a network: connect makes a connection of it.
type pipes struct {
	waiting chan net.Conn
	closed  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.waiting:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) connect(ctx context.Context, _ *attacker, _ bool) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.waiting <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// victim is a server that lets everybody do everything, except that a place of an
// older line is refused and a handshake has some 5 s, as on a node: no whole number, so
// that nothing else is due at the same moment.
func victim(p *pipes) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/rooms/sale", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") })
	mux.HandleFunc("/rooms/sale/ws", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(-1)
		for {
			_, text, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			switch {
			case strings.Contains(string(text), "old"):
				_ = ws.Close(4502, "")
				return
			case strings.Contains(string(text), `"join"`):
				if ws.Write(context.Background(), websocket.MessageText, wire.Encode(wire.JoinedMessage{Type: wire.Joined, Place: "mine"})) != nil {
					return
				}
			}
		}
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: 4900 * time.Millisecond, MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0)}
}

// Each kind offers the load that its row names, comes back when it is cut, and ends
// when it is told to. Two attackers for ten and a half seconds: the half is for who
// was cut after five, and for their coming one after another.
func TestKinds(t *testing.T) {
	wants := map[string]struct {
		acts, opened, open int64
		end                string // how the connections ended; "": none did
		ends               int64
	}{
		"half":      {4, 4, 2, "answered HTTP 400", 2},
		"drip":      {16, 4, 2, "answered HTTP 400", 2},
		"silent":    {0, 4, 2, "closed without a word", 2},
		"headers":   {4, 4, 2, "left by themselves", 2},
		"page":      {22, 22, 0, "left by themselves", 22},
		"resets":    {22, 22, 0, "left by themselves", 22},
		"crumbs":    {20, 2, 2, "", 0},
		"pings":     {2080, 2, 2, "", 0},
		"fragments": {2082, 2, 2, "", 0},
		"empty":     {2082, 2, 2, "", 0},
		"deaf":      {2, 2, 2, "", 0}, // the pipe holds nothing, so the server stands still at once
		"churn":     {82, 2, 2, "", 0},
		"stale":     {22, 22, 0, "closed with 4502", 22},
		"claims":    {82, 2, 2, "", 0},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			want, ok := wants[k.name]
			if !ok {
				t.Fatal("no row in this table")
			}
			synctest.Test(t, func(t *testing.T) {
				p := &pipes{make(chan net.Conn), make(chan struct{})}
				server := victim(p)
				served := make(chan struct{})
				go func() { defer close(served); _ = server.Serve(p) }()
				r, err := newRaid(order{Kind: k.name, Address: "victim", Room: "sale", Count: 2, Places: []string{"old"}})
				if err != nil {
					t.Fatal(err)
				}
				r.connect = p.connect
				ctx, cancel := context.WithCancel(t.Context())
				over := make(chan struct{})
				go func() { defer close(over); r.run(ctx) }()
				time.Sleep(10*time.Second + 450*time.Millisecond) // of the bubble: nobody waits
				synctest.Wait()
				got := r.toll(10 * time.Second)
				cancel()
				<-over
				_ = server.Close()
				<-served
				if got.Acts != want.acts || got.Opened != want.opened || got.Open != want.open {
					t.Errorf("got %d acts, %d opened, %d open; want %d, %d, %d", got.Acts, got.Opened, got.Open, want.acts, want.opened, want.open)
				}
				if got.Ends[want.end] != want.ends || len(got.Ends) > 1 || (want.end == "" && len(got.Ends) > 0) {
					t.Errorf("ends: got %v, want %d %s", got.Ends, want.ends, want.end)
				}
				if left := r.open.Load(); left != 0 {
					t.Errorf("%d connections outlived the raid", left)
				}
			})
		})
	}
	if len(wants) != len(kinds) {
		t.Errorf("%d rows for %d kinds", len(wants), len(kinds))
	}
}
