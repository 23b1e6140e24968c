package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// firstSource is the last byte of the first source address of clients: each of
// their processes has one of its own, with its own 28,000 ports.
const firstSource = 2

// perProcess is how many connections one process of clients holds at most, below
// the usual limit of 20,000 open files.
const perProcess = 5000

// stand is a node with its visitors, each in processes of their own.
type stand struct {
	node    *proc
	address string
	clients []*proc
}

// newStand starts a node that tells everybody each second, with more flags.
func newStand(ctx context.Context, b *bench, flags ...string) (*stand, error) {
	return standOf(ctx, "node", append([]string{b.redis, "--shop-url=/shop", "--cadence=exact"}, flags...)...)
}

// roomFor is room for n connections, and for those who come and go beside them.
func roomFor(n int) string { return fmt.Sprintf("--max-connections=%d", n+1_000) }

// standOf starts a server in a role of this program.
func standOf(ctx context.Context, role string, args ...string) (*stand, error) {
	node, err := spawn(ctx, role, args...)
	if err != nil {
		return nil, err
	}
	s := &stand{node: node}
	if err := node.hear(&s.address); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// fill connects n visitors, perSecond of them a second (0: as fast as it goes), and
// returns once all have joined.
func (s *stand) fill(ctx context.Context, g *ground, n, perSecond int) (Crowded, error) {
	return s.crowd(ctx, string(g.name), n, perSecond, toJoin)
}

func (s *stand) crowd(ctx context.Context, name string, n, perSecond int, what string) (Crowded, error) {
	var all errgroup.Group
	parts := make([]Crowded, (n+perProcess-1)/perProcess)
	for i := range parts {
		// Even parts, so that all arrive until the end.
		count := n*(i+1)/len(parts) - n*i/len(parts)
		p, err := spawn(ctx, "clients", s.address, name, strconv.Itoa(count), strconv.Itoa(firstSource+len(s.clients)),
			strconv.Itoa(perSecond/len(parts)), what)
		if err != nil {
			return Crowded{}, err
		}
		s.clients = append(s.clients, p)
		all.Go(func() error { return p.hear(&parts[i]) })
	}
	if err := all.Wait(); err != nil {
		return Crowded{}, err
	}
	sum := Crowded{BeganUS: math.MaxInt64}
	for _, c := range parts {
		sum.BeganUS, sum.JoinedUS = min(sum.BeganUS, c.BeganUS), max(sum.JoinedUS, c.JoinedUS)
		sum.Joined, sum.CPUUS = sum.Joined+c.Joined, sum.CPUUS+c.CPUUS
	}
	return sum, nil
}

// perSecond is how many joined in a second.
func (c Crowded) perSecond() float64 {
	return float64(c.Joined) / (float64(c.JoinedUS-c.BeganUS) / 1e6)
}

// Stretch is what a node did, and its visitors heard, for some time.
type Stretch struct {
	Usage // within it
	Heard
	Began Usage   // when it began
	Peak  float64 // of RSS, within it, in bytes
	Idle  float64 // percent of all processors that nobody used
}

// listen hears the visitors and looks at the node for d, while all goes on as it is.
func (s *stand) listen(ctx context.Context, d time.Duration) (st Stretch, err error) {
	var ok bool
	for _, c := range s.clients {
		if err := c.ask("listen", &ok); err != nil {
			return st, err
		}
	}
	if st.Began, err = s.usage("usage"); err != nil {
		return st, err
	}
	used, all, err := busy()
	if err != nil {
		return st, err
	}
	pid := strconv.Itoa(s.node.cmd.Process.Pid)
	for end := time.Now().Add(d); time.Now().Before(end); {
		rss, err := resident(pid)
		if err != nil {
			return st, err
		}
		st.Peak = max(st.Peak, rss)
		if err := pause(ctx, 250*time.Millisecond); err != nil { // costs the node nothing
			return st, err
		}
	}
	after, err := s.usage("usage")
	if err != nil {
		return st, err
	}
	usedNow, allNow, err := busy()
	if err != nil {
		return st, err
	}
	st.Idle = 100 * (1 - (usedNow-used)/(allNow-all))
	st.Usage = after.since(st.Began)
	parts := make([]Heard, len(s.clients))
	for i, c := range s.clients {
		if err := c.ask("heard", &parts[i]); err != nil {
			return st, err
		}
	}
	st.Heard = together(parts)
	return st, nil
}

func (s *stand) usage(question string) (u Usage, err error) {
	err = s.node.ask(question, &u)
	return u, err
}

func (s *stand) end() {
	for _, c := range s.clients {
		c.end()
	}
	s.node.end()
}

// with runs do for a fresh node in front of a fresh room.
func with(ctx context.Context, b *bench, do func(*ground, *stand) error, flags ...string) error {
	g, err := open(ctx, b, nil)
	if err != nil {
		return err
	}
	defer g.close()
	s, err := newStand(ctx, b, flags...)
	if err != nil {
		return err
	}
	defer s.end()
	return do(g, s)
}

// measureAllocations: what a position frame allocates in a whole node, out of two
// stretches with the same ticks and different numbers of frames: one in which
// every position changes at each tick, and one in which only beats go out. The
// difference is the frames' alone.
func measureAllocations(ctx context.Context, b *bench) error {
	n := b.scale(10_000)
	f := Figure{Name: "allocations per position sent", Aim: "0", Unit: "", Met: atMost(0.01),
		Note: fmt.Sprintf("whole node, %s visitors over WebSocket; the ticks' own allocations taken off; met below one in a hundred frames", number(float64(n)))}
	cpu := Figure{Name: "processor time per position frame in the paced sweep", Aim: "report", Unit: "µs", Note: "user and system, from the same stretches"}
	err := with(ctx, b, func(g *ground, s *stand) error {
		// Before the sockets, so that admitting these moves every socket's position.
		if err := g.join(ctx, crowd(1000), joinBatch); err != nil {
			return err
		}
		if _, err := s.fill(ctx, g, n, 0); err != nil {
			return err
		}
		const seconds = 10
		stretch := func(moving bool) (u Usage, err error) {
			before, err := s.usage("usage")
			if err != nil {
				return u, err
			}
			for range seconds {
				if moving {
					if _, err := g.lines.Admit(ctx, g.name, g.caller(), 1); err != nil {
						return u, err
					}
				}
				if err := pause(ctx, time.Second); err != nil {
					return u, err
				}
			}
			after, err := s.usage("usage")
			return Usage{Mallocs: after.Mallocs - before.Mallocs, CPUUS: after.CPUUS - before.CPUUS, Sent: after.Sent - before.Sent}, err
		}
		if _, err := stretch(true); err != nil { // pools and maps reach their size
			return err
		}
		for range min(3, b.runs()) {
			moving, err := stretch(true)
			if err != nil {
				return err
			}
			still, err := stretch(false)
			if err != nil {
				return err
			}
			frames := moving.Sent - still.Sent
			if frames < float64(n) {
				return fmt.Errorf("%.0f frames while positions moved, %.0f while they did not", moving.Sent, still.Sent)
			}
			f.Runs = append(f.Runs, max(0, (moving.Mallocs-still.Mallocs)/frames))
			cpu.Runs = append(cpu.Runs, (moving.CPUUS-still.CPUUS)/frames)
		}
		return nil
	})
	if err == nil {
		b.report(f)
		b.report(cpu)
	}
	return err
}

// measureFrames: position frames per second through our connections against bare
// write(2) of the same bytes to the same sockets, one sender per core.
func measureFrames(ctx context.Context, b *bench) error {
	n := b.scale(10_000)
	f := Figure{Name: "position frames per second, unpaced", Aim: "≥ 0.7 of bare write(2)", Unit: "/s",
		Met:  func(m, floor float64) bool { return m >= 0.7*floor },
		Note: fmt.Sprintf("%s sockets, one sender per core, 10 sweeps a run; floor: write(2) of the same frames to the same sockets", number(float64(n)))}
	err := with(ctx, b, func(g *ground, s *stand) error {
		if _, err := s.fill(ctx, g, n, 0); err != nil {
			return err
		}
		for range b.runs() {
			var r Rates
			if err := s.node.ask("frames", &r); err != nil {
				return err
			}
			f.Runs, f.Floor = append(f.Runs, r.Frames), append(f.Floor, r.Bare)
		}
		return nil
	}, "--keep-sinks")
	if err == nil {
		b.report(f)
	}
	return err
}
