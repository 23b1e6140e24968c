package line

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"waitroom/internal/room"
)

// Lanes returns the last batch of each lane that joined somebody, as far as it was not
// given back. Lanes that are silent for laneLife leave the line: nobody repeats their
// batch any more.
func (l *Lines) Lanes(ctx context.Context, name room.Name) ([]room.LaneState, error) {
	fields, err := l.rdb.HGetAll(ctx, lanesKey(name)).Result()
	if err != nil {
		return nil, translate(err)
	}
	if len(fields) == 0 {
		return nil, nil
	}
	// TIME itself has no key: any server of a cluster would answer.
	at, err := l.clockOf(l.rdb.Eval(ctx, "return redis.call('TIME')", []string{confKey(name)}))
	if err != nil {
		return nil, translate(err)
	}
	var lanes []room.LaneState
	var silent []string
	for lane, text := range fields {
		s, err := parseLane(lane, text)
		switch {
		case err != nil || at.Sub(s.At) > laneLife:
			silent = append(silent, lane)
		case s.Granted > 0:
			lanes = append(lanes, s)
		}
	}
	if len(silent) > 0 {
		if err := l.rdb.HDel(ctx, lanesKey(name), silent...).Err(); err != nil {
			return nil, translate(err)
		}
	}
	return lanes, nil
}

func parseLane(lane, text string) (room.LaneState, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 5 {
		return room.LaneState{}, errReply
	}
	var n [4]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(parts[i+1], 10, 64); err != nil {
			return room.LaneState{}, errors.Join(errReply, err)
		}
	}
	return room.LaneState{Lane: room.Lane{Name: lane, Batch: n[0]}, Epoch: room.Epoch(parts[0]),
		First: room.Number(n[1]), Granted: int(n[2]), At: time.UnixMilli(n[3]).UTC()}, nil
}

// GiveBack takes the last batch of a lane out of the line, as far as its visitors wait,
// and refuses it with ErrStaleBatch should it come after all. told says that somebody
// may have heard of a number: who shows such a place comes back to it, and who has shown
// it since on a node that lives keeps it. A lane that has
// joined another batch since is left alone.
func (l *Lines) GiveBack(ctx context.Context, name room.Name, by room.Caller, lane room.Lane, told bool) (given int, err error) {
	answer, err := l.actOn(ctx, giveBackScript, name, presenceKeysOf(name), by, lane.Name, lane.Batch, digit(told))
	if err != nil {
		return 0, err
	}
	return int(answer.int(0)), answer.bad()
}

// Report tells the line a process's mark, and nothing else: after a loss the line waits
// for the marks of those who were alive. It returns the last number.
func (l *Lines) Report(ctx context.Context, name room.Name, by room.Caller) (last room.Number, asking bool, err error) {
	answer, err := l.act(ctx, reportScript, name, by)
	if err != nil {
		return 0, false, err
	}
	return room.Number(answer.int(0)), answer.int(1) == 1, answer.bad()
}
