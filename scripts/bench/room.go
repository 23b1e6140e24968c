package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"waitroom/internal/line"
	"waitroom/internal/room"
)

// client is a client of the Redis under test.
func client(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	options.ReadTimeout = 30 * time.Second // a bench waits; it does not retry
	return redis.NewClient(options), nil
}

// ground is a room of a bench with the client that made it.
type ground struct {
	rdb   *redis.Client
	lines *line.Lines
	name  room.Name
	epoch room.Epoch
	lanes atomic.Int64
}

// open makes a room that lets everybody in at once, unless change says
// otherwise; close removes it.
func open(ctx context.Context, b *bench, change func(*room.Conf)) (*ground, error) {
	rdb, err := client(b.redis)
	if err != nil {
		return nil, err
	}
	g := &ground{rdb: rdb, lines: line.New(rdb), epoch: room.NewEpoch(),
		name: room.Name("bench-" + strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(string(room.NewVisitorID()))))}
	conf := room.DefaultConf()
	conf.Epoch, conf.State = g.epoch, room.Open
	conf.Rate, conf.Burst = room.MaxRate, room.MaxBurst
	conf.MaxActive, conf.MaxWaiting = room.MaxActive, room.MaxWaiting
	conf.Claim, conf.Pass = room.MaxClaim, room.MaxPass
	if change != nil {
		change(&conf)
	}
	if err := g.lines.Create(ctx, g.name, conf, "bench"); err != nil {
		rdb.Close()
		return nil, err
	}
	return g, nil
}

func (g *ground) close() {
	// Its own context: the room goes after a Ctrl-C as well.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = g.lines.Delete(ctx, g.name, true, "bench")
	keys := g.rdb.Scan(ctx, 0, "wr1:{"+string(g.name)+"}:*", 1000).Iterator()
	for keys.Next(ctx) {
		g.rdb.Unlink(ctx, keys.Val())
	}
	g.rdb.Close()
}

func (g *ground) key(part string) string { return "wr1:{" + string(g.name) + "}:" + part }

func (g *ground) caller() room.Caller { return room.Caller{Epoch: g.epoch} }

// join takes the visitors into the line in batches on one lane.
func (g *ground) join(ctx context.Context, visitors []room.VisitorID, batch int) error {
	lane := room.Lane{Name: fmt.Sprint("bench-", g.lanes.Add(1))}
	for len(visitors) > 0 {
		n := min(batch, len(visitors))
		lane.Batch++
		joined, err := g.lines.Join(ctx, g.name, g.caller(), lane, visitors[:n])
		if err != nil {
			return err
		}
		if joined.Granted != n {
			return fmt.Errorf("%d of %d joined", joined.Granted, n)
		}
		visitors = visitors[n:]
	}
	return nil
}

// moving lets the line move by rate a second until do returns, in rounds that follow
// the clock, so that a late one is made up for. Those in front must be enough for it:
// they are nobody's connection. Their outbox is thrown away: it would stop the line.
func (g *ground) moving(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { // ends with ctx, and is waited for below
		began, done := time.Now(), 0
		for {
			if pause(ctx, 100*time.Millisecond) != nil {
				ended <- nil
				return
			}
			due := min(int(time.Since(began).Seconds()*rate)-done, room.MaxRound)
			if due < 1 {
				continue
			}
			round, err := g.lines.Admit(ctx, g.name, g.caller(), due)
			if err == nil && round.Outbox > room.MaxOutbox/4 {
				err = g.rdb.Del(ctx, g.key("outbox")).Err()
			}
			if err != nil && ctx.Err() == nil {
				ended <- err
				return
			}
			done += round.Admitted
		}
	}()
	err := do()
	cancel()
	return errors.Join(err, <-ended)
}

// crowd makes n visitors.
func crowd(n int) []room.VisitorID {
	ids := make([]room.VisitorID, n)
	for i := range ids {
		ids[i] = room.NewVisitorID()
	}
	return ids
}
