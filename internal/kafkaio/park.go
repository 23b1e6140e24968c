package kafkaio

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outage"
)

// lot is where the records of a reader's partitions wait for their time, in memory.
type lot struct {
	most  int         // of a partition; at the bound it is not read on
	dead  deadLetters // takes what a judge calls Never
	keyed bool        // records behind one that waits wait too, when they have its key
	stuck *outage.Log // records wait; shared by all partitions
	full  *outage.Log // and too many of them
	// waiting is how many records wait in all partitions; stuck is over at 0.
	waiting atomic.Int64
}

func newLot(log *zap.Logger, most int, dead deadLetters, keyed bool) *lot {
	return &lot{most: most, dead: dead, keyed: keyed,
		stuck: newOutage(log, "handle", outage.Config{ // whatever the handler needs, which need not be Kafka
			Down: "records can't be dealt with yet: they wait in memory and are tried again, those behind them go on",
			Up:   "no record waits here any more: each is dealt with, or its partition is another's"}),
		full: newOutage(log, "handle", outage.Config{Hold: 2 * parkedMost, // each of them says so once in parkedMost
			Down: "too many records wait: their partition is not read on until some are dealt with",
			Up:   "no partition holds too many records that wait"})}
}

// followedPartition is one partition that is read. All but floor and held is
// owned by the goroutine of run.
type followedPartition struct {
	lot    *lot
	judge  Judge
	source source
	held   *held
	// moved hears of each new floor before the next record is read; false ends run.
	// Nil: nobody asks.
	moved func(floor int64) bool

	floor atomic.Int64 // every record below it is dealt with; below 0: not known yet

	fetched []events.Record // not yet handed over, at most one answer of a broker
	parked  []parked        // by offset, at most parkMost
	due     time.Time       // when they are tried again
	pause   time.Duration
}

// parked is a record that waits for its time.
type parked struct {
	record events.Record
	dead   error // it is a dead letter that could not be published yet; nil: the handler's
}

// run reads and hands over until ctx ends. Records wait without holding up those
// behind them, and offsets move when all before them are dealt with. Behind it leave is
// called.
func (p *followedPartition) run(ctx context.Context) {
	away := newOutage(p.source.log, "fetch", outage.Config{Hold: fetchHold})
	next := p.held.next.Load()
	for ctx.Err() == nil {
		room := p.lot.most - len(p.parked)
		switch {
		case len(p.parked) > 0 && !time.Now().Before(p.due):
			p.again(ctx)
		case len(p.fetched) > 0 && room > 0:
			take := min(len(p.fetched), room, maxBatch)
			p.first(ctx, p.fetched[:take])
			p.fetched = p.fetched[take:]
		case len(p.fetched) > 0: // none of the parked may go yet
			if !sleep(ctx, time.Until(p.due)) {
				return
			}
		default:
			wait := fetchWait
			if len(p.parked) > 0 {
				wait = min(wait, time.Until(p.due))
			}
			records, behind, err := p.source.fetch(ctx, next, wait)
			if away.Note(ctx, err); err != nil {
				if !sleep(ctx, retryPause) {
					return
				}
				continue
			}
			p.fetched, next = records, behind
		}
		if !p.measure(next) {
			return
		}
	}
}

// leave gives up what waits when run has ended: it comes again to whoever reads the
// partition next. Where nothing else waits, the outage is over here. ctx is the reader's
// own: at its end nobody reads on, and nothing is said.
func (p *followedPartition) leave(ctx context.Context) {
	count := len(p.parked)
	p.parked = nil
	if p.lot.waiting.Add(-int64(count)) == 0 && count > 0 {
		p.lot.stuck.Over(ctx)
		p.lot.full.Over(ctx)
	}
}

// measure publishes how far this partition is: for the commit and for the lag.
func (p *followedPartition) measure(next int64) bool {
	if len(p.fetched) > 0 {
		next = p.fetched[0].Offset
	}
	p.held.next.Store(next)
	p.held.parked.Store(int64(len(p.parked)))
	if len(p.parked) > 0 {
		next = p.parked[0].record.Offset
	}
	if before := p.floor.Swap(next); p.moved != nil && before != next {
		return p.moved(next)
	}
	return true
}

