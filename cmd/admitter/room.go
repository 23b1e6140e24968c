package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/line"
	"waitroom/internal/process"
	"waitroom/internal/room"
	"waitroom/internal/wire"
)

type roomCmd struct {
	Create createCmd `cmd:"" help:"Create a room and print its epoch."`
	Open   openCmd   `cmd:"" help:"Open a room: its line is admitted."`
	Reopen reopenCmd `cmd:"" help:"End sold out, after seats were added."`
	Close  closeCmd  `cmd:"" help:"Close a room: nobody joins, nobody is admitted."`
	Delete deleteCmd `cmd:"" help:"Delete a room and its line for good."`
	List   listCmd   `cmd:"" help:"Print the names of all rooms."`
}

// one is what every command for one room takes.
type one struct {
	Name  string      `arg:"" help:"Name of the room."`
	Redis line.Server `embed:""`
	Actor actorFlag   `embed:""`
}

func (o *one) Check() error {
	if _, err := room.ParseName(o.Name); err != nil {
		return fmt.Errorf("%q: %w", o.Name, err)
	}
	return nil
}

func (o *one) name() room.Name { return room.Name(o.Name) }

// with calls do with the line, and gives its error a stable code.
func (o *one) with(ctx context.Context, do func(*line.Lines) error) error {
	return withLine(ctx, o.Redis, func(lines *line.Lines) error {
		return named(ctx, lines, o.name(), do(lines))
	})
}

// named puts the room before err, and behind it who deleted the room, or what to do
// when there never was one: a name is mistyped more often than a room is missing.
func named(ctx context.Context, lines *line.Lines, name room.Name, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, room.ErrUnknown) || errors.Is(err, room.ErrDeleted) {
		if stone, has, stoneErr := lines.Tombstone(ctx, name); stoneErr == nil && has {
			return fmt.Errorf("room %s: %w by %s at %s", name, room.ErrDeleted, stone.Actor, stone.At.Format(time.RFC3339))
		}
	}
	err = fmt.Errorf("room %s: %w", name, err)
	if !errors.Is(err, room.ErrUnknown) {
		return err
	}
	names, listErr := lines.Rooms(ctx)
	if listErr != nil && !errors.Is(listErr, room.ErrTooMany) {
		return err // the one to tell
	}
	switch near := room.Nearest(string(name), names); len(near) {
	case 0:
		return fmt.Errorf("%w; admitter room list prints the %d there are", err, len(names))
	case 1:
		return fmt.Errorf("%w; did you mean %s?", err, near[0])
	default:
		return fmt.Errorf("%w; did you mean %s or %s?", err, near[0], near[1])
	}
}

func withLine(ctx context.Context, server line.Server, do func(*line.Lines) error) error {
	rdb, err := server.Open(ctx)
	if err != nil {
		return coded(err)
	}
	defer rdb.Close()
	return coded(do(line.New(rdb)))
}

// coded puts a stable code before the text, for scripts: the table's, but for what
// it can't know, this command.
func coded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNothing):
		return fmt.Errorf("nothing_to_set: %w", err)
	}
	return fmt.Errorf("%s: %w", wire.OperatorCode(err), err)
}

type createCmd struct {
	One    one    `embed:""`
	Values values `embed:""`
	State  string `help:"State to begin with: opening (visitors queue), open, paused or closed." default:"opening"`
	Epoch  string `help:"Bring back a line that Redis lost and no process remembers, with the epoch that its places are of. Visitors come back to their numbers; nobody new gets one until they are back."`
}

func (c *createCmd) Check() error {
	_, _, err := c.conf()
	return err
}

