package line

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"waitroom/internal/room"
)

// turnWindow is how many bytes of the bitmap a turn reads: 32,768 numbers, more
// than can be admitted between two of them.
const turnWindow = 4096

// Snapshot reads a line at one moment, with its bitmap from byte `from` on: the
// byte of the head of the snapshot before. Where the head is before that (only
// places that came back put it there) it reads again, the whole bitmap.
func (l *Lines) Snapshot(ctx context.Context, name room.Name, from int64) (room.Snapshot, error) {
	from = max(0, from)
	found, err := l.look(ctx, name, lookLine, from, -1)
	if err == nil && int64(found.head)>>3 < from {
		from = 0
		found, err = l.look(ctx, name, lookLine, from, -1)
	}
	if err != nil {
		return room.Snapshot{}, err
	}
	conf, err1 := parseConf(found.conf)
	stats, err2 := parseStats(found.stats)
	return room.Snapshot{Conf: conf, Now: found.now, Seq: found.seq, Head: found.head, Waiting: found.waiting,
		Admitted: stats.Admitted, Gone: found.gone, GoneFrom: from}, errors.Join(err1, err2)
}

// Turn reads the head of a line and up to 4 KB of the bitmap from there. from is
// where the caller expects the head's byte, the one of the turn before; a head
// that is not in the first half of the window costs a second round trip.
func (l *Lines) Turn(ctx context.Context, name room.Name, from int64) (room.Turn, error) {
	from = max(0, from)
	found, err := l.look(ctx, name, lookHead, from, from+turnWindow-1)
	if at := int64(found.head) >> 3; err == nil && (at < from || at > from+turnWindow/2) {
		from = at
		found, err = l.look(ctx, name, lookHead, from, from+turnWindow-1)
	}
	if err != nil {
		return room.Turn{}, err
	}
	// What is before the head is gone and need not be looked at.
	t := room.Turn{Seq: found.seq, Head: found.head, GoneFrom: int64(found.head) >> 3}
	if skip := t.GoneFrom - from; skip >= 0 && skip < int64(len(found.gone)) {
		t.Gone = found.gone[skip:]
	}
	return t, nil
}

// Status reads what an operator sees of a room, at one moment.
func (l *Lines) Status(ctx context.Context, name room.Name) (room.Status, error) {
	found, err := l.look(ctx, name, lookEverything, 0, 0)
	if err != nil {
		return room.Status{}, err
	}
	conf, err1 := parseConf(found.conf)
	stats, err2 := parseStats(found.stats)
	return room.Status{Name: name, Conf: conf, Now: found.now, Seq: found.seq, Head: found.head,
		Waiting: found.waiting, Unclaimed: found.unclaimed, Active: found.active, Outbox: found.outbox,
		Stats: stats}, errors.Join(err1, err2)
}

func parseStats(fields map[string]string) (room.Stats, error) {
	var err error
	count := func(field string) int64 {
		text, has := fields[field]
		if !has {
			return 0 // nothing of the kind happened yet
		}
		n, e := strconv.ParseInt(text, 10, 64)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("stats %s: %w", field, e))
		}
		return n
	}
	s := room.Stats{Joined: count("joined"), Admitted: count("admitted"), Claimed: count("claimed"),
		Missed: count("missed"), Left: count("left"), Finished: count("finished"),
		Lapsed: count("lapsed"), Refused: count("refused")}
	return s, err
}
