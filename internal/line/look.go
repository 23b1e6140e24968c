package line

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// look is what one read found, all of one moment. A field that was not asked for
// may be zero.
type look struct {
	now                                time.Time // the line's clock
	seq, head                          room.Number
	waiting, unclaimed, active, outbox int64
	gone                               []byte
	conf, stats                        map[string]string
	life                               room.Life
}

// lifeFields are those of a line's life that are read with it, in this order.
var lifeFields = []string{"id", "asking", "hold", "lost_at", "lost", "restored", "fences"}

// readLife reads the values of lifeFields. What is missing is 0: nothing was lost.
func readLife(values []any) room.Life {
	n := make([]int64, len(lifeFields))
	for i := range n {
		if text, ok := values[i].(string); ok {
			n[i], _ = strconv.ParseInt(text, 10, 64) // of the id it is 0
		}
	}
	id, _ := values[0].(string)
	life := room.Life{ID: id, Asking: n[1] > 0, Lost: n[4], Restored: n[5], Fences: n[6]}
	if n[2] > 0 {
		life.HoldUntil = time.UnixMilli(n[2]).UTC()
	}
	if n[3] > 0 {
		life.LostAt = time.UnixMilli(n[3]).UTC()
	}
	return life
}

// depth is how much a look reads.
type depth int

const (
	lookHead       depth = iota // seq, head, gone
	lookLine                    // and waiting, conf, stats, now
	lookEverything              // and the other counts
)

// look reads a line in one MULTI of plain reads: 78 µs for the 125 KB of a
// million waiting, where a script takes three times that. A Redis whose memory is
// full takes no command in a MULTI; there the script answers.
func (l *Lines) look(ctx context.Context, name room.Name, deep depth, from, to int64) (look, error) {
	var reads lookReads
	_, err := l.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		reads = queueLook(ctx, p, name, deep, from, to)
		return nil
	})
	switch {
	case errors.Is(err, redis.Nil): // of GET, the one command that answers nil
		return look{}, l.missing(ctx, name)
	case refused(err, "EXECABORT"), refused(err, "OOM"):
		// The client of a single server tells what the EXEC said; a cluster's tells
		// why, which is what the first command was answered.
		return l.lookByScript(ctx, name, from, to)
	case err != nil:
		return look{}, translate(err)
	}
	found, err := reads.found(l)
	if err == nil && deep >= lookLine && len(found.conf) == 0 {
		return look{}, l.missing(ctx, name)
	}
	return found, err
}

// lookReads are the commands of one look in a MULTI. What the depth does not ask
// for is nil.
type lookReads struct {
	seq, gone                          *redis.StringCmd
	first                              *redis.ZSliceCmd
	waiting, unclaimed, active, outbox *redis.IntCmd
	depth, life                        *redis.SliceCmd
	conf, stats                        *redis.MapStringStringCmd
	clock                              *redis.Cmd
}

func queueLook(ctx context.Context, p redis.Pipeliner, name room.Name, deep depth, from, to int64) lookReads {
	r := lookReads{
		seq:   p.Get(ctx, seqKey(name)),
		first: p.ZRangeWithScores(ctx, queueKey(name), 0, 0),
		gone:  p.GetRange(ctx, goneKey(name), from, to),
		life:  p.HMGet(ctx, lifeKey(name), lifeFields...),
	}
	if deep >= lookLine {
		r.waiting = p.ZCard(ctx, queueKey(name))
		r.conf, r.stats = p.HGetAll(ctx, confKey(name)), p.HGetAll(ctx, statsKey(name))
		// TIME itself has no key, which the MULTI of a cluster does not take.
		r.clock = p.Eval(ctx, "return redis.call('TIME')", []string{confKey(name)})
	}
	if deep >= lookEverything {
		r.unclaimed, r.active = p.ZCard(ctx, unclaimedKey(name)), p.ZCard(ctx, activeKey(name))
		r.outbox = p.XLen(ctx, outboxKey(name))
		r.depth = p.HMGet(ctx, bucketKey(name), "depth")
	}
	return r
}

// found reads the answers of commands that all came back.
func (r lookReads) found(l *Lines) (look, error) {
	var k look
	seq, err1 := r.seq.Int64()
	gone, err2 := r.gone.Bytes()
	if err := errors.Join(err1, err2); err != nil {
		return k, err
	}
	var first int64
	if z := r.first.Val(); len(z) > 0 {
		first = int64(z[0].Score)
	}
	k.setHead(seq, first)
	k.gone = gone
	if r.clock != nil {
		k.waiting, k.conf, k.stats = r.waiting.Val(), r.conf.Val(), r.stats.Val()
		if k.now, err1 = l.clockOf(r.clock); err1 != nil {
			return k, err1
		}
	}
	k.life = readLife(r.life.Val())
	if r.outbox != nil {
		k.unclaimed, k.active = r.unclaimed.Val(), r.active.Val()
		if k.outbox = r.outbox.Val(); k.outbox > 0 { // entries; of admissions there are more
			depth, _ := r.depth.Val()[0].(string)
			n, _ := strconv.ParseInt(depth, 10, 64)
			k.outbox = max(k.outbox, n)
		}
	}
	return k, nil
}

func (l *Lines) lookByScript(ctx context.Context, name room.Name, from, to int64) (look, error) {
	r, err := l.run(ctx, lookScript, name, keysOf(name), from, to)
	if err != nil {
		return look{}, err
	}
	found := look{now: l.moment(r.int(0), r.int(1)), waiting: r.int(4), unclaimed: r.int(5), active: r.int(6),
		outbox: r.int(7), gone: []byte(r.text(8)), conf: r.list(9).fields(), stats: r.list(10).fields(),
		life: readLife(r.list(11).values)}
	found.setHead(r.int(2), r.int(3))
	return found, r.bad()
}

// setHead takes the head's number; 0 when nobody waits.
func (k *look) setHead(seq, first int64) {
	k.seq, k.head = room.Number(seq), room.Number(first)
	if first == 0 {
		k.head = k.seq + 1
	}
}

// moment is the server's time, unless a test has its own.
func (l *Lines) moment(s, us int64) time.Time {
	if own := l.now(); own > 0 {
		return micros(own)
	}
	return micros(s*1_000_000 + us)
}
