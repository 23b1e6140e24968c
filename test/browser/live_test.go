package browser_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/booking/bookingtest"
	"waitroom/internal/room"
	"waitroom/internal/seat"
	"waitroom/internal/seatmap"
	"waitroom/internal/shop"
	"waitroom/web"
)

// The live map in Chromium: two pages on a real shop, one of them behind a proxy that
// cuts every answer after two seconds, a booker that is started anew, and a hall of
// 20,000 seats that changes by 500.
func TestLiveMap(t *testing.T) {
	needBrowser(t)
	b := bookingtest.New(t, bookingtest.SQLite(t), 200, nil)
	hall := addHall(t, b)
	one := &restarting{t: t, shop: b, address: "127.0.0.1:0"}
	one.start()
	t.Cleanup(one.stop)

	base, _ := url.Parse("http://" + one.address)
	cutting := httputil.NewSingleHostReverseProxy(base)
	cutting.FlushInterval = -1
	cutting.ErrorLog = zap.NewStdLog(zap.NewNop())
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		defer func() {
			if recover() != nil { // the answer was cut
				panic(http.ErrAbortHandler)
			}
		}()
		cutting.ServeHTTP(w, r.WithContext(ctx))
	}))
	cut.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	t.Cleanup(cut.Close)

	control := http.NewServeMux()
	control.HandleFunc("/restart", func(http.ResponseWriter, *http.Request) { one.stop(); one.start() })
	control.HandleFunc("/many", func(w http.ResponseWriter, _ *http.Request) {
		err := b.DB.Tx(t.Context(), func(tx *sqlx.Tx) error {
			var changes []seat.Seat
			for i := range 500 {
				changes = append(changes, seat.Seat{ID: hall[i*37], State: seat.Booked})
				if _, err := tx.Exec("UPDATE seats SET state = 'booked' WHERE room = 'hall' AND id = ?", hall[i*37]); err != nil {
					return err
				}
			}
			return seatmap.Log(t.Context(), tx, "hall", b.Now(), changes)
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	commands := httptest.NewServer(control)
	t.Cleanup(commands.Close)

	var passes []string
	for _, name := range []room.Name{"gig", "gig", "gig", "hall"} {
		p := bookingtest.Pass()
		p.Room = name
		passes = append(passes, p.Admission.String())
	}
	node(t, 3*time.Minute, append([]string{"live.mjs", base.String(), cut.URL, commands.URL}, passes...)...)
}

// addHall makes a room "hall" of 20,000 seats.
func addHall(t *testing.T, b *bookingtest.Shop) []seat.ID {
	t.Helper()
	ids, err := seat.Generate(20_000, 100)
	if err == nil {
		_, err = b.Store.AddSeats(t.Context(), "hall", ids)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// restarting is a booker's edge that can be stopped and started on one address.
type restarting struct {
	t       *testing.T
	shop    *bookingtest.Shop
	address string

	mu   sync.Mutex
	stop func()
}

func (r *restarting) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Errorf("listen: %v", err)
		return
	}
	r.address = listener.Addr().String()
	maps := seatmap.New(seatmap.Config{MaxStreams: 100}, seatmap.Parts{DB: r.shop.DB, Load: r.shop.Store.Seats, Now: r.shop.Ending,
		Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	edge := shop.New(shop.Config{MaxSeats: 6, MaxCalls: 64}, shop.Parts{Desk: r.shop.Booker, Passes: bookingtest.Unsigned{}, Maps: maps,
		Grace: bookingtest.Config.Grace, Page: web.Handler(web.Options{Page: web.Seats}), Log: zap.NewNop(), Metrics: prometheus.NewRegistry()})
	server := &http.Server{Handler: edge.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	ctx, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { maps.Run(ctx) })              // ends with stop
	all.Go(func() { _ = server.Serve(listener) }) // the same
	r.stop = sync.OnceFunc(func() {
		maps.Drain()
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(limit); err != nil {
			r.t.Errorf("stop: got %v, want streams that end with the drain", err)
		}
		end()
		all.Wait()
	})
}
