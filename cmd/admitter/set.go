package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
)

var errNothing = errors.New("no value given: name at least one, see --help")

// live is what every command takes that changes a room there is.
type live struct {
	One one   `embed:""`
	Rev int64 `help:"Change the room only if it is still at this rev, which status shows. 0: the rev at which the command finds it." placeholder:"N"`
}

func (l *live) Check() error {
	if l.Rev < 0 {
		return fmt.Errorf("--rev %d: want 0 or above", l.Rev)
	}
	return nil
}

type setCmd struct {
	Live   live   `embed:""`
	Values values `embed:""`
}

func (c *setCmd) Check() error {
	change, err := c.Values.Change("check")
	if err == nil && !c.Values.Given() {
		return errNothing
	}
	if passed(change) {
		err = errors.Join(err, fmt.Errorf("--opens-at %s has passed: want a time ahead, or never; admitter room open opens a room now", *c.Values.OpensAt))
	}
	return err
}

func (c *setCmd) Run(ctx context.Context, env *process.Env) error {
	change, err := c.Values.Change(c.Live.One.Actor.name())
	if err != nil {
		return err
	}
	return c.Live.set(ctx, env, change, "")
}

type pauseCmd struct {
	Live   live    `embed:""`
	Notice *string `help:"A sentence for everybody who waits, until the room is resumed; at most 280 characters." placeholder:"TEXT"`
}

func (c *pauseCmd) change() room.Change { return room.Change{Pause: true, Notice: c.Notice} }

func (c *pauseCmd) Check() error {
	change := c.change()
	change.Actor = "check"
	return change.Valid()
}

// A pause is for a room that admits or will: pausing a closed one would let
// visitors join again.
func (c *pauseCmd) Run(ctx context.Context, env *process.Env) error {
	return c.Live.set(ctx, env, c.change(), "open or opening")
}

type resumeCmd struct {
	Live live `embed:""`
}

func (c *resumeCmd) Run(ctx context.Context, env *process.Env) error {
	return c.Live.set(ctx, env, room.Change{Resume: true}, "paused")
}

func (l *live) setState(ctx context.Context, env *process.Env, to room.State) error {
	return l.set(ctx, env, room.Change{State: &to}, "")
}

// set changes the room that it finds and prints what changed. from names the states
// that the change can begin from.
func (l *live) set(ctx context.Context, env *process.Env, change room.Change, from string) error {
	change.Actor, change.Rev = l.One.Actor.name(), l.Rev
	return l.One.with(ctx, func(lines *line.Lines) error {
		changed, err := act(ctx, env, lines, l.One.name(), change)
		if errors.Is(err, room.ErrChanged) {
			return fmt.Errorf("%w; this command changed nothing", err)
		}
		if errors.Is(err, room.ErrState) {
			return fmt.Errorf("%w, want %s", err, from)
		}
		if err != nil {
			return err
		}
		if len(changed.Fields) > 0 {
			// Who serves a room that rests hears of the act by this. Where it fails the
			// act shows in the room's pulse, within a second: no error of the command.
			_ = lines.MarkBusy(ctx, l.One.name())
		}
		for _, f := range changed.Fields {
			fmt.Fprintf(env.Out, "%s: %s -> %s\n", strings.TrimSuffix(f.Name, "_ms"), forPeople(f.Name, f.Old), forPeople(f.Name, f.New))
		}
		if len(changed.Fields) == 0 {
			fmt.Fprintln(env.Out, "nothing to change")
		}
		if changed.BurstRaised != nil {
			env.Log.Warn("burst raised: a smaller one could not reach the rate", zap.Int64("burst", *changed.BurstRaised))
		}
		return nil
	})
}

// A line that lost writes takes no act for three seconds, in which its processes bring
// back those it lost: the command waits as long, and once more as long.
const (
	actAgain = 250 * time.Millisecond
	actTries = 24
)

// act changes a room, on the rev that it has now unless the operator named one.
func act(ctx context.Context, env *process.Env, lines *line.Lines, name room.Name, change room.Change) (changed room.Changed, err error) {
	asked := change.Rev
	for try := 1; ; try++ {
		if asked == 0 {
			change.Rev, err = lines.Rev(ctx, name)
		}
		if err == nil {
			changed, err = lines.Set(ctx, name, change)
		}
		if !errors.Is(err, room.ErrRecovering) || try == actTries {
			return changed, err
		}
		if try == 1 {
			env.Log.Warn("the line lost writes a moment ago: waiting until its processes have brought back what they know", zap.String("room", string(name)))
		}
		err = nil
		select {
		case <-ctx.Done():
			return changed, ctx.Err()
		case <-time.After(actAgain):
		}
	}
}

// forPeople shows a field as its flag takes it: the line keeps a rate in
// thousandths, durations and times in ms.
func forPeople(field, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case value == "":
		return `""`
	case err != nil:
		return value
	case field == "rate":
		return room.Rate(n).String()
	case strings.HasSuffix(field, "_ms"):
		return (time.Duration(n) * time.Millisecond).String()
	case field == "opens_at" && n == 0:
		return "never"
	case field == "opens_at":
		return time.UnixMilli(n).UTC().Format(time.RFC3339Nano)
	}
	return value
}
