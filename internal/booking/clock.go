package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/seat"
)

// The seats' clock against the database's, which all bookers share. Above
// warnSkew deadlines are visibly off; above mostSkew, the default grace, a hold
// could end for one booker while another still sells it, so this one stops.
const (
	warnSkew = 250 * time.Millisecond
	mostSkew = 2 * time.Second
	// clockEvery is how often the clocks are compared, which costs two small reads, and a
	// small write for one of the bookers: who stood still sells by a clock that is behind
	// for that long.
	clockEvery = time.Second
	// listenFor is how long a booker that starts listens for others: the one that runs
	// writes within 2 s of a clock that was set, and this one looks 1.5 s later.
	listenFor = 4 * time.Second
	// slowLook is what a look may take to say what time it is: an answer of a second before,
	// told as the time of now, would end holds a second early.
	slowLook = time.Second
	// startLooks is how often a start looks, while its looks are slow.
	startLooks = 3
)

// errSlowLook is a look that took too long to go by.
var errSlowLook = errors.New("the database takes more than a second to tell the time")

// seatsClock is the seats' clock of this process. It is the machine's at the start, which
// is checked against the database's, and runs on by a clock that nobody sets and that
// counts while the machine sleeps. It only goes forward, once it ends holds.
//
// Bookers keep together by the newest moment that one of them wrote (moment): time went on
// for somebody, so it has for all. What is seen, and what follows:
//
//	the machine's clock  the database's  others' newest moment | meaning, what happens
//	as ours              as ours         as ours or older, no  | all is well; so it is when the machine slept
//	set                  as ours         as ours or older, no  | the machine's was set: told
//	any                  set             as ours or older, no  | the database's was set, or this machine was stopped by
//	                                                           | its host and no other booker runs: told, holds go on
//	any                  back within     as ours or older, no  | they agree again, and what drifts from here on stops us
//	                     warnSkew                              |
//	any                  drifts away     as ours or older, no  | ours is wrong: nothing is held, sold or freed
//	any                  any             ahead                 | this machine was stopped: ours is put forward to it
//	at the start:
//	any                  any             apart                 | clocks were set while others run: their time is taken over,
//	                                                           | forward or back
//	any                  apart           as ours               | so it was, and the machine's clock is right
//	any                  apart           older, no             | one of them is wrong: the booker does not start
//
// Who is more than warnSkew beside the database's clock writes no moment while another one
// is fresh and not further off: where only it is wrong, it pulls nobody along, and where
// the database is, those who run still tell the time, and who stood still hears it.
//
// A look that takes more than slowLook tells nobody the time and takes none over; the clock
// goes forward to a moment that it finds, and that is all.
//
// A moment that nobody has renewed for freshFor counts as none. Alone, a booker need not
// know whether it stood still: nobody else ends its holds, and who starts beside it takes
// over its time.
type seatsClock struct {
	now    func() time.Time                             // the machine's clock, which may be set
	since  func() time.Duration                         // that only goes forward, from the start; nil: now is it
	read   func(ctx context.Context) (time.Time, error) // the database's clock
	others *moments                                     // nil: there are none
	met    *metrics
	log    *zap.Logger
	start  time.Time // now, when since was 0

	// Owned by who calls check.
	known  bool          // the clocks were compared
	last   time.Duration // skew at the last check
	least  time.Duration // it was no less than this
	most   time.Duration // and no more
	agreed bool          // it was within mostSkew
	set    bool          // the database's clock was set while bookers ran, and is not back within warnSkew

	shift     atomic.Int64 // ns by which the clock was put to that of others
	ahead     atomic.Int64 // last, in ns, for passTime
	skewed    atomic.Bool
	listening atomic.Bool // for others: no hold is ended, and nobody is told the time
	stops     *outage.Log // above mostSkew
	off       *outage.Log // above warnSkew
	moved     *outage.Log // the database's clock was set
	local     *outage.Log // the machine's clock was set
}

