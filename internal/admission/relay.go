package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// readMost is how many entries one read of the outbox takes: 5,000 visitors at
	// most, some 2 MB as records.
	readMost = 100
	// heldMost is how many visitors a relay holds in entries that were read and not
	// acknowledged; at it the relay reads no further. 10,000 are 50 s at 200/s.
	heldMost = 10_000
	// heldByAll is how many all relays of a process hold: 50,000 are 25 MB if nothing
	// of them was acknowledged. Beyond it a relay that holds nothing reads one entry,
	// and others read no further.
	heldByAll = 50_000
	// keepEvery is how often the line hears that entries are still in hand. It gives
	// them to another reader after 30 s.
	keepEvery = 10 * time.Second
	// stopGrace is what a stop leaves the relay to finish what it holds. What
	// does not get through stays in the outbox, for another replica at once
	// or for whoever comes after 30 s.
	stopGrace  = 3 * time.Second
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// outbox is what the relay needs of the line. ReadOutbox hands every entry to
// one reader; an entry whose reader said neither Relayed nor Keep for 30 s is
// handed out again. All are safe to repeat.
type outbox interface {
	// ReadOutbox takes limit as a number of entries.
	ReadOutbox(ctx context.Context, name room.Name, limit int) ([]room.Entry, error)
	Relayed(ctx context.Context, name room.Name, caller room.Caller, entries []room.Entry) error
	Keep(ctx context.Context, name room.Name, ids []string) error
}

// relay brings one room's admissions from the outbox to Kafka, beside the rounds,
// so that a slow Kafka delays none. An entry leaves the outbox only after Kafka has
// all of its records, so a crash at any step repeats admissions under their ids and
// loses none. What Kafka has acknowledged is not published again while other records
// of the same entry wait for a partition.
//
// It has a goroutine only while there is something to relay.
type relay struct {
	// set once
	name    room.Name
	process string
	line    outbox
	batcher *batcher
	total   *atomic.Int64 // visitors held by all relays of the process
	log     *zap.Logger
	metrics *metrics
	outage  *outage.Log
	full    *outage.Log // it holds as many as it may
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{}  // of one: nudged
	answers chan *delivery // room for all that is under way

	mu     sync.Mutex
	works  bool        // there is a goroutine; guarded by mu
	nudged bool        // since it looked; guarded by mu
	caller room.Caller // of the last nudge; guarded by mu

	// owned by run
	more     bool // the outbox may have entries that nobody has read
	held     map[string]*pending
	visitors int  // that held stands for
	flying   int  // deliveries under way
	again    bool // one of them has the late records
	late     []record
	done     []room.Entry // Kafka has all of them, the line has not heard
	pause    time.Duration
}

// pending is an entry that was read and not acknowledged.
type pending struct {
	entry   room.Entry
	missing int // records that Kafka has not acknowledged
}

// visitors is how many an entry counts for, of those that can't be read too.
func (p *pending) visitors() int { return max(1, p.entry.Count, len(p.entry.Admitted)) }

// record is one that was not acknowledged.
type record struct {
	events.Record
	of *pending
}

// newRelay makes a relay whose work may outlast ctx, until finish.
func newRelay(ctx context.Context, name room.Name, process string, line outbox, batcher *batcher, total *atomic.Int64, log *zap.Logger, m *metrics) *relay {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &relay{name: name, process: process, line: line, batcher: batcher, total: total, log: log, metrics: m,
		ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), answers: make(chan *delivery, deliveriesMost),
		outage: outage.New(outage.Config{Log: log, Down: "relay: admissions wait in the outbox, trying again without bound", Up: "relay: works again"}),
		full: outage.New(outage.Config{Log: log, Down: "relay: as many admissions as it holds wait for Kafka, it reads no further; the others stay in the outbox",
			Up: "relay: reads on"}),
	}
}

// nudge says that there may be something in the outbox of the caller's line. It
// does not wait.
func (r *relay) nudge(caller room.Caller) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.caller, r.nudged = caller, true
	if !r.works {
		r.works = true
		r.running.Go(r.run)
		return
	}
	select {
	case r.wake <- struct{}{}:
	default: // one that is already there is enough
	}
}

// finish waits until the relay has nothing to do, stopGrace at most. Nobody nudges
// it any more.
func (r *relay) finish() {
	timer := time.AfterFunc(stopGrace, r.cancel)
	defer timer.Stop()
	r.running.Wait()
	r.cancel()
}

