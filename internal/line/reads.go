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
		Admitted: stats.Admitted, Gone: found.gone, GoneFrom: from, Life: found.life,
		Saved: room.Saved{Conf: found.conf, Life: found.life.ID}}, errors.Join(err1, err2)
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
	t := room.Turn{Seq: found.seq, Head: found.head, GoneFrom: int64(found.head) >> 3, Life: found.life.ID}
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
		Stats: stats, Life: found.life, Saved: room.Saved{Conf: found.conf, Life: found.life.ID}}, errors.Join(err1, err2)
}

func parseStats(fields map[string]string) (room.Stats, error) {
	n, err := parseCounts(fields, "joined", "admitted", "claimed", "missed", "left", "finished", "lapsed", "refused", "reaped")
	return room.Stats{Joined: n[0], Admitted: n[1], Claimed: n[2], Missed: n[3], Left: n[4], Finished: n[5],
		Lapsed: n[6], Refused: n[7], Away: n[8]}, err
}

// parseCounts reads counters; one that is missing is 0, since nothing of its kind
// happened yet.
func parseCounts(fields map[string]string, names ...string) ([]int64, error) {
	counts := make([]int64, len(names))
	var errs []error
	for i, name := range names {
		if text, has := fields[name]; has {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				errs = append(errs, fmt.Errorf("stats %s: %w", name, err))
			}
			counts[i] = n
		}
	}
	return counts, errors.Join(errs...)
}