// newSeatsClock starts the clock. now is the machine's and may be set; nil: time.Now, with
// a clock that is not set beside it.
func newSeatsClock(now func() time.Time, read func(context.Context) (time.Time, error), log *zap.Logger, met *metrics) *seatsClock {
	c := &seatsClock{now: now, read: read, met: met, log: log,
		stops: outage.New(outage.Config{Log: log, Grave: true,
			Down: "clock differs from the database's: no seat is held, sold or freed by this process",
			Up:   "clock is near the database's: seats are held, sold and freed again"}),
		off: outage.New(outage.Config{Log: log, Down: "clock differs from the database's", Up: "clock agrees with the database's again"}),
		moved: outage.New(outage.Config{Log: log, Grave: true,
			Down: "the database's clock was set, or this machine stood still: bookers go on by the time from before, and one that starts beside them takes it over; to have it read anew, stop all of them for five seconds while nobody holds a seat",
			Up:   "the database's clock and the seats' agree again"}),
		local: outage.New(outage.Config{Log: log,
			Down: "this machine's clock was set, or stood still: the seats' clock does not follow it",
			Up:   "this machine's clock and the seats' agree again"})}
	if now == nil {
		c.now, c.since = time.Now, stopwatch()
	}
	c.start = c.now()
	return c
}

// stopwatch tells how long ago it was made, the machine's sleep included.
func stopwatch() func() time.Duration {
	start := time.Now()
	first, err := boottime()
	if err != nil {
		return func() time.Duration { return time.Since(start) }
	}
	return func() time.Duration {
		now, err := boottime()
		if err != nil { // it was told before: it is behind by what the machine slept
			return time.Since(start)
		}
		return now - first
	}
}

// at is the seats' clock, also while it can't be trusted.
func (c *seatsClock) at() time.Time {
	if c.since == nil {
		return c.now()
	}
	return c.start.Round(0).Add(c.since() + time.Duration(c.shift.Load()))
}

// time is the seats' clock, or seat.ErrSkew while it can't be trusted.
func (c *seatsClock) time() (time.Time, error) {
	if c.skewed.Load() {
		return time.Time{}, seat.ErrSkew
	}
	return c.at(), nil
}

// ending is time for who ends holds, which can't be taken back: false while it can't be
// trusted, and while others are listened for that may know better.
func (c *seatsClock) ending() (time.Time, bool) {
	now, err := c.time()
	return now, err == nil && (c.since == nil || !c.listening.Load())
}

// passTime is the clock by which passes end, whose times come from another clock, the
// line's: of the machine's, the database's and the seats' the one in the middle. One that
// was set or stood still neither refuses a good pass nor takes one that is over.
func (c *seatsClock) passTime() time.Time {
	at := c.at()
	if c.since == nil {
		return at
	}
	three := []time.Time{at, c.now().Round(0), at.Add(-time.Duration(c.ahead.Load()))}
	slices.SortFunc(three, time.Time.Compare)
	return three[1]
}

// check compares the clocks and tells others the newest moment.
func (c *seatsClock) check(ctx context.Context) error {
	newest, theirs, at, err := c.look(ctx)
	if err != nil {
		return err
	}
	return c.tell(ctx, newest, theirs, at)
}

// begin compares the clocks at the start; seat.ErrSkew when this one can't be trusted. Where
// each look is slow it starts on its own time, and listens until one is not.
func (c *seatsClock) begin(ctx context.Context) error {
	for range startLooks {
		_, _, _, err := c.look(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, errSlowLook) {
			return err
		}
	}
	_, err := c.time()
	return err
}

// look compares the clocks: the newest moment of bookers, the database's and this one.
// What the round trip leaves open counts in this process's favour. A database that is away
// changes nothing; nor does a slow look, but that this clock goes forward to a moment that
// has passed for others. errSlowLook: it was one.
func (c *seatsClock) look(ctx context.Context) (newest moment, theirs, after time.Time, err error) {
	asked := c.at()
	if newest, err = c.newest(ctx); err != nil {
		return newest, theirs, after, err
	}
	before := c.at()
	theirs, err = c.read(ctx)
	after = c.at()
	if err != nil {
		return newest, theirs, after, err
	}
	slow := c.since != nil && after.Sub(asked) > slowLook
	forward := c.follow(newest, theirs, slow)
	before, after = before.Add(forward), after.Add(forward)
	c.compareLocal(ctx)
	if !slow || !c.known { // at the start, a slow one is better than none
		// Theirs was read between before and after.
		c.compare(ctx, before.Sub(theirs), after.Sub(theirs))
	}
	if slow {
		return newest, theirs, after, errSlowLook
	}
	c.known = true
	return newest, theirs, after, nil
}

// newest reads what bookers have seen. Who finds a moment at the start listens, since
// somebody may run.
func (c *seatsClock) newest(ctx context.Context) (moment, error) {
	if c.since == nil || c.others == nil {
		return moment{}, nil
	}
	newest, err := c.others.read(ctx)
	if err == nil && !c.known && newest != (moment{}) {
		c.listening.Store(true)
	}
	return newest, err
}