// run works until nothing is held and the outbox was found empty, or ctx ends.
func (r *relay) run() {
	keep := time.NewTicker(keepEvery)
	defer keep.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	retry.Stop()
	// One that runs is let run: answers of a busy room come faster than it ends.
	armed := false
	arm := func() {
		if !armed {
			armed, r.pause = true, min(max(retryFirst, 2*r.pause), retryMost)
			retry.Reset(r.pause)
		}
	}
	r.held, r.pause = map[string]*pending{}, 0
	for r.ctx.Err() == nil {
		if r.heard(); r.more {
			r.read()
		}
		if len(r.held) == 0 && r.rests() {
			return
		}
		select {
		case <-r.ctx.Done():
		case <-r.wake:
		case d := <-r.answers:
			if r.settle(d) {
				arm()
			}
		case <-retry.C:
			armed = false
			if !r.acknowledge() {
				arm()
			}
			r.tryAgain()
		case <-keep.C:
			if len(r.held) > 0 {
				r.keep()
			}
		}
	}
	r.count(-r.visitors) // what is held stays in the outbox
}

// heard takes the nudges so far.
func (r *relay) heard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.more = r.more || r.nudged
	r.nudged = false
}

// rests ends the goroutine, unless there was a nudge since it looked.
func (r *relay) rests() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nudged {
		return false
	}
	r.works = false
	return true
}

func (r *relay) count(visitors int) {
	r.visitors += visitors
	r.metrics.held.Set(float64(r.total.Add(int64(visitors))))
}

// keep tells the line that what is held is still in hand.
func (r *relay) keep() {
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	if err := r.line.Keep(ctx, r.name, slices.Sorted(maps.Keys(r.held))); err != nil {
		r.failed("keep what is read", err)
	}
}

// mayRead is how many entries may be read now. They are counted as held by all, as if
// they were full, until the caller gives that back.
func (r *relay) mayRead() int {
	if r.flying-r.retries() >= deliveriesMost-1 {
		return 0 // after the next answer again
	}
	limit := min(readMost, (heldMost-r.visitors+room.MaxEntry-1)/room.MaxEntry)
	if limit > 0 && r.total.Add(int64(limit*room.MaxEntry)) <= heldByAll {
		return limit
	}
	r.total.Add(-int64(max(0, limit) * room.MaxEntry))
	if len(r.held) == 0 {
		r.total.Add(room.MaxEntry)
		return 1
	}
	r.full.Note(r.ctx, fmt.Errorf("%d admissions are held", r.visitors))
	return 0
}

func (r *relay) retries() int {
	if r.again {
		return 1
	}
	return 0
}

// read takes more of the outbox and has it published.
func (r *relay) read() {
	for r.ctx.Err() == nil {
		limit := r.mayRead()
		if limit == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
		entries, err := r.line.ReadOutbox(ctx, r.name, limit)
		cancel()
		r.total.Add(-int64(limit * room.MaxEntry))
		if err != nil {
			// The next nudge tries again: every round nudges while the outbox has
			// something.
			r.more = false
			if !errors.Is(err, room.ErrUnknown) {
				r.failed("read the outbox", err)
			}
			return
		}
		d := &delivery{}
		for _, entry := range entries {
			if r.held[entry.ID] == nil { // else handed out again, though it is in our hands
				r.hold(&pending{entry: entry}, d)
			}
		}
		r.more = len(entries) >= limit
		r.deliver(d)
		if !r.more {
			r.well()
			return
		}
	}
}

// hold takes an entry into hand, and its records into the delivery. One that can't
// be read goes to the dead letter topic as it is.
func (r *relay) hold(p *pending, d *delivery) {
	r.held[p.entry.ID] = p
	r.count(p.visitors())
	if p.entry.Err == nil && len(p.entry.Admitted) == 0 {
		p.entry.Err = errEmpty
	}
	if err := p.entry.Err; err != nil {
		r.log.Error("an entry of the outbox can't be read, it goes to the dead letter topic", zap.String("entry", p.entry.ID),
			zap.Int("visitors", p.entry.Count), zap.Error(err))
		r.metrics.outboxDead.Inc()
		d.add(p, events.DeadLetter(events.Record{Topic: events.TopicAdmitted, Key: []byte(r.name), Value: []byte(p.entry.Raw),
			Headers: map[string]string{"room": string(r.name), "entry": p.entry.ID}}, err))
		return
	}
	for _, admitted := range p.entry.Admitted {
		d.add(p, events.EncodeAdmitted(r.name, admitted))
	}
}

