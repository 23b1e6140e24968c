package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"waitroom/internal/conversation"
	"waitroom/internal/gateway"
	"waitroom/internal/hub"
	"waitroom/internal/line"
	"waitroom/internal/node"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// sinks passes every connection on to the crowds and keeps it, so that the bench
// can send to it without the pace of the sweep.
type sinks struct {
	*hub.Hub
	mu  sync.Mutex
	all []hub.Sink
}

func (s *sinks) Join(ctx context.Context, name room.Name, sink hub.Sink) (*hub.Session, error) {
	s.mu.Lock()
	s.all = append(s.all, sink)
	s.mu.Unlock()
	return s.Hub.Join(ctx, name, sink)
}

// Rates are frames per second.
type Rates struct{ Frames, Bare float64 }

// nodeFlags are those of the command, read by the same tags and with the same
// defaults, and one of the bench. Whatever a row wants other than production has it
// says by a flag. Loopback has no limits per address unless a flag asks for them.
type nodeFlags struct {
	KeepSinks bool           // for the row that sends by itself; kept ones are never freed
	Public    process.Public `embed:""`
	Edge      gateway.Config `embed:""`
	Hub       hub.Config     `embed:""`
}

// idle is cmd/waitroom's: how long a visitor's socket waits for a further request.
const idle = 15 * time.Second

// playNode: URL of Redis, flags. It is cmd/waitroom's wiring, served in the same way.
func playNode(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want a Redis URL, and flags")
	}
	var flags nodeFlags
	parser, err := kong.New(&flags)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args[1:]); err != nil {
		return err
	}
	key, err := token.NewKey()
	if err != nil {
		return err
	}
	keys, err := token.NewKeyring(key)
	if err != nil {
		return err
	}
	rdb, err := line.Dial(args[0])
	if err != nil {
		return err
	}
	defer rdb.Close()
	env := &process.Env{Name: "bench", Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Out: os.Stderr}
	flags.Public.Memory.Set(env.Log)
	sockets, err := flags.Public.Sockets(env, process.Need{
		Flag: fmt.Sprintf("--max-connections %d", flags.Edge.MaxConnections), Upgraded: flags.Edge.MaxConnections}, idle)
	if err != nil {
		return err
	}
	kept := &sinks{}
	o := node.Options{Line: line.New(rdb), Keys: keys, Edge: flags.Edge, Hub: flags.Hub, Log: env.Log, Metrics: env.Metrics}
	if flags.KeepSinks {
		o.Around = func(h *hub.Hub) conversation.Hub { kept.Hub = h; return kept }
	}
	n, err := node.New(o)
	if err != nil {
		return err
	}
	l, err := process.Listen("listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// Everything below ends with the process, which ends with its input.
	go n.Run(ctx)
	go sockets.Serve(ctx, l, n.Handler(), time.Second)
	select {
	case <-n.Contact():
	case <-time.After(10 * time.Second):
		return errors.New("the line does not answer")
	}
	if err := say(l.Addr().String()); err != nil {
		return err
	}
	return answer(map[string]func(string) (any, error){
		"usage": func(string) (any, error) { return usage(env.Metrics) },
		"settle": func(string) (any, error) {
			debug.FreeOSMemory()
			time.Sleep(100 * time.Millisecond) // the kernel takes the pages back
			debug.FreeOSMemory()
			return usage(env.Metrics)
		},
		"frames": func(string) (any, error) { return kept.frames() },
		"places": func(name string) (any, error) { return oldPlaces(keys, room.Name(name)) },
	})
}

// stale is how many places of an older line attackers are given: each is another
// visitor, so no node can answer one out of what it knows of another.
const stale = 500

// oldPlaces are good places of a line that this room had before.
func oldPlaces(keys *token.Keyring, name room.Name) (list []string, err error) {
	epoch := room.NewEpoch()
	for i := range stale {
		place, err := keys.Place(name, epoch, room.Place{Visitor: room.NewVisitorID(), Number: room.Number(i + 1)})
		if err != nil {
			return nil, err
		}
		list = append(list, place)
	}
	return list, nil
}

// frames sends position frames to every connection as fast as it goes, one
// sender per core, through the sinks; then the same bytes by bare write(2) to the
// same sockets. Both run for some sweeps and count what was taken.
func (s *sinks) frames() (r Rates, err error) {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	fds, err := sockets()
	if err != nil {
		return r, err
	}
	if len(fds) < len(all) {
		return r, fmt.Errorf("%d sockets for %d sinks", len(fds), len(all))
	}
	const sweeps = 10
	// In turn, so that both meet the same machine.
	var took, sent [2]float64
	var torn atomic.Bool
	for range sweeps {
		for i, one := range []func(k, of int) int{
			func(k, of int) (n int) {
				buf := make([]byte, 0, 160)
				for j := k; j < len(all); j += of {
					buf = wire.AppendPosition(buf[:0], room.Position(100_000+j), 1_000_000, 600, 900)
					if all[j].TrySend(buf) {
						n++
					}
				}
				return n
			},
			func(k, of int) (n int) {
				buf := make([]byte, 0, 160)
				for j := k; j < len(fds); j += of {
					buf = wire.AppendPosition(append(buf[:0], 0x81, 0), room.Position(100_000+j), 1_000_000, 600, 900)
					buf[1] = byte(len(buf) - 2) // below 126
					m, err := syscall.Write(fds[j], buf)
					if err == nil && m == len(buf) {
						n++
					} else if m > 0 {
						torn.Store(true)
					}
				}
				return n
			},
		} {
			start := time.Now()
			counts := make([]int, runtime.GOMAXPROCS(0))
			var wait sync.WaitGroup
			for k := range counts {
				wait.Go(func() { counts[k] = one(k, len(counts)) })
			}
			wait.Wait()
			took[i] += time.Since(start).Seconds()
			for _, n := range counts {
				sent[i] += float64(n)
			}
			time.Sleep(300 * time.Millisecond) // the clients read it all
		}
	}
	if torn.Load() {
		return r, errors.New("a bare write tore a frame: the clients do not read fast enough")
	}
	return Rates{sent[0] / took[0], sent[1] / took[1]}, nil
}

// sockets are the descriptors of this process that are visitors' connections:
// TCP, with our own port on this side.
func sockets() (fds []int, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		peer, err := syscall.Getpeername(fd)
		if err != nil {
			continue
		}
		// Visitors come from 127.0.0.2 and up; Redis answers on 127.0.0.1.
		if a, ok := peer.(*syscall.SockaddrInet4); ok && a.Addr[3] >= firstSource {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}
