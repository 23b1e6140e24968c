package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"waitroom/internal/room"
)

const (
	joinWorkers = 4 // connections with a lane each, as several nodes have
	joinBatch   = room.MaxBatch
)

// measureJoins: joins per second into one room through line.Join. Visitors' ids
// are made before. The floor is INCRBY and a variadic ZADD NX of the same
// batches over as many connections.
func measureJoins(ctx context.Context, b *bench) error {
	n := b.scale(1_000_000)
	visitors := crowd(n)
	parts := slices.Collect(slices.Chunk(visitors, (n+joinWorkers-1)/joinWorkers))
	f := Figure{Name: "joins into one room through `line.Join`", Aim: "≥ 600,000/s and 0.75 of the floor", Unit: "/s", Met: func(m, floor float64) bool { return m >= 600_000 && m >= 0.75*floor },
		Note: fmt.Sprintf("%s visitors, %d connections, batches of %s; floor: INCRBY and ZADD NX", number(float64(n)), joinWorkers, number(joinBatch))}
	for range b.runs() {
		took, err := joinOnce(ctx, b, parts)
		if err != nil {
			return err
		}
		floor, err := joinBare(ctx, b, parts)
		if err != nil {
			return err
		}
		f.Runs = append(f.Runs, float64(n)/took.Seconds())
		f.Floor = append(f.Floor, float64(n)/floor.Seconds())
	}
	b.report(f)
	return nil
}

func joinOnce(ctx context.Context, b *bench, parts [][]room.VisitorID) (time.Duration, error) {
	g, err := open(ctx, b, nil)
	if err != nil {
		return 0, err
	}
	defer g.close()
	if err := g.join(ctx, crowd(joinBatch), joinBatch); err != nil { // the script is loaded, the connection open
		return 0, err
	}
	start := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		all.Go(func() error { return g.join(ctx, part, joinBatch) })
	}
	err = all.Wait()
	return time.Since(start), err
}