func (c *createCmd) conf() (room.Conf, room.Event, error) {
	change, err := c.Values.Change("create")
	errs := []error{err}
	conf := change.On(room.DefaultConf())
	if c.Values.Burst == nil && conf.Rate.Valid() == nil {
		conf.Burst = max(conf.Burst, conf.Rate.MinBurst())
	}
	if conf.State, err = room.ParseState(c.State); err != nil {
		errs = append(errs, fmt.Errorf("--state: %w", err))
	} else if passed(change) && conf.State != room.Open {
		errs = append(errs, fmt.Errorf("--opens-at %s has passed: a room that is open from now on wants --state open", *c.Values.OpensAt))
	}
	conf.Epoch = room.NewEpoch()
	if c.Epoch != "" {
		if conf.Epoch, err = room.ParseEpoch(c.Epoch); err != nil {
			errs = append(errs, fmt.Errorf("--epoch: %w", err))
		}
	}
	return conf, change.Event.On(room.Event{}), errors.Join(errs...)
}

// passed says whether opens_at lies in the past, by this machine's clock: it is
// there to find a slip of the finger, and the line's own clock decides the opening.
func passed(change room.Change) bool {
	return change.OpensAt != nil && !change.OpensAt.IsZero() && change.OpensAt.Before(time.Now())
}

func (c *createCmd) Run(ctx context.Context, env *process.Env) error {
	conf, event, err := c.conf()
	if err != nil {
		return err
	}
	if least := conf.Rate.MinBurst(); conf.Burst < least {
		env.Log.Warn("burst raised: a smaller one could not reach the rate", zap.Int64("burst", least))
		conf.Burst = least
	}
	return c.One.with(ctx, func(lines *line.Lines) error {
		create := lines.CreateWithEvent
		if c.Epoch != "" {
			create = lines.CreateAgain
		}
		if err := create(ctx, c.One.name(), conf, event, c.One.Actor.name()); err != nil {
			return err
		}
		fmt.Fprintln(env.Out, conf.Epoch)
		return nil
	})
}

type openCmd struct {
	Live live `embed:""`
}

func (c *openCmd) Run(ctx context.Context, env *process.Env) error {
	return c.Live.setState(ctx, env, room.Open)
}

type reopenCmd struct {
	Live     live  `embed:""`
	StockRev int64 `help:"Revision of the shop's stock with the seats that were added; what the shop said of an older one is then passed over. 0: not known." placeholder:"N"`
}

func (c *reopenCmd) change() room.Change { return room.Change{Reopen: true, StockRev: c.StockRev} }

func (c *reopenCmd) Check() error {
	change := c.change()
	change.Actor = "check"
	return change.Valid()
}

func (c *reopenCmd) Run(ctx context.Context, env *process.Env) error {
	return c.Live.set(ctx, env, c.change(), "")
}

type closeCmd struct {
	Live live `embed:""`
}

func (c *closeCmd) Run(ctx context.Context, env *process.Env) error {
	return c.Live.setState(ctx, env, room.Closed)
}

type deleteCmd struct {
	One   one  `embed:""`
	Force bool `help:"Delete although visitors wait, or admissions are not yet in Kafka: they are lost."`
}

func (c *deleteCmd) Run(ctx context.Context, env *process.Env) error {
	return c.One.with(ctx, func(lines *line.Lines) error {
		err := lines.Delete(ctx, c.One.name(), c.Force, c.One.Actor.name())
		if errors.Is(err, room.ErrBusy) {
			return fmt.Errorf("%w; --force deletes the room all the same, and they are lost", err)
		}
		if errors.Is(err, room.ErrRecovering) {
			return fmt.Errorf("%w: visitors may be on their way back to it; wait for `admitter status` to say that it is over, or --force", err)
		}
		return err
	})
}

type listCmd struct {
	Redis line.Server `embed:""`
}

func (c *listCmd) Run(ctx context.Context, env *process.Env) error {
	return withLine(ctx, c.Redis, func(lines *line.Lines) error {
		names, err := lines.Rooms(ctx)
		for _, name := range names {
			fmt.Fprintln(env.Out, name)
		}
		return err
	})
}
