package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// trace is what happened, in order, and what the process logged.
type trace struct {
	mu   sync.Mutex
	said []string
	log  bytes.Buffer
}

func (r *trace) say(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, what)
}

func (r *trace) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *trace) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func (r *trace) happened() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

// lived is a service that runs in this process.
type lived struct {
	*trace
	t        *testing.T
	end      context.CancelFunc // the signal
	ended    chan error
	public   string
	ops      string
	released chan struct{} // closed by release: whatever hangs goes on
	release  func()        // at the end of the test at the latest
}

var listens = regexp.MustCompile(`"listen":"([^"]+)","ops":"([^"]+)"`)

// start runs a service with a public port until its ports are open.
func start(t *testing.T, delay, stop time.Duration, open func(l *lived, ctx context.Context, s *Start) (Parts, error)) *lived {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	l := &lived{trace: &trace{}, t: t, end: end, ended: make(chan error, 1), released: make(chan struct{})}
	l.release = sync.OnceFunc(func() { close(l.released) })
	t.Cleanup(l.release)
	service := Service{OpsListen: "127.0.0.1:0", Stop: stop,
		Front: &Front{Listen: "127.0.0.1:0", Public: Public{DrainDelay: delay, Memory: Memory{Limit: "none", GCPercent: 200}}, Idle: time.Minute},
		Open:  func(ctx context.Context, s *Start) (Parts, error) { return open(l, ctx, s) }}
	env := &Env{Name: "x", Log: logger(Logging{LogLevel: "info", LogFormat: "json"}, l), Metrics: prometheus.NewRegistry()}
	go func() { l.ended <- service.Run(ctx, env) }() // ends with the service, which the test awaits
	l.until("its ports are open", func() bool {
		m := listens.FindStringSubmatch(l.String())
		if m != nil {
			l.public, l.ops = "http://"+m[1], "http://"+m[2]
		}
		return m != nil
	})
	return l
}

func (l *lived) until(what string, is func() bool) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); {
		select {
		case err := <-l.ended:
			l.t.Fatalf("it ended before %s: %v\n%s", what, err, l)
		case <-time.After(time.Millisecond): // between two looks
		}
		if time.Now().After(end) {
			l.t.Fatalf("never: %s\n%s", what, l)
		}
	}
}

// over awaits the end.
func (l *lived) over() error {
	l.t.Helper()
	select {
	case err := <-l.ended:
		return err
	case <-time.After(30 * time.Second):
		l.t.Fatalf("it still runs\n%s", l)
		return nil
	}
}

var once = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func look(url string) (int, string) {
	answer, err := once.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(b)
}

func (l *lived) part(name string) Part {
	return Part{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		l.say(name + " ended")
		return nil
	}}
}

// stuck ends with the test alone.
func (l *lived) stuck(name string) Part {
	return Part{Name: name, Run: func(context.Context) error { <-l.released; return nil }}
}

// A process that waits for its servers is alive and says what it waits for; who comes to
// its public port meanwhile is answered when it can be.
func TestServiceWaitsForItsServers(t *testing.T) {
	there := make(chan struct{})
	l := start(t, 0, 10*time.Second, func(l *lived, ctx context.Context, s *Start) (Parts, error) {
		err := s.Await("redis at h:1", func() error { <-there; return nil })
		return Parts{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })}, err
	})
	if code, body := look(l.ops + "/healthz"); code != 200 {
		t.Errorf("alive: got %d %q, want 200", code, body)
	}
	l.until("not ready because of redis", func() bool {
		code, body := look(l.ops + "/readyz")
		return code == 503 && body == "not ready: waiting for redis at h:1\n"
	})
	early := make(chan string, 1)
	go func() { _, body := look(l.public); early <- body }() // ends with its answer, read below
	l.until("the log says so", func() bool { return strings.Contains(l.String(), "not ready: waiting for redis at h:1") })
	select {
	case body := <-early:
		t.Errorf("got %q before the servers were there, want a visitor who waits", body)
		early <- body
	default:
	}
	close(there)
	if body := <-early; body != "page" {
		t.Errorf("who came early: got %q, want the page", body)
	}
	l.until("ready", func() bool { code, _ := look(l.ops + "/readyz"); return code == 200 })
	l.end()
	if err := l.over(); err != nil {
		t.Errorf("got %v, want a good end", err)
	}
}

// A signal ends the waiting for servers at once, and that is a good end.
func TestServiceEndsWhileItWaits(t *testing.T) {
	l := start(t, time.Minute, 2*time.Minute, func(l *lived, ctx context.Context, s *Start) (Parts, error) {
		s.Close("first", func() error { l.say("first closed"); return nil })
		err := s.Await("redis", func() error { <-ctx.Done(); return errors.New("redis is away: refused") })
		return Parts{}, err
	})
	l.end()
	if err := l.over(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the signal's", err)
	}
	if got := l.happened(); !slices.Equal(got, []string{"first closed"}) {
		t.Errorf("got %v, want what was open closed", got)
	}
}

// Ports in use are told, both of them, before any server is asked.
func TestServicePortsInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	s := Service{OpsListen: address, Stop: time.Second, Front: &Front{Listen: address, Public: Public{Memory: Memory{Limit: "none", GCPercent: 200}}},
		Open: func(context.Context, *Start) (Parts, error) { t.Error("a server was asked"); return Parts{}, nil }}
	err = s.Run(t.Context(), &Env{Log: logger(Logging{LogLevel: "error"}, io.Discard), Metrics: prometheus.NewRegistry()})
	for _, want := range []string{"--listen " + address, "--ops-listen " + address} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

