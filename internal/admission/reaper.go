package admission

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	// roomLimit bounds what a look does for one room: calls of some milliseconds. A room
	// whose server hangs costs the others so much of the look, callTimeout for each of
	// its parts.
	roomLimit = time.Second
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
	// Shards groups rooms by the server that holds them.
	Shards(ctx context.Context, names []room.Name) [][]room.Name
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
	outage  *outage.Log // of dead nodes
	blind   *outage.Log // of visitors whom nobody sees

	since time.Time // of the unbroken contact to the line; zero while there is none
	dead  map[string]*dead
	looks map[room.Name]time.Time // when a room is next looked at for who is away; of those served
}

// dead is one node that died: at most room.MaxSigns, until its sign is forgotten.
type dead struct {
	since time.Time          // when it last signed, on the line's clock
	told  bool               // the log says that it died
	found bool               // lanes is complete
	read  map[room.Name]bool // rooms of which they are read already
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
			Up: "dead nodes are looked for again"}),
		blind: outage.New(outage.Config{Log: log, Hold: 2 * reapEvery, Down: "visitors whom nobody sees can't be looked for in every room, trying again",
			Up: "visitors whom nobody sees are looked for in every room again"})}
}

// run looks for dead nodes until ctx ends.
func (r *reaper) run(ctx context.Context) {
	ticker := time.NewTicker(reapEvery)
	defer ticker.Stop()
	for {
		r.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look reads the signs and deals with the dead, then with the absent, each with a time
// and an outage of its own. What it does not get done, the next look goes on with.
func (r *reaper) look(ctx context.Context) {
	began := time.Now()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	now, signs, err := r.line.Signs(call)
	cancel()
	if err != nil {
		r.since = time.Time{}
		r.outage.Note(ctx, err)
		return
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
		r.outage.Note(ctx, nil)
		return
	}
	call, cancel = context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var errs []error
	for id, d := range r.dead {
		errs = append(errs, r.bury(call, id, d, now))
	}
	r.outage.Note(ctx, errors.Join(errs...))
	r.blind.Note(ctx, r.absent(ctx, now, signs))
}

// each does something for rooms, those of one server after the other. A room in trouble
// keeps no other from its turn, but those of a server that does not answer: they come
// with the next look, in another order, so that one room alone can't hold them up.
func (r *reaper) each(ctx context.Context, names []room.Name, do func(context.Context, room.Name) error) error {
	var errs []error
	for _, names := range r.line.Shards(ctx, names) {
		for _, i := range rand.Perm(len(names)) {
			if ctx.Err() != nil {
				return errors.Join(errs...) // the look's time is over, which is no trouble by itself
			}
			call, cancel := context.WithTimeout(ctx, roomLimit)
			err := do(call, names[i])
			cancel()
			if err == nil {
				continue
			}
			errs = append(errs, fmt.Errorf("room %s: %w", names[i], err))
			if room.Retryable(err) {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// bury gives back the lanes of a dead node whose time has come: those found so far.
func (r *reaper) bury(ctx context.Context, id string, d *dead, now time.Time) error {
	var errs []error
	if !d.found {
		errs = append(errs, r.find(ctx, id, d))
	}
	var names []room.Name
	for _, l := range d.lanes {
		if !slices.Contains(names, l.name) {
			names = append(names, l.name)
		}
	}
	errs = append(errs, r.each(ctx, names, func(ctx context.Context, name room.Name) error {
		var errs []error
		d.lanes = slices.DeleteFunc(d.lanes, func(l left) bool {
			if l.name != name {
				return false
			}
			done, err := r.give(ctx, l, now.Sub(d.since) >= returning)
			if err != nil {
				errs = append(errs, fmt.Errorf("lane %s: %w", l.state.Lane.Name, err))
			}
			return done
		})
		return errors.Join(errs...)
	}))
	return errors.Join(errs...)
}

// find reads the lanes of a dead node in the rooms served of which it has not read them.
func (r *reaper) find(ctx context.Context, id string, d *dead) error {
	if !d.told {
		d.told, d.read = true, map[room.Name]bool{}
		r.log.Warn("a node died", zap.String("process", id), zap.Time("since", d.since))
	}
	var names []room.Name
	for _, w := range r.served() {
		if !d.read[w.name] {
			names = append(names, w.name)
		}
	}
	missing := len(names)
	err := r.each(ctx, names, func(ctx context.Context, name room.Name) error {
		states, err := r.line.Lanes(ctx, name)
		if err != nil && !errors.Is(err, room.ErrUnknown) && !errors.Is(err, room.ErrRecovering) {
			return err
		}
		d.read[name] = true
		missing--
		for _, state := range states {
			if strings.HasPrefix(state.Lane.Name, id+"-") && state.Granted > 0 {
				d.lanes = append(d.lanes, left{name, state})
			}
		}
		return nil
	})
	if d.found = missing == 0; d.found {
		d.read = nil
	}
	return err
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
