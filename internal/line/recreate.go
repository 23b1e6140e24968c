package line

import (
	"context"

	"waitroom/internal/room"
)

// Recreate brings back a line that Redis lost whole, as a process remembers it, and
// lists it. Of a line that is there it changes nothing, unless that was brought back
// just so by somebody who remembered less. ErrEpoch: there is another line of that
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
	by.Epoch = saved.Epoch()
	args := []any{room.MaxActs, len(saved.Conf)}
	for field, value := range saved.Conf {
		args = append(args, field, value)
	}
	for field, value := range saved.Event {
		args = append(args, field, value)
	}
	if _, err := l.actOn(ctx, recreateScript, name, keysAndStone(name), by, args...); err != nil {
		return err
	}
	return translate(l.rdb.SAdd(ctx, roomsKey(), string(name)).Err())
}