// The stop goes in one order: not ready, the port serves on for the delay, it closes and
// visitors are sent away, the loops end, then the last ones, then the servers are closed,
// and the last line says so.
func TestServiceStops(t *testing.T) {
	const delay = 300 * time.Millisecond
	l := start(t, delay, 10*time.Second, func(l *lived, ctx context.Context, s *Start) (Parts, error) {
		s.Close("first", func() error { l.say("first closed"); return nil })
		s.Close("second", func() error {
			l.say("second closed")
			if code, _ := look(l.ops + "/metrics"); code != 200 {
				t.Errorf("the ops port at the end: got %d, want 200", code)
			}
			return nil
		})
		return Parts{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }),
			Loops:   []Part{l.part("loop")}, Last: []Part{l.part("last")},
			Drain: func(ctx context.Context) {
				if ctx.Err() != nil {
					t.Error("the drain had no time")
				}
				l.say("drained")
			},
		}, nil
	})
	l.until("ready", func() bool { code, _ := look(l.ops + "/readyz"); return code == 200 })
	began := time.Now()
	l.end()
	l.until("not ready", func() bool {
		code, body := look(l.ops + "/readyz")
		return code == 503 && body == "not ready: stopping\n"
	})
	if code, body := look(l.public); code != 200 && time.Since(began) < delay {
		t.Errorf("within the delay: got %d %q, want 200", code, body)
	}
	if err := l.over(); err != nil {
		t.Errorf("got %v, want a good end", err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("got stopped after %s, want the delay of %s", took, delay)
	}
	if got, want := l.happened(), []string{"drained", "loop ended", "last ended", "second closed", "first closed"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	lines := strings.Split(strings.TrimSpace(l.String()), "\n")
	if !strings.Contains(lines[len(lines)-1], `"msg":"stopped"`) {
		t.Errorf("got the last line %s, want that it stopped", lines[len(lines)-1])
	}
}

// Whatever hangs, the stop has one limit; what was cut short is named, and takes no time
// from what comes after it.
func TestServiceStopHasOneLimit(t *testing.T) {
	const stop = 5 * time.Second // the least that leaves the port a second
	for _, c := range []struct {
		name string
		open func(l *lived, s *Start, p *Parts)
		cut  string   // as the log names them
		then []string // what ended all the same
	}{
		{"a request", func(l *lived, s *Start, p *Parts) {
			p.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { l.say("asked"); <-l.released })
		}, `["requests in service"]`, []string{"asked", "loop ended", "last ended"}},
		{"the drain", func(l *lived, s *Start, p *Parts) { p.Drain = func(context.Context) { <-l.released } },
			`["visitors to be sent away"]`, []string{"loop ended", "last ended"}},
		{"a loop", func(l *lived, s *Start, p *Parts) { p.Loops = append(p.Loops, l.stuck("relay")) },
			`["relay"]`, []string{"loop ended", "last ended"}},
		{"the last", func(l *lived, s *Start, p *Parts) { p.Last = append(p.Last, l.stuck("farewell")) },
			`["farewell"]`, []string{"loop ended", "last ended"}},
		{"two", func(l *lived, s *Start, p *Parts) {
			p.Loops = append(p.Loops, l.stuck("relay"))
			p.Last = append(p.Last, l.stuck("farewell"))
		}, `["relay","farewell"]`, []string{"loop ended", "last ended"}},
		{"a server", func(l *lived, s *Start, p *Parts) { s.Close("redis", func() error { <-l.released; return nil }) },
			`["closing redis"]`, []string{"loop ended", "last ended"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := start(t, 0, stop, func(l *lived, ctx context.Context, s *Start) (Parts, error) {
				p := Parts{Handler: http.NotFoundHandler(), Loops: []Part{l.part("loop")}, Last: []Part{l.part("last")}}
				c.open(l, s, &p)
				return p, nil
			})
			l.until("ready", func() bool { code, _ := look(l.ops + "/readyz"); return code == 200 })
			asked := make(chan struct{})
			go func() { defer close(asked); look(l.public) }() // ends with its connection
			if c.then[0] == "asked" {
				l.until("a request is in service", func() bool { return slices.Contains(l.happened(), "asked") })
			}
			began := time.Now()
			l.end()
			err := l.over()
			if took := time.Since(began); took > stop+500*time.Millisecond {
				t.Errorf("got stopped after %s, want within %s", took, stop)
			}
			if err == nil || !strings.Contains(err.Error(), "the stop was cut short after 5s") || !strings.Contains(l.String(), `"parts":`+c.cut) {
				t.Errorf("got %v, want an error, and %s in\n%s", err, c.cut, l)
			}
			if got := l.happened(); !slices.Equal(got, c.then) {
				t.Errorf("got %v, want %v", got, c.then)
			}
			select {
			case <-asked:
			case <-time.After(5 * time.Second): // half of a visitor's patience here
				t.Error("whoever waited for an answer waits on")
			}
			l.release()
			<-asked
		})
	}
}

// A part that fails ends the process with its error and makes nobody wait.
func TestServiceFails(t *testing.T) {
	fail := make(chan struct{})
	l := start(t, time.Minute, 2*time.Minute, func(l *lived, ctx context.Context, s *Start) (Parts, error) {
		return Parts{Handler: http.NotFoundHandler(), Loops: []Part{l.part("loop"), {Name: "relay", Run: func(context.Context) error {
			<-fail
			return errors.New("no way on")
		}}}}, nil
	})
	l.until("ready", func() bool { code, _ := look(l.ops + "/readyz"); return code == 200 })
	close(fail)
	if err := l.over(); err == nil || err.Error() != "no way on" {
		t.Errorf("got %v, want the part's error", err)
	}
	if got := l.happened(); !slices.Equal(got, []string{"loop ended"}) {
		t.Errorf("got %v, want the other one ended", got)
	}
}
