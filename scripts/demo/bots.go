package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/bot"
	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
)

const (
	// arrival is how long the first crowd takes to arrive: soon enough that a
	// page opened at the start waits behind most of it.
	arrival = 5 * time.Second
	// pause is how long a place in the crowd stays empty at most, once its
	// visitor has ended.
	pause = 5 * time.Second
	// reportEvery is the time between two lines about the sale.
	reportEvery = 15 * time.Second
)

// plan is a crowd in which everything happens that the line is made for.
var plan = bot.Plan{
	Leave: 0.10, LeaveIn: 2 * time.Minute,
	Drop: 0.30, DropIn: time.Minute, Away: 5 * time.Second,
	MissClaim: 0.04, LeaveShop: 0.08, Vanish: 0.03, Change: 0.10,
	MaxSeats: 4, Think: 8 * time.Second,
}

// bots is a crowd of a fixed size: whoever ends is replaced by somebody new,
// until the seats are sold.
type bots struct {
	// set once
	count int
	node  string
	room  room.Name
	lines *line.Lines
	env   *process.Env

	mu    sync.Mutex
	ends  map[bot.End]int // guarded by mu, as is seats
	seats int
}

func newBots(count int, node string, name room.Name, lines *line.Lines, env *process.Env) *bots {
	return &bots{count: count, node: node, room: name, lines: lines, env: env, ends: map[bot.End]int{}}
}

// run returns when ctx ends and the last bot has.
func (b *bots) run(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var crowd sync.WaitGroup
	for range b.count {
		seed := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
		crowd.Go(func() { // ends with ctx or the sale; waited for below
			wait := arrival
			for b.visit(ctx, client, seed, wait) {
				wait = pause
			}
		})
	}
	b.report(ctx)
	crowd.Wait()
	return nil
}

// visit is one bot after the next; false: no more of them.
func (b *bots) visit(ctx context.Context, client *http.Client, r *rand.Rand, within time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(r.Float64() * float64(within))):
	}
	out := bot.Run(ctx, bot.Config{Nodes: []string{b.node}, Room: b.room, Plan: plan, Rand: r, HTTP: client})
	b.mu.Lock()
	b.ends[out.End]++
	b.seats += len(out.Seats)
	b.mu.Unlock()
	if out.End == bot.Failed {
		b.env.Log.Warn("a bot failed", zap.Error(out.Err))
	}
	for _, stay := range out.Stays {
		if stay.Rises > 0 || stay.Moves > 0 {
			b.env.Log.Error("a bot was told something impossible of its place", zap.Int("rises", stay.Rises), zap.Int("moves", stay.Moves))
		}
	}
	return out.End != bot.SoldOut && out.End != bot.Closed && ctx.Err() == nil
}

// report prints where the sale stands, until ctx ends.
func (b *bots) report(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	before := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limit, cancel := context.WithTimeout(ctx, time.Second)
		status, err := b.lines.Status(limit, b.room)
		cancel()
		if err != nil {
			continue // the roles say what is wrong with the line
		}
		b.mu.Lock()
		text := fmt.Sprintf("%d waiting, %d inside; bots: %d bought %d seats, %d left, %d missed their turn",
			status.Waiting, status.Unclaimed+status.Active, b.ends[bot.Booked], b.seats, b.ends[bot.Left], b.ends[bot.Missed])
		b.mu.Unlock()
		if status.Conf.SoldOut {
			text += "; sold out"
		}
		if text != before {
			fmt.Fprintln(b.env.Out, time.Now().Format(time.TimeOnly), text)
			before = text
		}
	}
}
