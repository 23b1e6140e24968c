package line

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// maxReaped is how many numbers one act looks at: some 2 ms of Redis.
const maxReaped = 500

// Present says who a node sees: bits, a window of the bitmap of its visitors' numbers
// (bit n is 0x80>>(n&7) of byte n>>3) that begins at byte from. A node says it twice in
// each span, an eighth of the room's grace. It tells the caller's mark as well, and so
// it is what Report is. A node with nobody here says so, with no bits, for as long as it
// knows the room: a span without a word tells nobody's absence.
func (l *Lines) Present(ctx context.Context, name room.Name, by room.Caller, from int64, bits []byte) (last room.Number, asking bool, err error) {
	answer, err := l.actOn(ctx, presentScript, name, presenceKeysOf(name), by, from, bits)
	if err != nil {
		return 0, false, err
	}
	return room.Number(answer.int(0)), answer.int(1) == 1, answer.bad()
}

// Away returns the numbers that wait and that nobody saw for the room's grace, limit at
// most, the least first. ErrUnsure: some span of it has no word from anybody (all nodes
// or Redis were away, or a clock jumped), so nobody can say who is away.
func (l *Lines) Away(ctx context.Context, name room.Name, limit int) ([]room.Number, error) {
	var seq, gone *redis.StringCmd
	var first *redis.ZSliceCmd
	var grace *redis.SliceCmd
	var spans *redis.MapStringStringCmd
	var seen [rings]*redis.StringCmd
	var clock *redis.Cmd
	// Plain reads in a MULTI. A full Redis takes none: then nobody is reaped.
	_, err := l.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		clock = p.Eval(ctx, "return redis.call('TIME')", []string{confKey(name)})
		seq, gone = p.GetRange(ctx, seqKey(name), 0, -1), p.GetRange(ctx, goneKey(name), 0, -1)
		first = p.ZRangeWithScores(ctx, queueKey(name), 0, 0)
		grace = p.HMGet(ctx, confKey(name), fieldGrace)
		spans = p.HGetAll(ctx, spansKey(name))
		for i := range seen {
			seen[i] = p.GetRange(ctx, seenKey(name, i), 0, -1)
		}
		return nil
	})
	if err != nil {
		return nil, translate(err)
	}
	last, err1 := strconv.ParseInt("0"+seq.Val(), 10, 64)
	now, err2 := l.clockOf(clock)
	ms, err3 := graceOf(grace.Val())
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, errors.Join(errReply, err)
	}
	if len(first.Val()) == 0 {
		return nil, nil // nobody waits
	}
	var windows [][]byte
	s := now.UnixMilli() / max(1, ms/(rings-1))
	for i := s - rings + 1; i <= s; i++ {
		tagged := spans.Val()[strconv.FormatInt(i%rings, 10)] == strconv.FormatInt(i, 10)
		if i < s && !tagged {
			return nil, room.ErrUnsure
		}
		if tagged {
			windows = append(windows, []byte(seen[i%rings].Val()))
		}
	}
	var away []room.Number
	bitmap := []byte(gone.Val())
	from := int64(first.Val()[0].Score)
	for at := from >> 3; at <= last>>3 && len(away) < limit; at++ {
		var there byte
		if at < int64(len(bitmap)) {
			there = bitmap[at] // who left is nobody's to look for
		}
		for _, w := range windows {
			if at < int64(len(w)) {
				there |= w[at]
			}
		}
		if there == 0xff {
			continue
		}
		for n := max(at<<3, from); n <= min(at<<3+7, last) && len(away) < limit; n++ {
			if there&(0x80>>(n&7)) == 0 {
				away = append(away, room.Number(n))
			}
		}
	}
	return away, nil
}

// Reap takes visitors out of the line whom nobody saw for the room's grace, as far as
// that is still so. Their places are room.Away from then on. ErrUnsure as Away has it.
func (l *Lines) Reap(ctx context.Context, name room.Name, by room.Caller, numbers []room.Number) (reaped int, err error) {
	for part := range slices.Chunk(numbers, maxReaped) {
		args := make([]any, len(part))
		for i, n := range part {
			args[i] = int64(n)
		}
		answer, err := l.actOn(ctx, reapScript, name, presenceKeysOf(name), by, args...)
		if err != nil {
			return reaped, err
		}
		reaped += int(answer.int(0))
		if err := answer.bad(); err != nil {
			return reaped, err
		}
	}
	return reaped, nil
}

// clockOf reads the answer of TIME.
func (l *Lines) clockOf(clock *redis.Cmd) (time.Time, error) {
	parts, err := clock.StringSlice()
	if err != nil || len(parts) != 2 {
		return time.Time{}, errors.Join(errReply, err)
	}
	s, err1 := strconv.ParseInt(parts[0], 10, 64)
	us, err2 := strconv.ParseInt(parts[1], 10, 64)
	return l.moment(s, us), errors.Join(err1, err2)
}

func graceOf(values []any) (int64, error) {
	if len(values) != 1 {
		return 0, fmt.Errorf("%w: %d values for the grace", errReply, len(values))
	}
	text, has := values[0].(string)
	if !has {
		return room.DefaultGrace.Milliseconds(), nil
	}
	return strconv.ParseInt(text, 10, 64)
}
