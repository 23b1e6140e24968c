package line

import (
	"context"
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
	if err := l.list(ctx, name); err != nil {
		return err
	}
	end, _ := strconv.ParseInt(saved.Conf["ends_ms"], 10, 64) // of a closed room
	if end == 0 {
		return nil
	}
	return l.note(ctx, name, end)
}
