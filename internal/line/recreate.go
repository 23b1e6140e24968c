package line

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"waitroom/internal/room"
)

// Recreate brings back a line that Redis lost whole, as a process remembers it, and
// lists it. Of a line that is there it changes nothing, unless the process knows a later
// act of an operator than the line, which has lost it then. ErrEpoch: there is another line of that
// name; ErrDeleted: it was ended for good.
//
// Who waits comes back by Rejoin. Nobody but those whom the line knew is admitted for
// some seconds.
func (l *Lines) Recreate(ctx context.Context, name room.Name, by room.Caller, saved room.Saved) error {
	if _, err := room.ParseName(string(name)); err != nil {
		return err
	}
	if _, err := parseConf(saved.Conf); err != nil {
		return err // half a conf lets people in by chance
	}
	return l.recreate(ctx, name, by, saved, "process "+by.Process)
}

// CreateAgain is Recreate by an operator, for a line that no process remembers: with the
// epoch that its places were signed for. ErrExists: the line is there.
func (l *Lines) CreateAgain(ctx context.Context, name room.Name, conf room.Conf, event room.Event, actor string) error {
	conf.Burst = max(conf.Burst, conf.Rate.MinBurst())
	if err := errors.Join(conf.Valid(), event.Valid(), room.Change{Actor: actor}.Valid()); err != nil {
		return err
	}
	there, err := l.rdb.Exists(ctx, confKey(name)).Result()
	if err != nil {
		return translate(err)
	}
	if there > 0 {
		return room.ErrExists
	}
	fields := func(args []any) map[string]string {
		m := map[string]string{}
		for i := 0; i+1 < len(args); i += 2 {
			m[fmt.Sprint(args[i])] = fmt.Sprint(args[i+1])
		}
		return m
	}
	saved := room.Saved{Conf: fields(confArgs(conf))}
	// Whoever lives and read the line knows a greater rev, and puts its conf right.
	saved.Conf["rev"] = "0"
	if told := wholeEventArgs(event); len(told) > 2 {
		saved.Event = fields(told[2:])
		saved.Event["rev"], saved.Event[fieldBytes], saved.Conf[fieldEventRev] = "1", fmt.Sprint(told[0]), "1"
	}
	return l.recreate(ctx, name, room.Caller{}, saved, actor)
}

func (l *Lines) recreate(ctx context.Context, name room.Name, by room.Caller, saved room.Saved, actor string) error {
	by.Epoch = saved.Epoch()
	args := []any{room.MaxActs, actor, len(saved.Conf), saved.Life}
	for field, value := range saved.Conf {
		args = append(args, field, value)
	}
	for field, value := range saved.Event {
		args = append(args, field, value)
	}
	if _, err := l.actOn(ctx, recreateScript, name, keysAndStone(name), by, args...); err != nil {
		return err
	}
	if err := l.list(ctx, name); err != nil {
		return err
	}
	end, _ := strconv.ParseInt(saved.Conf["ends_ms"], 10, 64) // of a closed room
	if end == 0 {
		return nil
	}
	return l.note(ctx, name, end)
}
