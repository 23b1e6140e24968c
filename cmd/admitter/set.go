package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.uber.org/zap"

	"waitroom/internal/admission"
	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
)

var (
	errState   = errors.New("room is in another state")
	errNothing = errors.New("no value given: name at least one, see --help")
)

type setCmd struct {
	One    one              `embed:""`
	Values admission.Values `embed:""`
}

func (c *setCmd) Check() error {
	_, err := c.Values.Change("check")
	if err == nil && !c.Values.Given() {
		return errNothing
	}
	return err
}

func (c *setCmd) Run(ctx context.Context, env *process.Env) error {
	change, err := c.Values.Change(c.One.Actor.name())
	if err != nil {
		return err
	}
	return c.One.set(ctx, env, change, nil)
}

type pauseCmd struct {
	One one `embed:""`
}

// A pause is for a room that admits: pausing a closed one would let visitors
// join again, and resuming one that never opened would open it.
func (c *pauseCmd) Run(ctx context.Context, env *process.Env) error {
	return c.One.setState(ctx, env, room.Paused, room.Open, room.Paused)
}

type resumeCmd struct {
	One one `embed:""`
}

func (c *resumeCmd) Run(ctx context.Context, env *process.Env) error {
	return c.One.setState(ctx, env, room.Open, room.Paused, room.Open)
}

// setState sets the state; from, if any, are the states it may be set from.
func (o *one) setState(ctx context.Context, env *process.Env, to room.State, from ...room.State) error {
	return o.set(ctx, env, room.Change{Actor: o.Actor.name(), State: &to}, from)
}

func (o *one) set(ctx context.Context, env *process.Env, change room.Change, from []room.State) error {
	return o.with(ctx, func(lines *line.Lines) error {
		if len(from) > 0 {
			// Two operators at once may slip through between this look and
			// the change; the audit stream shows both.
			status, err := lines.Status(ctx, o.name())
			if err != nil {
				return err
			}
			if is := shownState(status); is != from[0] && is != from[1] {
				return fmt.Errorf("%w: %s, want %s", errState, is, from[0])
			}
		}
		changed, err := lines.Set(ctx, o.name(), change)
		if err != nil {
			return err
		}
		for _, f := range changed.Fields {
			fmt.Fprintf(env.Out, "%s: %s -> %s\n", f.Name, forPeople(f.Name, f.Old), forPeople(f.Name, f.New))
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

// shownState is the stored state, or open once opens_at has passed.
func shownState(status room.Status) room.State {
	conf := status.Conf
	if conf.State == room.Opening && !conf.OpensAt.IsZero() && !status.Now.Before(conf.OpensAt) {
		return room.Open
	}
	return conf.State
}

// forPeople shows a rate as the operator writes it, per second and not in
// thousandths.
func forPeople(field, value string) string {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && field == "rate" {
		return room.Rate(n).String()
	}
	if value == "" {
		return `""`
	}
	return value
}
