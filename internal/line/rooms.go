package line

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"waitroom/internal/room"
)

// Rooms lists the registry in order of name, room.MaxRooms at most. If there are more,
// the first of them come with an error that is room.ErrTooMany: whoever calls says so
// and goes on with those.
func (l *Lines) Rooms(ctx context.Context) ([]room.Name, error) {
	members, err := l.rdb.SMembers(ctx, roomsKey()).Result()
	if err != nil {
		return nil, translate(err)
	}
	names := make([]room.Name, 0, len(members))
	for _, member := range members {
		// A name that no room can have was not put there by us; there is nothing
		// to do for it.
		if name, err := room.ParseName(member); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > room.MaxRooms {
		return names[:room.MaxRooms], fmt.Errorf("%w: %d, %d of them count", room.ErrTooMany, len(names), room.MaxRooms)
	}
	return names, nil
}

// Create makes a room's line with an empty event; see CreateWithEvent.
func (l *Lines) Create(ctx context.Context, name room.Name, conf room.Conf, actor string) error {
	return l.CreateWithEvent(ctx, name, conf, room.Event{}, actor)
}

// CreateWithEvent makes a room's line, then lists it. The conf needs an epoch; a
// burst below the rate's least is raised. Creating it again with the same epoch,
// after a lost reply, changes nothing and is no error.
func (l *Lines) CreateWithEvent(ctx context.Context, name room.Name, conf room.Conf, event room.Event, actor string) error {
	if _, err := room.ParseName(string(name)); err != nil {
		return err
	}
	if _, err := room.ParseEpoch(string(conf.Epoch)); err != nil {
		return err
	}
	conf.Burst = max(conf.Burst, conf.Rate.MinBurst())
	if err := errors.Join(conf.Valid(), event.Valid(), room.Change{Actor: actor}.Valid()); err != nil {
		return err
	}
	listed, err := l.rdb.SCard(ctx, roomsKey()).Result()
	if err != nil {
		return translate(err)
	}
	if listed >= room.MaxRooms {
		return fmt.Errorf("%w: %d", room.ErrTooMany, listed)
	}
	args := append([]any{l.now(), actor, room.MaxActs, closedLife.Milliseconds(), group}, wholeEventArgs(event)...)
	args = append(args, confArgs(conf)...)
	answer, err := l.run(ctx, createScript, name, keysAndStone(name), args...)
	if err != nil && !errors.Is(err, room.ErrExists) {
		return err
	}
	there, end := answer.text(0), answer.int(1)
	if bad := answer.bad(); bad != nil {
		return bad
	}
	if there == string(conf.Epoch) {
		err = nil // made now, or by a call whose answer was lost
	}
	if there == "" { // the rest of a line, of which nobody knows
		return err
	}
	// A room that exists and is not listed was left so by a crash: listed now.
	if listErr := l.list(ctx, name); listErr != nil {
		return listErr
	}
	if noteErr := l.note(ctx, name, end); noteErr != nil {
		return noteErr
	}
	return err
}

// list puts a name into the registry.
func (l *Lines) list(ctx context.Context, name room.Name) error {
	_, err := l.run(ctx, listScript, name, []string{roomsKey()}, string(name))
	return err
}

// unlist takes a name off the registry unless there is a line of that name,
// which another process may have created meanwhile.
func (l *Lines) unlist(ctx context.Context, name room.Name) error {
	if n, err := l.rdb.Exists(ctx, confKey(name)).Result(); err != nil || n > 0 {
		return translate(err)
	}
	if err := l.rdb.SRem(ctx, roomsKey(), string(name)).Err(); err != nil {
		return translate(err)
	}
	// Created between the look and the removal: listed again.
	n, err := l.rdb.Exists(ctx, confKey(name)).Result()
	if err == nil && n > 0 {
		return l.list(ctx, name)
	}
	return translate(err)
}

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
