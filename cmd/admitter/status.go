package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/signs"
)

const (
	// lastActs is how many entries of the audit stream --acts shows.
	lastActs = 50
	// watchEvery is how often --watch shows again: as often as signs are written.
	watchEvery = room.SignEvery
)

type statusCmd struct {
	Name  string      `arg:"" optional:"" help:"Name of the room; without it, every room."`
	JSON  bool        `name:"json" help:"Print JSON, one object per line and room."`
	Acts  bool        `help:"Show who changed what, newest first."`
	Watch bool        `help:"Show again every second until Ctrl-C."`
	Redis line.Server `embed:""`
}

func (c *statusCmd) Check() error {
	if c.Name == "" {
		return nil
	}
	if _, err := room.ParseName(c.Name); err != nil {
		return fmt.Errorf("%q: %w", c.Name, err)
	}
	return nil
}

func (c *statusCmd) Run(ctx context.Context, env *process.Env) error {
	return withLine(ctx, c.Redis, func(lines *line.Lines) error {
		if !c.Watch {
			return c.show(ctx, env, lines)
		}
		return c.watch(ctx, env, lines)
	})
}

// watch shows until ctx ends. What goes wrong meanwhile is shown as well, since it
// is what somebody watches for.
func (c *statusCmd) watch(ctx context.Context, env *process.Env, lines *line.Lines) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		if !c.JSON {
			fmt.Fprintf(env.Out, "-- %s\n", time.Now().UTC().Format(time.RFC3339))
		}
		if err := c.show(ctx, env, lines); err != nil && ctx.Err() == nil {
			if !c.JSON {
				fmt.Fprintln(env.Out, coded(err))
			} else if err := json.NewEncoder(env.Out).Encode(map[string]string{"error": coded(err).Error()}); err != nil {
				return err
			}
		}
		if !c.JSON {
			fmt.Fprintln(env.Out)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// show shows the rooms, then the processes. A room that can't be read hides no
// other.
func (c *statusCmd) show(ctx context.Context, env *process.Env, lines *line.Lines) error {
	names := []room.Name{room.Name(c.Name)}
	var errs []error
	if c.Name == "" {
		var err error
		names, err = lines.Rooms(ctx)
		if err != nil && !errors.Is(err, room.ErrTooMany) {
			return err
		}
		errs = append(errs, err)
	}
	now, all, err := lines.Signs(ctx)
	if err != nil {
		return err
	}
	fleet := signs.Fleet{Now: now, Signs: all}
	shown := 0
	for _, name := range names {
		v, err := c.read(ctx, lines, name, fleet)
		if err != nil {
			errs = append(errs, named(ctx, lines, name, err))
		}
		switch {
		case v == nil: // the error says all there is
		case c.JSON:
			if err := json.NewEncoder(env.Out).Encode(v); err != nil {
				return err
			}
		default:
			v.print(env.Out, c.Name != "")
			shown++
		}
	}
	if !c.JSON && shown > 0 {
		printProcesses(env.Out, fleet)
	}
	return errors.Join(errs...)
}

// read reads one room. One that is listed and whose line is gone, and one that was
// deleted, has a view, and an error too.
func (c *statusCmd) read(ctx context.Context, lines *line.Lines, name room.Name, fleet signs.Fleet) (*statusView, error) {
	status, err := lines.Status(ctx, name)
	switch {
	case errors.Is(err, room.ErrRecovering):
		return lostView(name, fleet), err
	case errors.Is(err, room.ErrUnknown):
		return c.deleted(ctx, lines, name, fleet, err)
	case err != nil:
		return nil, err
	}
	oldest, err := lines.Oldest(ctx, name)
	if err != nil {
		return nil, err
	}
	acts, err := lines.Acts(ctx, name, room.MaxActs)
	if err != nil {
		return nil, err
	}
	// The signs were read a moment before; a sign written since is not in them.
	fleet.Now = status.Now
	v := view(status, acts, oldest, fleet)
	if v.Event, err = eventOf(ctx, lines, status); err != nil {
		return nil, err
	}
	if c.Acts {
		v.Acts = actsOf(acts)
	}
	return &v, nil
}

// deleted reads what is kept of a room that was deleted; unknown is its error, and
// that of a room that never was.
func (c *statusCmd) deleted(ctx context.Context, lines *line.Lines, name room.Name, fleet signs.Fleet, unknown error) (*statusView, error) {
	stone, has, err := lines.Tombstone(ctx, name)
	if err != nil || !has {
		return nil, errors.Join(err, unknown)
	}
	v := deletedView(name, stone, fleet)
	if c.Acts {
		acts, err := lines.Acts(ctx, name, lastActs)
		if err != nil {
			return nil, err
		}
		v.Acts = actsOf(acts)
	}
	return v, room.ErrDeleted
}

// actsOf are the last acts, the newest first.
func actsOf(acts []room.Act) (views []actView) {
	for _, act := range acts[:min(len(acts), lastActs)] {
		views = append(views, actView{act.At.UTC().Format(time.RFC3339), act.Actor, act.What})
	}
	return views
}
