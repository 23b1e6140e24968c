package line

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

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
// epoch that its places were signed for. A line that is there and merely not listed is
// listed again, as it is. ErrExists: it is listed, or another one has the name.
func (l *Lines) CreateAgain(ctx context.Context, name room.Name, conf room.Conf, event room.Event, actor string) error {
	conf.Burst = max(conf.Burst, conf.Rate.MinBurst())
	if err := errors.Join(conf.Valid(), event.Valid(), room.Change{Actor: actor}.Valid()); err != nil {
		return err
	}
	there, err := l.rdb.HGet(ctx, confKey(name), "epoch").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return translate(err)
	}
	if err == nil {
		listed, err := l.rdb.SIsMember(ctx, roomsKey(), string(name)).Result()
		if err != nil {
			return translate(err)
		}
		if listed || there != string(conf.Epoch) {
			return room.ErrExists
		}
		return l.list(ctx, name)
	}
	fields := func(args []any) map[string]string {
		m := map[string]string{}
		for i := 0; i+1 < len(args); i += 2 {
			m[fmt.Sprint(args[i])] = fmt.Sprint(args[i+1])
		}
		return m
	}
	saved := room.Saved{Conf: fields(confArgs(conf))}
	// Whoever lives and read the line knows when it was made, and puts its conf right.
	saved.Conf["rev"] = "1"
	if len(wholeEventArgs(event)) > 2 {
		saved.Event, saved.Event.Rev, saved.Conf[fieldEventRev] = event, 1, "1"
	}
	return l.recreate(ctx, name, room.Caller{}, saved, actor)
}

func (l *Lines) recreate(ctx context.Context, name room.Name, by room.Caller, saved room.Saved, actor string) error {
	by.Epoch = saved.Epoch()
	event := wholeEventArgs(saved.Event)
	args := []any{room.MaxActs, actor, len(saved.Conf), saved.Life, saved.Event.Rev, event[0]}
	for field, value := range saved.Conf {
		args = append(args, field, value)
	}
	args = append(args, event[2:]...)
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
