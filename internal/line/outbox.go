package line

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	// maxRelayed is how many entries one script acknowledges: some 3 ms of Redis.
	maxRelayed = 500
)

// ReadOutbox returns up to limit entries that Kafka may not have, of room.MaxEntry
// admissions each at most: first those that were read long ago and never acknowledged,
// then new ones. It does not wait. What it returned is not returned again for 30 s after it,
// or after the last Keep, so that several relays share the work. An entry that can't be
// read comes with its error.
func (l *Lines) ReadOutbox(ctx context.Context, name room.Name, limit int) ([]room.Entry, error) {
	if limit < 1 {
		return nil, nil
	}
	entries, err := l.read(ctx, name, limit)
	if !isGroupMissing(err) {
		return entries, translate(err)
	}
	switch err := l.makeGroup(ctx, name); {
	case errors.Is(err, room.ErrUnknown):
		return nil, nil // no line, no outbox
	case err != nil:
		return nil, err
	}
	entries, err = l.read(ctx, name, limit)
	return entries, translate(err)
}

// makeGroup makes the group that reads the outbox, from its beginning: what was
// admitted before is relayed too. It is made with the line; a line that lost it needs
// it on a full Redis as well, which refuses XGROUP CREATE by itself.
func (l *Lines) makeGroup(ctx context.Context, name room.Name) error {
	_, err := l.run(ctx, groupScript, name, keysOf(name), group)
	return err
}

func isGroupMissing(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOGROUP") }

func (l *Lines) read(ctx context.Context, name room.Name, limit int) ([]room.Entry, error) {
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
	entries := make([]room.Entry, len(messages))
	for i, message := range messages {
		entries[i] = parseEntry(message)
	}
	return entries, nil
}

// Keep says that entries read and not acknowledged are still in somebody's hands: they
// are handed to nobody else for another 30 s.
func (l *Lines) Keep(ctx context.Context, name room.Name, ids []string) error {
	for part := range slices.Chunk(ids, maxRelayed) {
		err := l.rdb.XClaimJustID(ctx, &redis.XClaimArgs{Stream: outboxKey(name), Group: group, Consumer: consumer, Messages: part}).Err()
		if err != nil && !isGroupMissing(err) {
			return translate(err)
		}
	}
	return nil
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
	ms, _, _ := strings.Cut(first[0].ID, "-")
	if at, ok := first[0].Values["at"].(string); ok {
		if us, err := strconv.ParseInt(at, 10, 64); err == nil {
			return micros(us), nil
		}
	}
	n, err := strconv.ParseInt(ms, 10, 64) // of an entry that can't be read
	return micros(n * 1000), err
}

// parseEntry reads an entry: epoch, time and visitors with their numbers.
func parseEntry(message redis.XMessage) room.Entry {
	text := func(field string) string {
		s, _ := message.Values[field].(string)
		return s
	}
	entry := room.Entry{ID: message.ID}
	at, err := strconv.ParseInt(text("at"), 10, 64)
	parts := strings.Fields(text("p"))
	if len(parts) == 0 || len(parts)%2 != 0 {
		err = errors.Join(err, fmt.Errorf("%d words in p", len(parts)))
	}
	for i := 0; err == nil && i < len(parts); i += 2 {
		var number int64
		number, err = strconv.ParseInt(parts[i+1], 10, 64)
		entry.Admitted = append(entry.Admitted, room.Admitted{Visitor: room.VisitorID(parts[i]), Number: room.Number(number),
			At: micros(at), Epoch: room.Epoch(text("e"))})
	}
	entry.Count = len(entry.Admitted)
	if err != nil {
		entry.Admitted, entry.Raw = nil, fmt.Sprint(message.Values)
		entry.Count, _ = strconv.Atoi(text("c")) // as the line counted it, if that is left
		entry.Err = fmt.Errorf("outbox entry %s: %w", message.ID, err)
	}
	return entry
}

// Relayed takes entries that Kafka has acknowledged out of the outbox. A repeat
// changes nothing.
func (l *Lines) Relayed(ctx context.Context, name room.Name, by room.Caller, entries []room.Entry) error {
	for part := range slices.Chunk(entries, maxRelayed) {
		args := make([]any, 0, 1+2*len(part))
		args = append(args, group)
		for _, entry := range part {
			args = append(args, entry.ID, max(0, entry.Count))
		}
		if _, err := l.act(ctx, relayedScript, name, by, args...); err != nil {
			return err
		}
	}
	return nil
}