func joinBare(ctx context.Context, b *bench, parts [][]room.VisitorID) (time.Duration, error) {
	rdb, err := client(b.redis)
	if err != nil {
		return 0, err
	}
	defer rdb.Close()
	key := "bench:{" + string(room.NewVisitorID()) + "}"
	defer rdb.Unlink(context.WithoutCancel(ctx), key, key+"seq")
	start := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		all.Go(func() error {
			for batch := range slices.Chunk(part, joinBatch) {
				last, err := rdb.IncrBy(ctx, key+"seq", int64(len(batch))).Result()
				if err != nil {
					return err
				}
				args := make([]any, 0, 3+2*len(batch))
				args = append(args, "ZADD", key, "NX")
				for i, v := range batch {
					args = append(args, last-int64(len(batch))+int64(i)+1, string(v))
				}
				if err := rdb.Do(ctx, args...).Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = all.Wait()
	return time.Since(start), err
}

// measureAdmissions: admissions per second with the relay off. Nobody reads the outbox,
// so it is emptied between stretches, and that time is not
// counted. The floor is the same writes without a script: ZPOPMIN, then
// SETBIT, XADD and ZADD in one pipeline.
func measureAdmissions(ctx context.Context, b *bench) error {
	n := b.scale(200_000)
	f := Figure{Name: "admissions through `line.Admit`, relay off", Aim: "≥ 300,000/s", Unit: "/s", Met: atLeast(300_000),
		Note: fmt.Sprintf("%s visitors, rounds of %d by two admitters in turn; floor: ZPOPMIN, SETBIT, XADD and ZADD in pipelines", number(float64(n)), room.MaxRound)}
	for range b.runs() {
		took, floor, err := admitOnce(ctx, b, n)
		if err != nil {
			return err
		}
		f.Runs = append(f.Runs, float64(n)/took.Seconds())
		f.Floor = append(f.Floor, float64(n)/floor.Seconds())
	}
	b.report(f)
	return nil
}

func admitOnce(ctx context.Context, b *bench, n int) (took, floor time.Duration, err error) {
	g, err := open(ctx, b, nil)
	if err != nil {
		return 0, 0, err
	}
	defer g.close()
	visitors := crowd(n)
	if err := g.join(ctx, visitors, joinBatch); err != nil {
		return 0, 0, err
	}
	for done := 0; done < n; {
		start := time.Now()
		var all errgroup.Group
		counts := [2]int{}
		for w := range counts {
			all.Go(func() error {
				for {
					round, err := g.lines.Admit(ctx, g.name, g.caller(), room.MaxRound)
					if err != nil {
						return err
					}
					counts[w] += round.Admitted
					if round.Stop != room.StopMore {
						return nil
					}
				}
			})
		}
		if err := all.Wait(); err != nil {
			return 0, 0, err
		}
		took += time.Since(start)
		if counts[0]+counts[1] == 0 {
			// A million a second: there is credit again before a call is over.
			if err := pause(ctx, time.Millisecond); err != nil {
				return 0, 0, err
			}
		}
		done += counts[0] + counts[1]
		if err := g.rdb.Del(ctx, g.key("outbox")).Err(); err != nil {
			return 0, 0, err
		}
	}
	floor, err = admitBare(ctx, g.rdb, visitors)
	return took, floor, err
}

func admitBare(ctx context.Context, rdb *redis.Client, visitors []room.VisitorID) (took time.Duration, err error) {
	key := "bench:{" + string(room.NewVisitorID()) + "}"
	queue, gone, unclaimed, outbox := key+"q", key+"g", key+"u", key+"o"
	defer rdb.Unlink(context.WithoutCancel(ctx), queue, gone, unclaimed, outbox)
	number := 0
	for batch := range slices.Chunk(visitors, joinBatch) {
		z := make([]redis.Z, len(batch))
		for i, v := range batch {
			number++
			z[i] = redis.Z{Score: float64(number), Member: string(v)}
		}
		if err := rdb.ZAddNX(ctx, queue, z...).Err(); err != nil {
			return 0, err
		}
	}
	for done := 0; done < len(visitors); {
		start := time.Now()
		for range room.MaxOutbox / room.MaxRound {
			popped, err := rdb.ZPopMin(ctx, queue, room.MaxRound).Result()
			if err != nil {
				return 0, err
			}
			done += len(popped)
			now := time.Now()
			_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
				deadlines := make([]redis.Z, len(popped))
				for i, z := range popped {
					p.SetBit(ctx, gone, int64(z.Score), 1)
					p.XAdd(ctx, &redis.XAddArgs{Stream: outbox, Values: []any{"v", z.Member, "n", int64(z.Score), "at", now.UnixMicro(), "e", "aaaaaaaa"}})
					deadlines[i] = redis.Z{Score: float64(now.UnixMilli()), Member: z.Member}
				}
				if len(deadlines) > 0 {
					p.ZAdd(ctx, unclaimed, deadlines...)
				}
				return nil
			})
			if err != nil {
				return 0, err
			}
		}
		took += time.Since(start)
		if err := rdb.Del(ctx, outbox).Err(); err != nil {
			return 0, err
		}
	}
	return took, nil
}

// measureBytes: Redis memory per waiting visitor. The floor is the same sorted
// set by bare ZADD.
func measureBytes(ctx context.Context, b *bench) error {
	n := b.scale(1_000_000)
	f := Figure{Name: fmt.Sprintf("Redis memory per waiting visitor at %s", number(float64(n))), Aim: "≤ 130 bytes", Unit: "bytes", Met: atMost(130),
		Note: "growth of used_memory; floor: a bare sorted set of the same members"}
	for range min(3, b.runs()) {
		g, err := open(ctx, b, nil)
		if err != nil {
			return err
		}
		visitors := crowd(n)
		used, err := grows(ctx, g.rdb, func() error { return g.join(ctx, visitors, joinBatch) })
		key := "bench:{" + string(g.name) + "}"
		floor := 0.0
		if err == nil {
			floor, err = grows(ctx, g.rdb, func() error {
				for at := 0; at < n; at += joinBatch {
					z := make([]redis.Z, min(joinBatch, n-at))
					for i := range z {
						z[i] = redis.Z{Score: float64(at + i + 1), Member: string(visitors[at+i])}
					}
					if err := g.rdb.ZAddNX(ctx, key, z...).Err(); err != nil {
						return err
					}
				}
				return nil
			})
			g.rdb.Unlink(ctx, key)
		}
		g.close()
		if err != nil {
			return err
		}
		f.Runs = append(f.Runs, used/float64(n))
		f.Floor = append(f.Floor, floor/float64(n))
	}
	b.report(f)
	return nil
}

// grows is how many bytes Redis has more after do than before.
func grows(ctx context.Context, rdb *redis.Client, do func() error) (float64, error) {
	used := func() (float64, error) {
		// Unlinked keys of a run before are freed by a thread of Redis: wait
		// until it has nothing left to do.
		for last := -1.0; ; {
			info, err := rdb.Info(ctx, "memory").Result()
			if err != nil {
				return 0, err
			}
			now := infoNumber(info, "used_memory")
			if infoNumber(info, "lazyfree_pending_objects") == 0 && now == last {
				return now, nil
			}
			last = now
			if err := pause(ctx, 200*time.Millisecond); err != nil {
				return 0, err
			}
			if last-now > 1<<20 {
				last = -1
			}
		}
	}
	before, err := used()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	info, err := rdb.Info(ctx, "memory").Result()
	return infoNumber(info, "used_memory") - before, err
}

func infoNumber(info, field string) float64 {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}

// measureRound: a round of ten at a million waiting against one at a thousand,
// in turn, so that both meet the same machine. The floor of the quotient is 1.
func measureRound(ctx context.Context, b *bench) error {
	n := b.scale(1_000_000)
	const small, round, rounds = 1000, 10, 500
	long, err := open(ctx, b, nil)
	if err != nil {
		return err
	}
	defer long.close()
	short, err := open(ctx, b, nil)
	if err != nil {
		return err
	}
	defer short.close()
	if err := long.join(ctx, crowd(n), joinBatch); err != nil {
		return err
	}
	if err := short.join(ctx, crowd(small), joinBatch); err != nil {
		return err
	}
	f := Figure{Name: fmt.Sprintf("an admit round of %d at %s waiting against 1,000", round, number(float64(n))), Aim: "≤ 1.2 ×", Unit: "×", Met: atMost(1.2)}
	var longUS, shortUS []float64
	for range b.runs() {
		var took [2][]float64
		for range rounds {
			for i, g := range []*ground{long, short} {
				start := time.Now()
				r, err := g.lines.Admit(ctx, g.name, g.caller(), round)
				if err != nil {
					return err
				}
				took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/1e3)
				if r.Admitted != round {
					return fmt.Errorf("a round admitted %d (%s), want %d", r.Admitted, r.Stop, round)
				}
				// The line stays as long as it was, and the outbox empty.
				if err := g.join(ctx, crowd(round), round); err != nil {
					return err
				}
				if r.Outbox > 1000 {
					if err := g.rdb.Del(ctx, g.key("outbox")).Err(); err != nil {
						return err
					}
				}
			}
		}
		f.Runs = append(f.Runs, median(took[0])/median(took[1]))
		longUS, shortUS = append(longUS, median(took[0])), append(shortUS, median(took[1]))
	}
	f.Note = fmt.Sprintf("medians of %d rounds: %s µs against %s µs, round trip included", rounds, number(median(longUS)), number(median(shortUS)))
	b.report(f)
	return nil
}

// pause waits, or says why not.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
