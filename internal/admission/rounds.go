package admission

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// minRound and maxRound bound the time from one round to the next. Rounds
	// of 10 ms are 0.1 % off the rate over 10 s, and a line's burst holds two
	// of them at least; 100 ms is how soon a join, a freed slot or an
	// operator's change is noticed. A room that rests has none: it is noticed there
	// as soon by a mark, or within pulseEvery where nobody made one.
	minRound = 10 * time.Millisecond
	maxRound = 100 * time.Millisecond
	// callTimeout bounds one call to the line, which a stop does not cut short:
	// a reply thrown away would be found in the outbox 30 s later.
	callTimeout = 5 * time.Second
	// oldestEvery is how often the age of an outbox that is not empty is read.
	oldestEvery = time.Second
	// quietAfter is how long rounds find nothing to do until the room rests: ten of
	// them, so that a room that admits one at a time is not put to rest in between.
	quietAfter = time.Second
	// opensSoon is how long before opens_at rounds begin, which then come when due.
	opensSoon = 2 * maxRound
	// tellEvery is how often a line that answers is told what was remembered of it, until
	// it takes that: with a logo it is 34 KB, and a Redis whose memory is full takes none.
	tellEvery = time.Second
	// markAfter is how long nobody may have been admitted for the next one to be news
	// to the nodes, which then look at the head less often.
	markAfter = time.Second
)

// rounder is what rounds need of the line. Its errors are room's sentinels;
// a call that failed may have taken effect, and is safe to make again.
type rounder interface {
	Status(context.Context, room.Name) (room.Status, error)
	Set(context.Context, room.Name, room.Change) (room.Changed, error)
	Admit(ctx context.Context, name room.Name, caller room.Caller, limit int) (room.Round, error)
	// Oldest returns when the oldest admission in the outbox was made, on the
	// line's clock; the zero time when there is none.
	Oldest(context.Context, room.Name) (time.Time, error)
	// Recreate brings back a line that Redis lost whole, or an operator's act that it
	// lost, as this process remembers it. room.ErrDeleted: it was ended for good.
	Recreate(context.Context, room.Name, room.Caller, room.Saved) error
	pulses
}

// rounds runs one room's rounds. Owned by whoever holds the worker.
type rounds struct {
	// set once
	name    room.Name
	process string // signs this process's life
	line    rounder
	flags   room.Change                      // applied once per life of the room
	given   bool                             // whether there is any flag to apply
	nudge   func(room.Caller)                // tells the relay that there may be something in the outbox
	mark    func(context.Context, room.Name) // tells the nodes that the room moves
	log     *zap.Logger
	metrics *metrics

	// unlisted: the registry does not name the room, and no tombstone says why. Set by
	// whoever reads the registry, taken by the next round that comes about.
	unlisted atomic.Bool
	// event is what the sale is for, as this process read it last; nil while it has read
	// none. Written by the describer.
	event atomic.Pointer[lastEvent]
	// eventLost: the line tells an older one. Set by the describer, taken as unlisted is.
	eventLost atomic.Bool

	caller room.Caller // epoch "" until begin has read it
	saved  room.Saved  // the latest conf ever read of this line
	rev    int64       // of saved
	owes   bool        // the line lost something and was not told since what is remembered here
	told   time.Time   // when it was tried last
	heard  room.Number // the greatest number of that line
	losses losses
	cause  *cause
	looked time.Time // when oldest was read
	oldest time.Time // of the outbox, on the line's clock
	age    *outage.Log

	last    room.Round // that came about
	failing bool       // no call came about since
	busy    bool       // the last round that came about found something to do
	busyAt  time.Time  // when one did, or the room was begun with
	moved   time.Time  // when somebody, by whomever, was last seen admitted
	total   int64      // ever admitted, then

	// pulse is the line's before the last round; settled says that there was one, so
	// that a change since then shows as another pulse.
	pulse   room.Pulse
	settled bool
	opensAt time.Time // by this process's clock, when the room may open by itself; zero: never
}

// run makes rounds until ctx ends or the room may rest: one when the next visitor
// is due, never sooner than minRound after the one before, never later than
// maxRound, and again at once when the line has more than one call admits.
//
// A room may rest when its rounds have found nothing to do for quietAfter. Then
// its pulse is read, and one more round is made: what happens after the pulse was
// read changes the next one.
func (r *rounds) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if ctx.Err() != nil { // both at once: a stop admits nobody any more
			return
		}
		started := time.Now()
		pause := r.round(ctx)
		if r.quiet() {
			if r.settled || r.failing {
				return
			}
			if r.settle(ctx); r.failing {
				return
			}
			pause = 0
		}
		timer.Reset(max(0, pause-time.Since(started)))
	}
}

// quiet says that there is nothing to do for now. A line that is away says nothing
// about the room: who was admitting goes on trying.
func (r *rounds) quiet() bool {
	now := time.Now()
	soon := r.last.Stop == room.StopOpening && !r.opensAt.IsZero() && r.opensAt.Sub(now) < opensSoon
	return !r.busy && now.Sub(r.busyAt) >= quietAfter && (r.failing || !soon)
}

