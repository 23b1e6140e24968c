package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"waitroom/internal/hostport"
)

// CheckListen says what is wrong with the value of a flag that names an address to
// listen on.
func CheckListen(flag, addr string) error {
	if err := hostport.Listen(addr); err != nil {
		return fmt.Errorf("--%s %q: %w", flag, addr, err)
	}
	return nil
}

// Listen opens a TCP listener, so that a taken port is reported with its flag
// before anything starts.
func Listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flag, addr, err)
	}
	return l, nil
}

// opsIdle is how long a scraper may come back on its connection: it asks every 15
// to 60 s.
const opsIdle = 75 * time.Second

// Serve answers on the listener of an ops port until ctx ends, then shuts down
// within grace. It has opsSockets at most, bounded as the public ones are, so that
// it answers whatever happens beside it.
func Serve(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration) error {
	s := NewSockets(opsSockets, opsIdle, zap.NewNop(), prometheus.NewRegistry())
	s.said = nil // there is no log here, and a panic must not go unheard
	return s.Serve(ctx, l, h, grace)
}

// errInService says that requests were still in service at the limit of a shutdown.
var errInService = errors.New("requests are still in service")

// Serve answers on l until ctx ends, then shuts down within grace. Timeouts are
// those of short requests and small answers; hijacked connections are the
// handler's own to end.
func (s *Sockets) Serve(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration) error {
	limit, reached := context.WithCancel(context.WithoutCancel(ctx))
	defer reached()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, reached) })()
	err := s.serve(ctx, limit, l, h)
	if errors.Is(err, errInService) {
		return fmt.Errorf("%w after %s", err, grace)
	}
	return err
}

// serve is Serve with a limit that is a context: when it ends, requests in service are
// cut, so that whoever waits for them may go on.
func (s *Sockets) serve(ctx, limit context.Context, l net.Listener, h http.Handler) error {
	// HTTP/1.1 alone: the streams of an HTTP/2 connection share its socket, so none
	// of them could be said to wait.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	srv := &http.Server{
		Handler:           s.handler(h),
		Protocols:         &protocols,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       s.idle,
		MaxHeaderBytes:    16 << 10,
		ConnState:         s.changed,
		ConnContext:       s.named,
		ErrorLog:          s.said,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- srv.Shutdown(limit) })
	err := srv.Serve(bounded{l, s})
	if !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	if err := <-stopped; err != nil {
		_ = srv.Close() // which they hear
		return errInService
	}
	return nil
}

// Ready is a readiness that starts at false. Who owns it sets it from one goroutine.
type Ready struct {
	v   atomic.Bool
	why atomic.Pointer[string] // nil: nobody said
}

// Set changes the readiness.
func (r *Ready) Set(ready bool) { r.v.Store(ready) }

// Wait says that the process is not ready, and why.
func (r *Ready) Wait(why string) {
	r.why.Store(&why)
	r.v.Store(false)
}

// Is reports the readiness.
func (r *Ready) Is() bool { return r.v.Load() }

// answer is what /readyz says of a process that is not ready.
func (r *Ready) answer() string {
	if why := r.why.Load(); why != nil {
		return "not ready: " + *why
	}
	return "not ready"
}

// Ops answers /metrics, /healthz (alive: always 200), /readyz (200 or 503) and
// /debug/pprof/. It belongs on a port of its own that the public never reaches: a
// profile costs a core for as long as it is asked for, and shows what is in memory.
func Ops(reg *prometheus.Registry, ready *Ready) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Is() {
			http.Error(w, ready.answer(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	// By hand: the package's own registration is on the default mux, which nothing
	// here serves. A profile may take longer than an answer may: pprof extends the
	// write's deadline by the seconds it was asked for. Without cmdline: a command
	// line may hold the password of a server's URL.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // heap, goroutine, block, …
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // as go tool pprof asks
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
