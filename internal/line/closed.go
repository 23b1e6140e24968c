package line

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// Expire ends the closed rooms whose time has come, as Delete does, and returns those
// it ended; they are right beside an error, which is of the others. It may be called
// by any number of processes, as often as they like, and once a minute is plenty. One
// script per room, which leaves the freeing to a thread of Redis.
func (l *Lines) Expire(ctx context.Context) (removed []room.Name, err error) {
	now := l.now() / 1000
	if now == 0 {
		now = time.Now().UnixMilli() // for the look alone: the script asks the line's clock
	}
	due, err := l.rdb.ZRangeByScoreWithScores(ctx, closingKey(), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now, 10), Count: room.MaxRooms}).Result()
	if err != nil {
		return nil, translate(err)
	}
	var errs []error
	for _, z := range due {
		member, _ := z.Member.(string)
		name := room.Name(member)
		gone, err := l.expire(ctx, name, int64(z.Score))
		if err != nil {
			errs = append(errs, fmt.Errorf("expiry of room %s: %w", name, err))
		}
		if gone {
			removed = append(removed, name)
		}
	}
	return removed, errors.Join(errs...)
}

// expire ends one room that was noted to end by now, if that is so.
func (l *Lines) expire(ctx context.Context, name room.Name, noted int64) (gone bool, err error) {
	listed, err := l.rdb.SIsMember(ctx, roomsKey(), string(name)).Result()
	if err != nil {
		return false, translate(err)
	}
	answer, err := l.actOn(ctx, expireScript, name, keysAndStone(name), outside, "expiry", room.MaxActs,
		tombstoneLife.Milliseconds(), digit(listed), noted, netLife.Milliseconds())
	if err != nil {
		return false, err
	}
	what, end := answer.text(0), answer.int(1)
	if err := answer.bad(); err != nil {
		return false, err
	}
	switch what {
	case "wait":
		return false, nil
	case "closed":
		return false, l.note(ctx, name, end)
	case "gone":
		if err := l.unlist(ctx, name); err != nil {
			return true, err
		}
		gone = true
	}
	// It may have been made anew, or closed again, since: then a later end is noted.
	_, err = l.run(ctx, closingScript, name, []string{closingKey()}, string(name), 0, noted)
	return gone, err
}

// note keeps when a closed room ends, in ms; 0 for never.
func (l *Lines) note(ctx context.Context, name room.Name, end int64) error {
	_, err := l.run(ctx, closingScript, name, []string{closingKey()}, string(name), end, 0)
	return err
}