// settle reads what a change is known by.
func (r *rounds) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	r.opensAt = time.Time{}
	if r.last.Stop == room.StopOpening {
		status, err := r.line.Status(ctx, r.name)
		if err != nil {
			r.failed(ctx, err)
			return
		}
		if at := status.Conf.OpensAt; !at.IsZero() {
			r.opensAt = time.Now().Add(at.Sub(status.Now))
		}
	}
	pulses, errs := r.line.Pulses(ctx, []room.Name{r.name})
	if errs[0] != nil {
		r.failed(ctx, errs[0])
		return
	}
	r.pulse, r.settled = pulses[0], true
}

// stopped says that an operator or the shop has stopped the room.
func stopped(stop room.Stop) bool {
	switch stop {
	case room.StopPaused, room.StopOpening, room.StopClosed, room.StopSoldOut:
		return true
	}
	return false
}

// failed notes a call that did not come about.
func (r *rounds) failed(ctx context.Context, err error) {
	r.failing, r.settled = true, false
	r.cause.failed(ctx, err)
}

// round makes one round and returns the time from its start to the next one's.
func (r *rounds) round(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if r.caller.Epoch == "" {
		if err := r.begin(ctx); err != nil {
			r.failed(ctx, err)
			if errors.Is(err, room.ErrUnknown) || errors.Is(err, room.ErrRecovering) {
				r.owes = true
				r.recreate(ctx, lostWhole)
			}
			return maxRound
		}
	}
	round, err := r.line.Admit(ctx, r.name, r.caller, room.MaxRound)
	if err != nil {
		// The call may have admitted all the same: the next round that
		// succeeds sees it in the outbox.
		r.failed(ctx, err)
		lost := errors.Is(err, room.ErrUnknown) || errors.Is(err, room.ErrRecovering)
		if errors.Is(err, room.ErrEpoch) || lost {
			r.caller = room.Caller{} // deleted, and perhaps created anew: begin again
		}
		if lost {
			r.owes = true
			r.recreate(ctx, lostWhole)
		}
		return maxRound
	}
	r.remember(ctx, round)
	if r.unlisted.Swap(false) {
		r.recreate(ctx, lostName)
	}
	if r.eventLost.Swap(false) {
		r.recreate(ctx, lostEvent)
	}
	r.recovery(ctx, round)
	if r.owes && time.Since(r.told) >= tellEvery {
		_ = r.bringBack(ctx) // somebody else was first, who need not have known the event
	}
	r.look(ctx, round)
	r.count(round)
	r.cause.stopped(ctx, round)
	r.caller.Mark = max(r.caller.Mark, round.Last, round.Seq)
	r.heard = r.caller.Mark
	r.note(ctx, round)
	if round.Admitted > 0 || round.Outbox > 0 {
		r.nudge(r.caller)
	}
	switch {
	case round.Stop == room.StopMore:
		return 0
	case round.Stop == room.StopRate, round.Due > 0:
		return min(max(round.Due, minRound), maxRound)
	}
	return maxRound
}

// look reads how long the oldest admission has waited for Kafka. The relay can't:
// while Kafka is away it hangs in its publish. A look that fails is made up for by
// the next.
func (r *rounds) look(ctx context.Context, round room.Round) {
	if round.Outbox == 0 {
		r.oldest = time.Time{}
		return
	}
	if time.Since(r.looked) < oldestEvery {
		return
	}
	r.looked = time.Now()
	oldest, err := r.line.Oldest(ctx, r.name)
	r.age.Note(ctx, err)
	r.oldest = oldest // zero when nobody knows
}

// note keeps what the round found, and tells the nodes when the room begins to move.
func (r *rounds) note(ctx context.Context, round room.Round) {
	now := time.Now()
	if round.Admitted > 0 && now.Sub(r.moved) >= markAfter {
		r.mark(ctx, r.name)
	}
	if round.Admitted > 0 || round.Total != r.total {
		r.moved, r.total = now, round.Total
	}
	r.last, r.failing = round, false
	r.busy = round.Admitted > 0 || round.Stop != room.StopEmpty && !stopped(round.Stop)
	if r.busy {
		r.busyAt, r.settled = now, false
	}
}

// begin reads who the line is and applies the flags to it. It happens at the
// start, and again when the room was deleted and created anew: that is a new
// sale, whose line has never seen these flags.
func (r *rounds) begin(ctx context.Context) error {
	status, err := r.line.Status(ctx, r.name)
	if err != nil {
		return err
	}
	if r.given {
		if err := r.apply(ctx); err != nil {
			return err
		}
	}
	if r.saved.Epoch() != status.Conf.Epoch || r.rev <= status.Conf.Rev {
		if r.saved.Epoch() != status.Conf.Epoch {
			r.heard = 0
		}
		r.saved, r.rev = status.Saved, status.Conf.Rev
	}
	// A line that was brought back may know less than was heard of it.
	r.caller = room.Caller{Epoch: status.Conf.Epoch, Mark: max(r.heard, status.Seq), Process: r.process}
	r.losses.name, r.losses.log, r.losses.metrics = r.name, r.log, r.metrics
	r.losses.note(status.Life, status.Now)
	r.cause.board.begin(status, time.Now())
	return nil
}