// follow puts the clock to that of others and says by how much: forward to their newest
// moment, which has passed for them, and while this one listens back to it, too, unless
// theirs may be of long ago.
func (c *seatsClock) follow(newest moment, theirs time.Time, slow bool) (by time.Duration) {
	if !newest.fresh(theirs) {
		return 0
	}
	if c.listening.Load() && !slow {
		// Nobody knows yet whether this clock or theirs is as it was before it was set.
		if by = newest.at().Add(newest.age(theirs)).Sub(c.at()); by.Abs() > mostSkew {
			c.set = newest.apart().Abs() > mostSkew
			c.put(by, "the seats' clock is taken over from bookers that run")
			return by
		}
		c.set = c.set || newest.apart().Abs() > mostSkew
	}
	if by = newest.at().Sub(c.at()); by <= warnSkew {
		return 0
	}
	c.put(by, "this machine stood still, or its clock is slow: the seats' clock is put forward to that of other bookers")
	return by
}

func (c *seatsClock) put(by time.Duration, text string) {
	c.shift.Add(int64(by))
	c.log.Warn(text, zap.Duration("by", by))
}

// tell writes the newest moment for others, if this clock is one to go by. One writes for
// all, as a rule: what is half as old as a check is new enough, unless who wrote it is
// behind this clock and has to hear it.
func (c *seatsClock) tell(ctx context.Context, newest moment, theirs, at time.Time) error {
	if c.since == nil || c.others == nil {
		return nil
	}
	if c.listening.Load() {
		if c.since() < listenFor && !c.set { // set: it has heard
			return nil
		}
		c.listening.Store(false)
	}
	if c.skewed.Load() || c.quiet(newest, theirs) {
		return nil
	}
	behind := at.Sub(newest.at()) - newest.age(theirs)
	if newest.fresh(theirs) && behind <= warnSkew && (newest.age(theirs) < clockEvery/2 || !at.After(newest.at())) {
		return nil
	}
	return c.others.write(ctx, newest, moment{SeatsMS: at.UnixMilli(), ThereMS: theirs.UnixMilli()})
}

// quiet reports whether others tell the time better: near mostSkew, this clock would pull
// them there. It is not while nobody tells it, nor while who does is further off: then it
// is likely the database that is off, and the other one stood still and can't know it.
func (c *seatsClock) quiet(newest moment, theirs time.Time) bool {
	return c.last.Abs() > warnSkew && !c.set && newest.fresh(theirs) && newest.apart().Abs() <= c.last.Abs()+warnSkew
}

// compare judges how far this clock is ahead of the database's: it lies from least to most,
// and what is nearest to none counts.
func (c *seatsClock) compare(ctx context.Context, least, most time.Duration) {
	skew := max(least, min(most, 0))
	c.met.skew.Set(skew.Seconds())
	off, ahead := skew.Abs(), fmt.Errorf("%.3f s ahead", skew.Seconds())
	// Between two checks clocks drift by milliseconds. What agreed and is seconds off all at
	// once was set: the holds that are live were made by this clock, so it goes on, until
	// they agree again: near mostSkew one slow look would have it forgotten. So would one in
	// the very moment, which shows up to warnSkew less. What two looks leave open is none.
	jumped := max(least-c.most, c.least-most) > warnSkew
	switch {
	case off <= warnSkew:
		c.set = false
	case c.since != nil && c.agreed && jumped && off > mostSkew-warnSkew:
		c.set = true
	}
	c.last, c.least, c.most = skew, least, most
	c.ahead.Store(int64(skew))
	c.agreed = off <= mostSkew
	c.skewed.Store(off > mostSkew && !c.set)
	switch {
	case c.set:
		c.moved.Note(ctx, ahead)
	case off > mostSkew: // says all that off would
		c.stops.Note(ctx, ahead)
	case off > warnSkew:
		c.moved.Note(ctx, nil)
		c.stops.Note(ctx, nil)
		c.off.Note(ctx, ahead)
	default:
		c.moved.Note(ctx, nil)
		c.stops.Note(ctx, nil)
		c.off.Note(ctx, nil)
	}
}

// compareLocal says when the machine's clock was set, which changes nothing.
func (c *seatsClock) compareLocal(ctx context.Context) {
	if c.since == nil {
		return
	}
	apart := c.now().Round(0).Sub(c.at())
	if apart.Abs() > warnSkew {
		c.local.Note(ctx, fmt.Errorf("by %.3f s", apart.Seconds()))
		return
	}
	c.local.Note(ctx, nil)
}
