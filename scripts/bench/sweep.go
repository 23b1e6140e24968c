package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/directory"
	"waitroom/internal/hub"
	"waitroom/internal/line"
	"waitroom/internal/rank"
	"waitroom/internal/room"
	"waitroom/internal/token"
	"waitroom/internal/wire"
)

// counter is a hook that counts every command a client sends, those of a
// pipeline and of a MULTI one by one.
type counter struct{ n atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n.Add(1); return next(ctx, cmd) }
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// mute is a sink that takes everything and keeps nothing.
type mute struct{}

func (mute) TrySend([]byte) bool { return true }
func (mute) Send(...[]byte)      {}
func (mute) Close(wire.Code)     {}

// measureCommands: Redis commands that a node sends in a second (a position tick
// and ten turn ticks), with few and with many local visitors, while the room
// admits. Counted in the client, so other clients of the same Redis do not
// matter.
func measureCommands(ctx context.Context, b *bench) error {
	few, many := 100, b.scale(10_000)
	// Counts shrink by admissions: 20/s for the time of the measurement.
	var perSecond [2][]float64
	for i, n := range []int{few, many} {
		runs, err := commandsOf(ctx, b, n)
		if err != nil {
			return err
		}
		perSecond[i] = runs
	}
	f := Figure{Name: fmt.Sprintf("Redis commands per second of a node with %s local visitors", number(float64(many))),
		Aim: fmt.Sprintf("the same as with %d", few), Unit: "/s", Runs: perSecond[1], Floor: perSecond[0],
		Met:  func(many, few float64) bool { return many <= 1.05*few }, // a tick more or less fits into the time
		Note: fmt.Sprintf("one room, position tick 1/s, turn tick 10/s, 5 admissions/s; beside it with %d", few)}
	b.report(f)
	return nil
}

func commandsOf(ctx context.Context, b *bench, n int) (perSecond []float64, err error) {
	g, err := open(ctx, b, nil)
	if err != nil {
		return nil, err
	}
	defer g.close()
	rdb, err := client(b.redis)
	if err != nil {
		return nil, err
	}
	defer rdb.Close()
	count := &counter{}
	rdb.AddHook(count)
	key, err := token.NewKey()
	if err != nil {
		return nil, err
	}
	keys, err := token.NewKeyring(key)
	if err != nil {
		return nil, err
	}
	lines := line.New(rdb)
	rooms := directory.New(lines, zap.NewNop())
	node := hub.New(hub.Config{}, "bench", lines, rooms, keys, "/shop", zap.NewNop(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(ctx)
	var all errgroup.Group
	defer all.Wait()
	defer cancel()
	all.Go(func() error { return node.Run(ctx) })
	all.Go(func() error { return rooms.Run(ctx) })
	select {
	case <-rooms.Contact():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var joins errgroup.Group
	joins.SetLimit(256)
	for range n {
		joins.Go(func() error { _, err := node.Join(ctx, g.name, mute{}); return err })
	}
	if err := joins.Wait(); err != nil {
		return nil, err
	}
	// 5 a second until the end: turns have somebody to look up.
	all.Go(func() error {
		for pause(ctx, 200*time.Millisecond) == nil {
			if _, err := g.lines.Admit(ctx, g.name, g.caller(), 1); err != nil {
				return nil // the end
			}
		}
		return nil
	})
	if err := pause(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	for range min(3, b.runs()) {
		const seconds = 5
		before := count.n.Load()
		if err := pause(ctx, seconds*time.Second); err != nil {
			return nil, err
		}
		perSecond = append(perSecond, float64(count.n.Load()-before)/seconds)
	}
	return perSecond, nil
}

// measureArithmetic: what one position costs in the pass over a node's visitors.
// The floor is a walk over the same numbers that only adds them up.
func measureArithmetic(_ context.Context, b *bench) error {
	n := b.scale(1_000_000)
	f := Figure{Name: fmt.Sprintf("the sweep's arithmetic per visitor at %s", number(float64(n))), Aim: "≤ 10 ns", Unit: "ns", Met: atMost(10),
		Note: "one core, a tenth of the numbers gone at random; floor: adding the numbers up"}
	r := rand.New(rand.NewPCG(1, 2))
	gone := make([]byte, n*10/9/8+2)
	var numbers []room.Number
	seq := room.Number(0)
	for len(numbers) < n {
		seq++
		if int(seq>>3) >= len(gone) {
			break
		}
		if r.IntN(10) == 0 {
			gone[seq>>3] |= 0x80 >> (seq & 7)
		} else {
			numbers = append(numbers, seq)
		}
	}
	bits := rank.New(numbers[0], seq, 0, gone)
	for range b.runs() {
		var sum room.Position
		start := time.Now()
		cursor := bits.Cursor()
		for _, number := range numbers {
			p, _ := cursor.Position(number)
			sum += p
		}
		took := time.Since(start)
		if want := room.Position(len(numbers)) * room.Position(len(numbers)+1) / 2; sum != want {
			return fmt.Errorf("the positions add up to %d, want %d", sum, want)
		}
		start = time.Now()
		var plain room.Number
		for _, number := range numbers {
			plain += number
		}
		bare := time.Since(start)
		runtime.KeepAlive(plain)
		f.Runs = append(f.Runs, float64(took.Nanoseconds())/float64(len(numbers)))
		f.Floor = append(f.Floor, float64(bare.Nanoseconds())/float64(len(numbers)))
	}
	b.report(f)
	return nil
}