// remember keeps the conf as it is now; a line that says an older one than this process
// has read lost an operator's act, which comes back.
func (r *rounds) remember(ctx context.Context, round room.Round) {
	switch {
	case round.Rev > r.rev:
		status, err := r.line.Status(ctx, r.name)
		if err == nil && status.Conf.Epoch == r.caller.Epoch {
			r.saved, r.rev = status.Saved, status.Conf.Rev
		}
	case round.Rev < r.rev && round.Rev > 0:
		r.recreate(ctx, lostAct)
	}
}

// lastEvent is what a sale is for, as it was read of the line of one epoch.
type lastEvent struct {
	epoch room.Epoch
	room.Event
}

// What is brought back, as the log says it.
const (
	lostWhole = "the line lost its data, and is brought back as this process remembers it"
	lostAct   = "the line lost an operator's act, which is brought back as this process remembers it"
	lostName  = "the registry lost the room, which is listed again"
	lostEvent = "the line lost what its sale is for, which is brought back as this process read it last"
)

// recreate brings back what is lost, and says so. What the line does not answer comes
// again, with the next round or the next look of whoever found the loss. A room that
// was ended for good is the registry's to tell.
func (r *rounds) recreate(ctx context.Context, lost string) {
	if r.saved.Conf == nil {
		return
	}
	err := r.bringBack(ctx)
	if err == nil {
		r.log.Warn(lost, zap.String("epoch", string(r.saved.Epoch())),
			zap.Int64("mark", int64(r.heard)), zap.String("state", r.saved.Conf["state"]), zap.Int64("rev", r.rev))
	} else if !errors.Is(err, room.ErrDeleted) && !errors.Is(err, room.ErrEpoch) {
		r.failed(ctx, err)
	}
}

// bringBack tells the line what this process remembers of it, and has it listed. Of a
// line that has all of it nothing changes.
func (r *rounds) bringBack(ctx context.Context) error {
	saved := r.saved
	if event := r.event.Load(); event != nil && event.epoch == saved.Epoch() {
		saved.Event = event.Event
	}
	r.told = time.Now()
	err := r.line.Recreate(ctx, r.name, room.Caller{Epoch: saved.Epoch(), Mark: r.heard, Process: r.process}, saved)
	if err == nil || errors.Is(err, room.ErrDeleted) || errors.Is(err, room.ErrEpoch) {
		r.owes = false
	}
	return err
}

// apply sets the flags' values. Only what may pass by itself is an error to try
// again: a value that this room refuses is logged, and the room is served as it
// is rather than not at all.
func (r *rounds) apply(ctx context.Context) error {
	changed, err := r.line.Set(ctx, r.name, r.flags)
	switch {
	case room.Retryable(err), errors.Is(err, room.ErrMemory), errors.Is(err, room.ErrRecovering), errors.Is(err, room.ErrUnknown):
		return fmt.Errorf("apply flags: %w", err)
	case err != nil:
		r.log.Error("flags do not fit this room and are not applied", zap.Error(err))
		return nil
	}
	for _, f := range changed.Fields {
		r.log.Info("flag applied", zap.String("field", f.Name), zap.String("old", f.Old), zap.String("new", f.New))
	}
	if changed.BurstRaised != nil {
		r.log.Warn("burst raised: a smaller one could not reach the rate", zap.Int64("burst", *changed.BurstRaised))
	}
	for _, f := range changed.Replaced {
		r.log.Error("flag replaced another flag's value that was set a short while ago: do two admitters run with different flags?",
			zap.String("field", f.Name), zap.String("old", f.Old), zap.String("new", f.New), zap.Duration("age", f.Age))
	}
	return nil
}

func (r *rounds) count(round room.Round) {
	name := string(r.name)
	r.metrics.admitted.WithLabelValues(name).Add(float64(round.Admitted))
	r.metrics.missed.WithLabelValues(name).Add(float64(round.Missed))
	r.metrics.lapsed.WithLabelValues(name).Add(float64(round.Lapsed))
	r.metrics.outbox.WithLabelValues(name).Set(float64(round.Outbox))
	r.metrics.slots.WithLabelValues(name).Set(float64(round.Slots))
	r.metrics.waiting.WithLabelValues(name).Set(float64(round.Waiting))
	age := 0.0
	if !r.oldest.IsZero() {
		age = max(0, round.Now.Sub(r.oldest).Seconds())
	}
	r.metrics.oldest.WithLabelValues(name).Set(age)
	r.metrics.rate.WithLabelValues(name).Set(float64(round.Rate) / 1000)
	r.metrics.maxActive.WithLabelValues(name).Set(float64(round.MaxActive))
	r.metrics.shows(r.name, round.State, round.SoldOut)
}