// first hands records over for the first time; what can't be done now is parked.
func (p *followedPartition) first(ctx context.Context, records []events.Record) {
	records, left := p.behind(records)
	undone, err := p.settle(ctx, records)
	left = merge(left, undone)
	if len(left) == 0 {
		return
	}
	if len(p.parked) == 0 {
		p.pause, p.due = parkedFirst, time.Now().Add(parkedFirst)
	}
	p.parked = append(p.parked, left...)
	p.count(ctx, len(left), err)
}

// behind takes out of records those that wait for one with their key.
func (p *followedPartition) behind(records []events.Record) (free []events.Record, wait []parked) {
	if !p.lot.keyed || len(p.parked) == 0 {
		return records, nil
	}
	keys := map[string]bool{}
	for _, one := range p.parked {
		keys[string(one.record.Key)] = true
	}
	for _, r := range records {
		if keys[string(r.Key)] {
			wait = append(wait, parked{record: r})
		} else {
			free = append(free, r)
		}
	}
	return free, wait
}

// again tries everything that is parked.
func (p *followedPartition) again(ctx context.Context) {
	var left []parked
	var reason error
	for rest := p.parked; len(rest) > 0; {
		some := rest[:min(len(rest), maxBatch)]
		rest = rest[len(some):]
		var records []events.Record
		var dead []parked
		for _, one := range some {
			if one.dead != nil {
				dead = append(dead, one)
			} else {
				records = append(records, one.record)
			}
		}
		unpublished, errDead := p.bury(ctx, dead)
		undone, err := p.settle(ctx, records)
		if err == nil {
			err = errDead
		}
		if err != nil {
			reason = err
		}
		left = append(left, merge(unpublished, undone)...)
	}
	done := len(p.parked) - len(left)
	p.parked = left
	if p.pause = min(2*p.pause, parkedMost); done > 0 {
		p.pause = parkedFirst // it goes on
	}
	p.due = time.Now().Add(p.pause)
	p.count(ctx, -done, reason)
}

// settle hands records to the handler and returns what is left of them, by offset.
func (p *followedPartition) settle(ctx context.Context, records []events.Record) (left []parked, reason error) {
	if len(records) == 0 {
		return nil, nil
	}
	var dead []parked
	for i, verdict := range p.judge(ctx, records) {
		switch verdict.Fate {
		case events.Later:
			left, reason = append(left, parked{record: records[i]}), verdict.Err
		case events.Never:
			dead = append(dead, parked{record: records[i], dead: verdict.Err})
		}
	}
	unpublished, err := p.bury(ctx, dead)
	if err != nil {
		reason = err
	}
	return merge(unpublished, left), reason
}

// bury publishes dead letters and returns those that it could not. Each follower
// of the topic does, so there are as many copies, with the same origin.
func (p *followedPartition) bury(ctx context.Context, dead []parked) ([]parked, error) {
	if len(dead) == 0 {
		return nil, nil
	}
	letters := make([]events.Record, len(dead))
	for i, one := range dead {
		letters[i] = events.DeadLetter(one.record, one.dead)
	}
	err := p.lot.dead.Publish(ctx, letters)
	var left []parked
	for _, i := range events.Missing(err, len(dead)) {
		left = append(left, dead[i])
	}
	return left, err
}

// merge joins two lists that are sorted by offset into one that is.
func merge(a, b []parked) []parked {
	var out []parked
	for len(a) > 0 && len(b) > 0 {
		if a[0].record.Offset < b[0].record.Offset {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// count notes that more records wait, or fewer, and why.
func (p *followedPartition) count(ctx context.Context, more int, reason error) {
	f := p.lot
	if waiting := f.waiting.Add(int64(more)); waiting == 0 || reason != nil {
		f.stuck.Note(ctx, reason)
	}
	var full error
	if len(p.parked) >= f.most {
		full = reason
	}
	f.full.Note(ctx, full)
}
