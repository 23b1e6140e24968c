package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// down is how long nobody answers at the line's address after a loss: as long as a
// supervisor needs, and long enough for every node to notice.
const down = time.Second

// kind is one way to lose the line's data.
type kind struct {
	name, what string
	short      bool // a line in which everybody is let in at once
	cluster    bool // on a cluster by scripts/services, not on a Redis of the harness
	before     time.Duration
	// prepare is called before the visitors come, ready `before` the loss; nil: nothing
	// to do. take is the loss: it returns once the line's address answers again, or
	// would, and says what was taken away.
	prepare, ready func(context.Context, *ground) error
	take           func(context.Context, *ground, crowds) (took string, err error)
}

// kinds in the order of the table.
var kinds = []kind{
	{name: control, what: "nothing is lost", take: func(context.Context, *ground, crowds) (string, error) { return "nothing was taken away", nil }},
	{name: "kill", what: "kill -9 of Redis, long line", take: func(ctx context.Context, g *ground, _ crowds) (string, error) {
		g.redis.proc.kill()
		return "the processes' memory was taken away", g.restart(ctx)
	}},
	{name: "aof-1s", what: "the append-only file without its last second, long line", take: cutBy(time.Second)},
	{name: "aof-5s", what: "the append-only file without its last 5 s, long line", take: cutBy(5 * time.Second)},
	{name: "aof-1s-short", what: "the same without 1 s, everybody let in at once", short: true, take: cutBy(time.Second)},
	{name: "aof-5s-short", what: "the same without 5 s, everybody let in at once", short: true, take: cutBy(5 * time.Second)},
	{name: "kafka", what: "Kafka away for 2 s, then the append-only file without its last second, everybody let in at once", short: true,
		before: 2 * time.Second,
		ready:  func(_ context.Context, g *ground) error { return g.h.freeze() },
		take: func(ctx context.Context, g *ground, _ crowds) (string, error) {
			took, err := cut(ctx, g, time.Second)
			return took + ", and Kafka was away until then", errors.Join(err, g.h.thaw())
		}},
	{name: "promote", what: "a replica promoted that lacks the last second, long line", before: time.Second,
		prepare: replicate, ready: cutOff, take: promote},
	{name: "promote-short", what: "the same, everybody let in at once", short: true, before: time.Second,
		prepare: replicate, ready: cutOff, take: promote},
	{name: "flush", what: "FLUSHALL with every process alive, long line", take: flush},
	{name: "empty", what: "Redis empty and every node dead, admitters alive; every browser comes back", take: func(ctx context.Context, g *ground, all crowds) (string, error) {
		return empty(ctx, g, all, false)
	}},
	{name: "empty-all", what: "Redis empty, nodes and admitters dead, `room create --epoch`; every browser comes back", take: func(ctx context.Context, g *ground, all crowds) (string, error) {
		return empty(ctx, g, all, true)
	}},
	{name: "cluster", what: "kill -9 of a cluster's master, its replica promoted", cluster: true, take: func(ctx context.Context, g *ground, _ crowds) (string, error) {
		return g.cluster.killMaster(ctx, g.key("conf"))
	}},
	{name: "cluster-takeover", what: "a cluster's replica that lacks the last second, promoted by hand", cluster: true, before: time.Second,
		ready: func(ctx context.Context, g *ground) error { return g.cluster.cutOff(ctx, g.key("conf")) },
		take: func(ctx context.Context, g *ground, _ crowds) (string, error) {
			return g.cluster.takeOver(ctx, g.key("conf"))
		}},
}

func (g *ground) restart(ctx context.Context) error {
	if err := pause(ctx, down); err != nil {
		return err
	}
	return g.redis.start(ctx)
}

func cutBy(d time.Duration) func(context.Context, *ground, crowds) (string, error) {
	return func(ctx context.Context, g *ground, _ crowds) (string, error) { return cut(ctx, g, d) }
}

// cut ends Redis by kill -9 and takes the last d off its file, as a loss of power
// does to what was not synced.
func cut(ctx context.Context, g *ground, d time.Duration) (string, error) {
	g.redis.proc.kill()
	bytes, err := g.redis.cut(time.Now(), d)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d KB of the file were taken away", (bytes+999)/1000), g.restart(ctx)
}

// replicate starts a replica and waits until it has everything.
func replicate(ctx context.Context, g *ground) error {
	r, err := newRedis(ctx, g.dir, "replica", "--replicaof", fmt.Sprintf("127.0.0.1 %d", g.redis.port))
	if r != nil {
		g.more = append(g.more, r)
	}
	if err != nil {
		return err
	}
	c := r.client()
	defer c.Close()
	return await(ctx, startLimit, "the replica is linked", func() (bool, string) { return linked(ctx, c) })
}

// cutOff breaks the link to the master: port 1 is nobody's.
func cutOff(ctx context.Context, g *ground) error {
	c := g.more[0].client()
	defer c.Close()
	return c.Do(ctx, "REPLICAOF", "127.0.0.1", "1").Err()
}

// promote kills the master and puts the replica on its address.
func promote(ctx context.Context, g *ground, _ crowds) (string, error) {
	old, c := g.redis.client(), g.more[0].client()
	defer old.Close()
	defer c.Close()
	had, err := offset(ctx, old)
	if err != nil {
		return "", err
	}
	g.redis.proc.kill()
	has, err := offset(ctx, c)
	if err != nil {
		return "", err
	}
	if has >= had {
		return "", fmt.Errorf("the replica has %d of %d bytes: it lacks nothing", has, had)
	}
	if err := pause(ctx, down); err != nil {
		return "", err
	}
	if err := c.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		return "", err
	}
	if err := c.ConfigSet(ctx, "port", fmt.Sprint(g.redis.port)).Err(); err != nil {
		return "", err
	}
	g.more[0].port = g.redis.port
	return fmt.Sprintf("%d KB of writes were taken away", (had-has+999)/1000), nil
}

func flush(ctx context.Context, g *ground, _ crowds) (string, error) {
	c := g.redis.client()
	defer c.Close()
	return "every key was taken away", c.FlushAll(ctx).Err()
}

// empty leaves nothing of the line: not its data, and not the nodes that knew of it.
// Where the admitters are dead too, the operator makes the room again under the epoch
// that is on paper.
func empty(ctx context.Context, g *ground, all crowds, admitters bool) (string, error) {
	dead := g.waitrooms
	if admitters {
		dead = append(append([]*child(nil), g.waitrooms...), g.admitters...)
	}
	for _, c := range dead {
		c.kill()
	}
	g.redis.proc.kill()
	if err := g.redis.wipe(); err != nil {
		return "", err
	}
	if err := g.restart(ctx); err != nil {
		return "", err
	}
	took := "every key and every node were taken away"
	if admitters {
		took = "every key, every node and every admitter were taken away"
		if err := g.admitter(ctx, append([]string{"room", "create", g.room, "--epoch", g.epoch, "--state", "open"}, g.set(g.h.size.Rate)...)...); err != nil {
			took += "; the operator was refused: " + err.Error()
		}
	}
	for _, c := range dead {
		if err := c.start(); err != nil {
			return "", err
		}
	}
	n, err := all.comeBack()
	return fmt.Sprintf("%s; %d came back who had a pass in hand", took, n), err
}

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
