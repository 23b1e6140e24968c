package line

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// maxBusy bounds the marks that are kept. Whoever reads them does so some times a
// second; more rooms than that becoming busy between two reads cost a second.
const maxBusy = room.MaxRooms

// MarkBusy says that something happened in rooms in which nothing did for a while, to
// everybody who reads Busy.
func (l *Lines) MarkBusy(ctx context.Context, names ...room.Name) error {
	_, err := l.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range names {
			p.XAdd(ctx, &redis.XAddArgs{Stream: busyKey(), MaxLen: maxBusy, Values: []string{"r", string(name)}})
		}
		return nil
	})
	return translate(err)
}

// Busy returns the rooms marked since a cursor, each once, and the next cursor. Since
// "" begins now. A mark may be lost with Redis; what it told is found without it,
// later.
func (l *Lines) Busy(ctx context.Context, since string) (names []room.Name, next string, err error) {
	if since == "" {
		last, err := l.rdb.XRevRangeN(ctx, busyKey(), "+", "-", 1).Result()
		if err != nil {
			return nil, "", translate(err)
		}
		if len(last) == 0 {
			return nil, "0-0", nil
		}
		return nil, last[0].ID, nil
	}
	marks, err := l.rdb.XRange(ctx, busyKey(), "("+since, "+").Result()
	if err != nil {
		return nil, since, translate(err)
	}
	for _, mark := range marks {
		text, _ := mark.Values["r"].(string)
		if name, err := room.ParseName(text); err == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
		since = mark.ID
	}
	return names, since, nil
}

// Pulses reads the pulse of many rooms in one pipeline, a plain read each, in their
// order, each with its own error.
func (l *Lines) Pulses(ctx context.Context, names []room.Name) ([]room.Pulse, []error) {
	reads := make([]*redis.MapStringStringCmd, len(names))
	_, _ = l.rdb.Pipelined(ctx, func(p redis.Pipeliner) error { // the error of each is read below
		for i, name := range names {
			reads[i] = p.HGetAll(ctx, statsKey(name))
		}
		return nil
	})
	pulses, errs := make([]room.Pulse, len(names)), make([]error, len(names))
	for i, read := range reads {
		fields, err := read.Result()
		if err != nil {
			errs[i] = translate(err)
			continue
		}
		stats, err1 := parseStats(fields)
		more, err2 := parseCounts(fields, "rev", "fences", "restored", "given_back")
		pulses[i], errs[i] = room.Pulse{Stats: stats, Rev: more[0], Losses: more[1], Restored: more[2], GivenBack: more[3]}, errors.Join(err1, err2)
	}
	return pulses, errs
}
