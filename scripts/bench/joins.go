package main

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// measureSockets: visitors per second who connect, upgrade, join and hear joined, as
// fast as it goes, and the node's processor time for each. The floor of the latter is
// the same crowd at a server that accepts and upgrades by the same library, and does
// nothing more.
func measureSockets(ctx context.Context, b *bench) error {
	n := b.scale(mostBare)
	cost := Figure{Name: "node processor time per join over sockets", Aim: "≤ 100 µs", Unit: "µs", Met: atMost(100)}
	f := Figure{Name: "end-to-end joins over sockets", Aim: "≥ 10,000/s", Unit: "/s", Met: atLeast(10_000)}
	var shares []string
	var frames []float64
	for range b.runs() {
		err := with(ctx, b, func(g *ground, s *stand) error {
			before, err := s.usage("usage")
			if err != nil {
				return err
			}
			m, err := look(ctx, g)
			if err != nil {
				return err
			}
			c, err := s.fill(ctx, g, n, 0)
			if err != nil {
				return err
			}
			m2, err := look(ctx, g)
			if err != nil {
				return err
			}
			after, err := s.usage("usage")
			if err != nil {
				return err
			}
			used := after.since(before)
			f.Runs, cost.Runs = append(f.Runs, c.perSecond()), append(cost.Runs, used.CPUUS/float64(n))
			frames = append(frames, used.Sent/float64(n))
			shares = append(shares, m2.shares(m, used.CPUUS, c.CPUUS))
			return nil
		})
		if err != nil {
			return err
		}
		floor, err := bareUpgrades(ctx, n)
		if err != nil {
			return err
		}
		cost.Floor = append(cost.Floor, floor)
	}
	cost.Note = fmt.Sprintf("user and system of the node's process, with %s position frames of each visitor; floor: accept and upgrade by the same library, nothing more", number(median(frames)))
	f.Note = fmt.Sprintf("TCP, upgrade, join, signed place; %s visitors from %d processes, %d at a time in each, on the same cores as node and Redis; shares of all processors (node, clients, Redis, others, idle) in %%: %s",
		count(int64(n)), (n+perProcess-1)/perProcess, dialers, strings.Join(shares, "; "))
	b.report(cost)
	b.report(f)
	return nil
}

// bareUpgrades is the processor time of a bare server per connection, in µs.
func bareUpgrades(ctx context.Context, n int) (float64, error) {
	s, err := standOf(ctx, "bare")
	if err != nil {
		return 0, err
	}
	defer s.end()
	before, err := s.usage("usage")
	if err != nil {
		return 0, err
	}
	if _, err := s.crowd(ctx, "bare", n, 0, toUpgrade); err != nil {
		return 0, err
	}
	after, err := s.usage("usage")
	return after.since(before).CPUUS / float64(n), err
}

// machineUse is what the machine and its Redis have used so far.
type machineUse struct {
	used, all float64 // ticks
	redis     float64 // seconds
}

func look(ctx context.Context, g *ground) (m machineUse, err error) {
	if m.used, m.all, err = busy(); err != nil {
		return m, err
	}
	m.redis = math.NaN() // the Redis of the demo does not say
	if info, err := g.rdb.Info(ctx, "cpu").Result(); err == nil {
		m.redis = infoNumber(info, "used_cpu_user") + infoNumber(info, "used_cpu_sys")
	}
	return m, nil
}

// shares says who had the processors since before, in percent of all of them.
func (m machineUse) shares(before machineUse, nodeUS, clientsUS float64) string {
	const ticks = 100 // a second, on every Linux that Go runs on
	all := (m.all - before.all) / ticks
	node, clients, redis := nodeUS/1e6, clientsUS/1e6, m.redis-before.redis
	busy := (m.used - before.used) / ticks
	share := func(seconds float64) string { return fmt.Sprintf("%.0f", 100*max(0, seconds)/all) }
	return strings.Join([]string{share(node), share(clients), share(redis), share(busy - node - clients - redis), share(all - busy)}, "/")
}
