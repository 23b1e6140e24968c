package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/process"
	"waitroom/internal/wire"
)

// mostBare is how many connections the bare server holds at most: those of a run.
const mostBare = 10_000

// playBare is the floor of a join: it accepts and upgrades by the library that the
// node uses, behind the same HTTP server, keeps the connection, and does nothing.
func playBare(ctx context.Context) error {
	l, err := process.Listen("listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var kept []*websocket.Conn // a connection that nobody keeps is collected and closed
	upgrade := func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol},
			InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
		if err != nil {
			return // the library has answered
		}
		mu.Lock()
		kept = append(kept, ws)
		mu.Unlock()
	}
	sockets, err := process.Public{}.Sockets(&process.Env{Log: zap.NewNop(), Metrics: prometheus.NewRegistry()},
		process.Need{Flag: "the floor of joins", Upgraded: mostBare}, idle)
	if err != nil {
		return err
	}
	// It ends with the process, which ends with its input.
	go sockets.Serve(ctx, l, http.HandlerFunc(upgrade), time.Second)
	if err := say(l.Addr().String()); err != nil {
		return err
	}
	return answer(map[string]func(string) (any, error){
		"usage": func(string) (any, error) { return usage(nil) },
	})
}