// errEmpty is an entry that says nothing.
var errEmpty = errors.New("no admission in it")

func (d *delivery) add(p *pending, record events.Record) {
	p.missing++
	d.records, d.of = append(d.records, record), append(d.of, p)
}

func (r *relay) deliver(d *delivery) {
	if len(d.records) == 0 {
		return
	}
	d.began, d.answer = time.Now(), r.answers
	r.flying++
	r.batcher.publish(d)
}

// settle takes the fate of a delivery. It says whether something is to be tried
// again after a pause.
func (r *relay) settle(d *delivery) (again bool) {
	r.flying--
	if d.again {
		r.again = false
	}
	failed, acked := d.failed, 0
	for i, p := range d.of {
		if len(failed) > 0 && failed[0] == i {
			failed = failed[1:]
			r.late = append(r.late, record{d.records[i], p})
			continue
		}
		if p.entry.Err == nil {
			acked++
		}
		if p.missing--; p.missing == 0 {
			r.done = append(r.done, p.entry)
		}
	}
	r.metrics.published.WithLabelValues(string(r.name)).Add(float64(acked))
	if len(d.failed) > 0 {
		r.failed("publish", d.err)
	} else {
		r.metrics.publish.WithLabelValues(string(r.name)).Observe(time.Since(d.began).Seconds())
	}
	waits := !r.acknowledge()
	if len(d.failed) == 0 && !waits {
		r.well()
	}
	return waits || len(d.failed) > 0 || len(r.late) > 0 && !r.again
}

// well notes that nothing is in trouble.
func (r *relay) well() {
	if len(r.late) > 0 || r.again || len(r.done) > 0 {
		return
	}
	r.pause = 0
	r.outage.Note(r.ctx, nil)
	if r.visitors < heldMost {
		r.full.Note(r.ctx, nil)
	}
}

// tryAgain publishes the records that were not acknowledged, and only those.
func (r *relay) tryAgain() {
	if len(r.late) == 0 || r.again {
		return
	}
	d := &delivery{again: true}
	for _, late := range r.late {
		d.records, d.of = append(d.records, late.Record), append(d.of, late.of)
	}
	r.late, r.again = nil, true
	r.deliver(d)
}

// acknowledge tells the line what Kafka has; false when it has not heard, and is to
// be told again. A line that was deleted, or is another one now, has no such
// entries.
func (r *relay) acknowledge() bool {
	for len(r.done) > 0 {
		caller := r.callerOf(r.done[0])
		var same, others []room.Entry
		for _, entry := range r.done {
			if of := r.callerOf(entry); of.Epoch == caller.Epoch {
				same = append(same, entry)
				caller.Mark = max(caller.Mark, of.Mark)
			} else {
				others = append(others, entry)
			}
		}
		ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
		err := r.line.Relayed(ctx, r.name, caller, same)
		cancel()
		gone := errors.Is(err, room.ErrEpoch) || errors.Is(err, room.ErrUnknown)
		if err != nil {
			r.failed("acknowledge", err)
			if !gone {
				return false
			}
		}
		r.release(same, err == nil)
		r.done = others
	}
	return true
}

// callerOf is who says that an entry was relayed. The entry itself says which line
// it belongs to, and how far that was; one that can't be read is the last nudge's.
func (r *relay) callerOf(entry room.Entry) room.Caller {
	if len(entry.Admitted) == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.caller
	}
	caller := room.Caller{Epoch: entry.Admitted[0].Epoch, Process: r.process}
	for _, admitted := range entry.Admitted {
		caller.Mark = max(caller.Mark, admitted.Number)
	}
	return caller
}

// release lets go of entries that left the outbox.
func (r *relay) release(entries []room.Entry, relayed bool) {
	now := time.Now()
	acked := r.metrics.acked.WithLabelValues(string(r.name))
	for _, entry := range entries {
		if p := r.held[entry.ID]; p != nil {
			delete(r.held, entry.ID)
			r.count(-p.visitors())
		}
		if !relayed {
			continue
		}
		for _, admitted := range entry.Admitted {
			acked.Observe(max(0, now.Sub(admitted.At).Seconds()))
		}
	}
}

// failed notes a step that did not work, under its name: each is a cause of its own.
func (r *relay) failed(what string, err error) {
	r.outage.Note(r.ctx, fmt.Errorf("%s: %w", what, err))
}

// sleep waits for d; false says that ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
