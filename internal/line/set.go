package line

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

// actID is how many characters tell an act from the one before it: 40 bits.
const actID = 8

// Set changes some fields of a live room; rounds follow from the next one on.
// A change on a rev that has passed is room.ErrChanged and names the one there is.
// A pause or a resume from a state that has none is room.ErrState and names it.
// ErrRecovering: the line lost writes in the last three seconds, and an act may have
// been among them that is on its way back. Closing ends the room in 30 days, by Expire; any other state keeps it.
func (l *Lines) Set(ctx context.Context, name room.Name, ch room.Change) (room.Changed, error) {
	// Raised before it is judged: the script raises it for the room's own rate.
	if err := ch.Valid(); err != nil {
		return room.Changed{}, err
	}
	args := []any{ch.Actor, room.MaxActs, digit(ch.FromFlags),
		room.RecentFlag.Milliseconds(), closedLife.Milliseconds(), step(ch), ch.StockRev, ch.Rev, rand.Text()[:actID]}
	args = append(append(args, eventArgs(ch.Event)...), changeArgs(ch)...)
	answer, err := l.actOn(ctx, setScript, name, presenceKeysOf(name), outside, args...)
	if err != nil {
		return room.Changed{}, err
	}
	changed := room.Changed{Rev: answer.int(0)}
	if raised := answer.int(1); raised > 0 {
		changed.BurstRaised = &raised
	}
	fields := answer.list(2)
	for i := 0; i+2 < fields.len(); i += 3 {
		changed.Fields = append(changed.Fields, readField(fields, i))
	}
	replaced := answer.list(3)
	for i := 0; i+3 < replaced.len(); i += 4 {
		changed.Replaced = append(changed.Replaced, room.Replaced{Field: readField(replaced, i),
			Age: time.Duration(replaced.int(i+3)) * time.Millisecond})
	}
	end := answer.int(4)
	if err := answer.bad(); err != nil {
		return room.Changed{}, err
	}
	// Asked for whether or not it changed, so that sending it again after a crash
	// in between puts the registry right.
	if ch.State == nil {
		return changed, nil
	}
	return changed, l.note(ctx, name, end)
}

// Rev reads the rev of a room's configuration: what an act is made on.
func (l *Lines) Rev(ctx context.Context, name room.Name) (int64, error) {
	rev, err := l.rdb.HGet(ctx, confKey(name), "rev").Int64()
	if errors.Is(err, redis.Nil) {
		return 0, l.missing(ctx, name)
	}
	return rev, translate(err)
}

// Reopen ends sold_out; see room.Change.
func (l *Lines) Reopen(ctx context.Context, name room.Name, actor string, stockRev int64) (room.Changed, error) {
	return l.Set(ctx, name, room.Change{Actor: actor, Reopen: true, StockRev: stockRev})
}

// step is how set.lua takes what depends on where the room stands.
func step(ch room.Change) string {
	switch {
	case ch.Pause:
		return "pause"
	case ch.Resume:
		return "resume"
	case ch.Reopen:
		return "reopen"
	}
	return ""
}

func readField(r reply, i int) room.Field {
	return room.Field{Name: r.text(i), Old: r.text(i + 1), New: r.text(i + 2)}
}

// Acts returns the last n entries of the audit stream, the newest first.
func (l *Lines) Acts(ctx context.Context, name room.Name, n int) ([]room.Act, error) {
	entries, err := l.rdb.XRevRangeN(ctx, actsKey(name), "+", "-", int64(max(1, min(n, room.MaxActs)))).Result()
	if err != nil {
		return nil, translate(err)
	}
	if len(entries) == 0 { // every room has its creation
		return nil, l.missing(ctx, name)
	}
	acts := make([]room.Act, 0, len(entries))
	for _, entry := range entries {
		value := func(field string) (string, bool) {
			s, ok := entry.Values[field].(string)
			return s, ok
		}
		at, _ := value("at")
		us, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("act %s: %w", entry.ID, errors.Join(errReply, err))
		}
		actor, _ := value("actor")
		verb, _ := value("act")
		what := verb
		var parts []string
		for _, field := range fieldOrder {
			old, _ := value("old:" + field)
			if new, changed := value("new:" + field); changed {
				parts = append(parts, fmt.Sprintf("%s %s → %s", field, shown(field, old), shown(field, new)))
			}
		}
		if len(parts) > 0 {
			what += " " + strings.Join(parts, ", ")
		}
		state, _ := value("new:" + fieldState)
		soldOut, _ := value("new:" + fieldSoldOut)
		acts = append(acts, room.Act{At: micros(us), Actor: actor, What: what, Created: verb == "create",
			State: room.State(state), SoldOut: soldOut == "1"})
	}
	return acts, nil
}

// shown is a field's value as people write it.
func shown(field, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case field == fieldNotice || field == fieldShopURL || field == fieldTitle || field == fieldVenue:
		return strconv.Quote(value)
	case value == "":
		return "none"
	case err != nil:
		return value
	case field == fieldRate:
		return room.Rate(n).String() + "/s"
	case field == fieldClaim || field == fieldPass || field == fieldGrace:
		return (time.Duration(n) * time.Millisecond).String()
	case field == fieldOpensAt && n == 0:
		return "never"
	case field == fieldOpensAt:
		return time.UnixMilli(n).UTC().Format(time.RFC3339)
	}
	return value
}
