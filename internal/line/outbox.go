package line

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

const (
	// group and consumer read the outbox. One consumer name for all relays: what
	// a dead one had read is the next one's to take over, and deleting a consumer
	// with unacknowledged entries would lose them.
	group    = "relay"
	consumer = "relay"
	// abandoned is how long an entry stays unacknowledged before it is read again:
	// longer than a publish may take.
	abandoned = 30 * time.Second
	// searchEvery is how often such entries are looked for.
	searchEvery = 5 * time.Second
	// maxRelayed is how many entries one script acknowledges.
	maxRelayed = 1_000
)

// ReadOutbox returns up to limit admissions that Kafka may not have: first those
// that were read long ago and never acknowledged, then new ones. It does not
// wait. What it returned is not returned again for 30 s, so that several relays
// share the work.
func (l *Lines) ReadOutbox(ctx context.Context, name room.Name, limit int) ([]room.Admitted, error) {
	if limit < 1 {
		return nil, nil
	}
	entries, err := l.read(ctx, name, limit)
	if isGroupMissing(err) {
		// From 0: what was admitted before the group was made is relayed too.
		err = l.rdb.XGroupCreate(ctx, outboxKey(name), group, "0").Err()
		switch {
		case err == nil || strings.HasPrefix(err.Error(), "BUSYGROUP"):
			entries, err = l.read(ctx, name, limit)
		case strings.Contains(err.Error(), "requires the key to exist"):
			return nil, nil // nobody was admitted yet
		}
	}
	if err != nil {
		return nil, translate(err)
	}
	return entries, nil
}

func isGroupMissing(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOGROUP") }

func (l *Lines) read(ctx context.Context, name room.Name, limit int) ([]room.Admitted, error) {
	var messages []redis.XMessage
	if l.searchDue(name) {
		found, _, err := l.rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{Stream: outboxKey(name), Group: group,
			Consumer: consumer, MinIdle: abandoned, Start: "0-0", Count: int64(limit)}).Result()
		if err != nil {
			return nil, err
		}
		messages = found
		if len(found) < limit {
			l.searchDone(name)
		}
	}
	if rest := limit - len(messages); rest > 0 {
		streams, err := l.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: consumer,
			Streams: []string{outboxKey(name), ">"}, Count: int64(rest), Block: -1}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		for _, stream := range streams {
			messages = append(messages, stream.Messages...)
		}
	}
	entries := make([]room.Admitted, 0, len(messages))
	for _, message := range messages {
		entry, err := parseEntry(message)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// searchDue says whether the room's outbox is to be searched: at the first read
// and every searchEvery.
func (l *Lines) searchDue(name room.Name) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, known := l.searched[name]
	return !known || time.Since(at) >= searchEvery
}

func (l *Lines) searchDone(name room.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.searched[name]; !known && len(l.searched) >= room.MaxRooms {
		clear(l.searched)
	}
	l.searched[name] = time.Now()
}

// Oldest returns when the oldest admission in the outbox was made, on the line's
// clock; the zero time when the outbox is empty.
func (l *Lines) Oldest(ctx context.Context, name room.Name) (time.Time, error) {
	first, err := l.rdb.XRangeN(ctx, outboxKey(name), "-", "+", 1).Result()
	if err != nil || len(first) == 0 {
		return time.Time{}, translate(err)
	}
	entry, err := parseEntry(first[0])
	return entry.At, err
}

func parseEntry(message redis.XMessage) (room.Admitted, error) {
	text := func(field string) string {
		s, _ := message.Values[field].(string)
		return s
	}
	number, err1 := strconv.ParseInt(text("n"), 10, 64)
	at, err2 := strconv.ParseInt(text("at"), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return room.Admitted{}, fmt.Errorf("outbox entry %s: %w", message.ID, err)
	}
	return room.Admitted{Entry: message.ID, Visitor: room.VisitorID(text("v")), Number: room.Number(number),
		At: micros(at), Epoch: room.Epoch(text("e"))}, nil
}

// Relayed takes entries that Kafka has acknowledged out of the outbox. A repeat
// changes nothing.
func (l *Lines) Relayed(ctx context.Context, name room.Name, by room.Caller, entries []string) error {
	keys := []string{confKey(name), seqKey(name), outboxKey(name)}
	for len(entries) > 0 {
		n := min(len(entries), maxRelayed)
		args := make([]any, 0, 4+n)
		args = append(args, string(by.Epoch), int64(by.Mark), l.now(), group)
		for _, id := range entries[:n] {
			args = append(args, id)
		}
		if _, err := l.run(ctx, relayedScript, name, keys, args...); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}
