package line

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"waitroom/internal/room"
)

// Delete ends a room's line for good and leaves a tombstone, and its acts for as long
// as that. Without force it refuses with ErrBusy while visitors wait, may claim, or
// the outbox is not empty, and with ErrRecovering while those whom it lost may be on
// their way back. A room that was deleted before is ErrDeleted.
//
// A call that is cut short leaves a room that is whole, or one that is gone; where it
// is whole and not listed any more, another call deletes it.
func (l *Lines) Delete(ctx context.Context, name room.Name, force bool, actor string) error {
	if err := (room.Change{Actor: actor}).Valid(); err != nil {
		return err
	}
	listed, err := l.rdb.SIsMember(ctx, roomsKey(), string(name)).Result()
	if err != nil {
		return translate(err)
	}
	ask := func(look bool) (reply, error) {
		return l.actOn(ctx, deleteScript, name, keysAndStone(name), outside, actor, room.MaxActs,
			tombstoneLife.Milliseconds(), digit(force), digit(look), digit(listed))
	}
	if _, err := ask(true); err != nil {
		return err
	}
	// Off the registry first: a room that is listed and has no line has lost it, and
	// its visitors would be told so.
	if err := l.rdb.SRem(ctx, roomsKey(), string(name)).Err(); err != nil {
		return translate(err)
	}
	answer, err := ask(false)
	if listed && (errors.Is(err, room.ErrBusy) || errors.Is(err, room.ErrRecovering)) { // somebody joined since the look, or it lost writes
		return errors.Join(err, l.list(ctx, name))
	}
	if err != nil {
		return err
	}
	did := answer.int(0) > 0
	if err := answer.bad(); err != nil {
		return err
	}
	if err := l.unlist(ctx, name); err != nil {
		return err
	}
	if err := l.note(ctx, name, 0); err != nil {
		return err
	}
	if did || listed {
		return nil
	}
	switch was, err := l.Deleted(ctx, name); {
	case err != nil:
		return err
	case was:
		return room.ErrDeleted
	}
	return room.ErrUnknown
}

// Deleted says whether a room was ended for good: by Delete, or by Expire after it was
// closed. Nothing else ends a room. One that is not listed, or whose line is gone,
// without a tombstone, is lost.
func (l *Lines) Deleted(ctx context.Context, name room.Name) (bool, error) {
	n, err := l.rdb.Exists(ctx, deletedKey(name)).Result()
	return n > 0, translate(err)
}

// Tombstone reads who ended a room, and when; false when nobody did.
func (l *Lines) Tombstone(ctx context.Context, name room.Name) (room.Tombstone, bool, error) {
	fields, err := l.rdb.HGetAll(ctx, deletedKey(name)).Result()
	if err != nil || len(fields) == 0 {
		return room.Tombstone{}, false, translate(err)
	}
	us, err := strconv.ParseInt(fields["at"], 10, 64)
	if err != nil {
		return room.Tombstone{}, false, fmt.Errorf("tombstone of room %s: %w", name, errors.Join(errReply, err))
	}
	return room.Tombstone{Epoch: room.Epoch(fields["epoch"]), At: micros(us), Actor: fields["actor"]}, true, nil
}
