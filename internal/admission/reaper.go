package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/outage"
	"waitroom/internal/room"
)

const (
	// reapEvery is how often the signs of life are read: a dead node is noticed so
	// much later.
	reapEvery = 2 * time.Second
	// deadAfter is for how long a node must not have signed, while this process heard
	// from the line all the time: ten signs are missing then. After an outage of
	// Redis every sign is old.
	deadAfter = 10 * time.Second
	// returning is how long a dead node's lanes are left alone at most. Its visitors
	// are back on other nodes within 30 s, and as long as the turn is far nobody is
	// kept waiting by those who are not.
	returning = 60 * time.Second
	// turnNear is how much admission lies between the head and a lane whose turn is
	// called near: what is not given back before is admitted to nobody, and holds
	// slots for a claim's time.
	turnNear = 30 * time.Second
)

// lanes is what the reaper needs of the line.
type lanes interface {
	Signs(context.Context) (now time.Time, signs []room.Sign, err error)
	Lanes(context.Context, room.Name) ([]room.LaneState, error)
	// GiveBack takes the last batch of a lane out of the line, where it still waits.
	// Who was told such a place and shows it comes back to its number.
	GiveBack(ctx context.Context, name room.Name, caller room.Caller, lane room.Lane, heard bool) (given int, err error)
	Status(context.Context, room.Name) (room.Status, error)
	absence
}

// reaper takes out of the lines who is not there: visitors whom nobody sees (absent.go),
// and what nodes that died have left: of their last batches nobody may have heard, and
// then the numbers belong to nobody. Every
// admitter has one; two at once are harmless. Owned by the goroutine of run.
//
// A node that died before the
// signs of its time were forgotten (room.SignKept), with no admitter alive until
// then, is not noticed; its numbers cost a claim's time each.
type reaper struct {
	// set once
	line    lanes
	served  func() []*worker
	process string
	metrics *metrics
	log     *zap.Logger
	outage  *outage.Log

	since time.Time // of the unbroken contact to the line; zero while there is none
	dead  map[string]*dead
	looks map[room.Name]time.Time // when a room is next looked at for who is away; of those served
}

// dead is one node that died: at most room.MaxSigns, until its sign is forgotten.
type dead struct {
	since time.Time // when it last signed, on the line's clock
	found bool      // lanes is complete
	lanes []left
}

// left is a lane that is not given back yet.
type left struct {
	name  room.Name
	state room.LaneState
}

func newReaper(line lanes, served func() []*worker, process string, m *metrics, log *zap.Logger) *reaper {
	return &reaper{line: line, served: served, process: process, metrics: m, log: log, dead: map[string]*dead{}, looks: map[room.Name]time.Time{},
		outage: outage.New(outage.Config{Log: log, Hold: 2 * reapEvery, Down: "what dead nodes have left in the line can't be looked for, trying again",
			Up: "dead nodes are looked for again"})}
}

// run looks for dead nodes until ctx ends.
func (r *reaper) run(ctx context.Context) {
	ticker := time.NewTicker(reapEvery)
	defer ticker.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := r.look(call)
		cancel()
		r.outage.Note(ctx, err)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look reads the signs and deals with the dead. What it does not get done, the next
// look goes on with.
func (r *reaper) look(ctx context.Context) error {
	began := time.Now()
	now, signs, err := r.line.Signs(ctx)
	if err != nil {
		r.since = time.Time{}
		return err
	}
	if r.since.IsZero() {
		r.since = began
	}
	known := make(map[string]bool, len(signs))
	for _, sign := range signs {
		if sign.Role != room.RoleNode || sign.Stopped || now.Sub(sign.At) < deadAfter {
			continue // a node that was stopped has given back what it did not tell
		}
		known[sign.ID] = true
		if d := r.dead[sign.ID]; d == nil || d.since != sign.At {
			r.dead[sign.ID] = &dead{since: sign.At}
		}
	}
	for id := range r.dead {
		if !known[id] { // it lives after all, or is forgotten
			delete(r.dead, id)
		}
	}
	if time.Since(r.since) < deadAfter {
		return nil
	}
	var errs []error
	for id, d := range r.dead {
		errs = append(errs, r.bury(ctx, id, d, now))
	}
	errs = append(errs, r.absent(ctx, now, signs))
	return errors.Join(errs...)
}

// bury gives back the lanes of a dead node whose time has come.
func (r *reaper) bury(ctx context.Context, id string, d *dead, now time.Time) error {
	if !d.found {
		if err := r.find(ctx, id, d); err != nil {
			return err
		}
	}
	var errs []error
	d.lanes = slices.DeleteFunc(d.lanes, func(l left) bool {
		done, err := r.give(ctx, l, now.Sub(d.since) >= returning)
		if err != nil {
			errs = append(errs, fmt.Errorf("lane %s of room %s: %w", l.state.Lane.Name, l.name, err))
		}
		return done
	})
	return errors.Join(errs...)
}

// find reads the lanes of a dead node in all rooms served.
func (r *reaper) find(ctx context.Context, id string, d *dead) error {
	var found []left
	for _, w := range r.served() {
		states, err := r.line.Lanes(ctx, w.name)
		if err != nil && !errors.Is(err, room.ErrUnknown) && !errors.Is(err, room.ErrRecovering) {
			return fmt.Errorf("lanes of room %s: %w", w.name, err)
		}
		for _, state := range states {
			if strings.HasPrefix(state.Lane.Name, id+"-") && state.Granted > 0 {
				found = append(found, left{w.name, state})
			}
		}
	}
	d.lanes, d.found = found, true
	r.log.Warn("a node died", zap.String("process", id), zap.Time("since", d.since), zap.Int("lanes", len(found)))
	return nil
}

// give gives a lane back, if its turn is near, or anyway; done says that
// nothing is left to do for it.
func (r *reaper) give(ctx context.Context, l left, anyway bool) (done bool, err error) {
	status, err := r.line.Status(ctx, l.name)
	switch {
	case errors.Is(err, room.ErrUnknown), err == nil && status.Conf.Epoch != l.state.Epoch:
		return true, nil
	case err != nil:
		return false, err
	}
	last := l.state.First + room.Number(l.state.Granted) - 1
	near := room.Number(int64(status.Conf.Rate) * int64(turnNear.Seconds()) / 1000)
	switch {
	case last < status.Head:
		return true, nil // all of it has left the line
	case !anyway && l.state.First > status.Head+near:
		return false, nil
	}
	caller := room.Caller{Epoch: status.Conf.Epoch, Mark: status.Seq, Process: r.process}
	given, err := r.line.GiveBack(ctx, l.name, caller, l.state.Lane, true)
	if err != nil && (room.Retryable(err) || errors.Is(err, room.ErrRecovering) || room.Fault(err)) {
		return false, err
	}
	r.metrics.givenBack.Add(float64(given))
	if given > 0 {
		r.log.Info("the last joins of a node that died are out of the line until their visitors show up",
			zap.String("room", string(l.name)), zap.String("lane", l.state.Lane.Name), zap.Int("visitors", given))
	}
	return true, nil
}
