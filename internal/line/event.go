package line

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// eventArgs are an event's change as a script takes it: the bytes of the logo, how
// many fields follow, then name, value, …
func eventArgs(ch room.EventChange) []any {
	logo, fields := "", []any{}
	add := func(field string, value *string) {
		if value != nil {
			fields = append(fields, field, *value)
		}
	}
	add(fieldTitle, ch.Title)
	add(fieldVenue, ch.Venue)
	if ch.StartsAt != nil {
		text := startsAt(*ch.StartsAt)
		add(fieldStartsAt, &text)
	}
	if b := ch.Brand; b != nil {
		logo = string(b.Logo)
		sum := b.LogoSum()
		add(fieldAccent, &b.Accent)
		add(fieldLogo, &sum)
	}
	return append([]any{logo, len(fields) / 2}, fields...)
}

// wholeEventArgs are all fields of a new room's event; none when it is empty.
func wholeEventArgs(e room.Event) []any {
	if e.Title == "" && e.Venue == "" && e.StartsAt.IsZero() && e.Brand.Accent == "" && len(e.Brand.Logo) == 0 {
		return eventArgs(room.EventChange{})
	}
	return eventArgs(room.EventChange{Title: &e.Title, Venue: &e.Venue, StartsAt: &e.StartsAt, Brand: &e.Brand})
}

func startsAt(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Truncate(time.Millisecond).UTC().Format(time.RFC3339Nano)
}

// Event reads what the sale of a room is for; of a room for which nothing was set,
// the empty Event. It is one read of up to 34 KB: who needs it often reads
// Conf.EventRev, or EventRevs, and this when they changed.
func (l *Lines) Event(ctx context.Context, name room.Name) (room.Event, error) {
	fields, err := l.rdb.HGetAll(ctx, eventKey(name)).Result()
	if err != nil {
		return room.Event{}, translate(err)
	}
	if len(fields) > 0 {
		return parseEvent(fields)
	}
	// Nothing was ever set, or there is no such room.
	has, err := l.rdb.Exists(ctx, confKey(name)).Result()
	if err == nil && has == 0 {
		return room.Event{}, l.missing(ctx, name)
	}
	return room.Event{}, translate(err)
}

// parseEvent is the inverse of eventArgs. What is out of bounds was not written by
// this program, and must not reach a page.
func parseEvent(fields map[string]string) (room.Event, error) {
	e := room.Event{Title: fields[fieldTitle], Venue: fields[fieldVenue],
		Brand: room.Brand{Accent: fields[fieldAccent]}}
	if logo := fields[fieldBytes]; logo != "" {
		e.Brand.Logo = []byte(logo)
	}
	var err error
	if e.Rev, err = strconv.ParseInt(fields["rev"], 10, 64); err != nil {
		return room.Event{}, fmt.Errorf("event of the line: rev: %w", err)
	}
	if text := fields[fieldStartsAt]; text != "" {
		if e.StartsAt, err = time.Parse(time.RFC3339, text); err != nil {
			return room.Event{}, fmt.Errorf("event of the line: %w", err)
		}
	}
	if err := e.Valid(); err != nil {
		return room.Event{}, fmt.Errorf("event of the line: %w", err)
	}
	return e, nil
}

// EventRevs reads the versions of the events of many rooms, room.MaxRooms at most,
// in one pipeline of as many short reads. A room without a line is not in the
// answer. Not in a MULTI: the rooms lie in different slots of a cluster, and a full
// Redis takes none.
func (l *Lines) EventRevs(ctx context.Context, names []room.Name) (map[room.Name]room.EventRev, error) {
	if len(names) > room.MaxRooms {
		return nil, fmt.Errorf("events of %d rooms: want at most %d", len(names), room.MaxRooms)
	}
	reads := make([]*redis.SliceCmd, len(names))
	_, err := l.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			reads[i] = p.HMGet(ctx, confKey(name), "epoch", fieldCreated, fieldEventRev)
		}
		return nil
	})
	if err != nil {
		return nil, translate(err)
	}
	revs := make(map[room.Name]room.EventRev, len(names))
	for i, name := range names {
		values := reads[i].Val()
		if len(values) != 3 {
			return nil, errReply
		}
		epoch, has := values[0].(string)
		if !has {
			continue
		}
		created, err1 := counted(values[1])
		rev, err2 := counted(values[2])
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("conf of room %s: %s or %s is no number", name, fieldCreated, fieldEventRev)
		}
		revs[name] = room.EventRev{Epoch: room.Epoch(epoch), CreatedMS: created, Rev: rev}
	}
	return revs, nil
}

// counted reads a number that a line made by an older version lacks: then 0.
func counted(value any) (int64, error) {
	text, has := value.(string)
	if !has {
		return 0, nil
	}
	return strconv.ParseInt(text, 10, 64)
}
