package admission

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"waitroom/internal/events"
	"waitroom/internal/room"
)

const (
	// stockKept is how long after it was made a fact about the stock waits for a room
	// that Redis lost. Where no process remembers the room a person creates it again,
	// and within an hour somebody was called, has read docs/recovery.md and has done it.
	// Of one sale the newest alone waits, so those that do crowd nobody out.
	stockKept = time.Hour
	// finishedKept is the same of a slot that is to come back. Processes that remember
	// the room bring it back within seconds. Later there is little to free: the line
	// that comes back has lost who was inside. And 2,000 that wait hold up their
	// partition for all rooms.
	finishedKept = time.Minute
)

// unknown judges the facts of rooms that Redis does not know, within one call of Facts.
type unknown struct {
	service *Service
	looks   map[room.Name]tombstone // one for each room named
}

// tombstone is what a look for one found.
type tombstone struct {
	stands bool
	err    error
}

// made is when the shop made a fact, by its clock.
func made(ms int64) time.Time { return time.UnixMilli(ms) }

// judge gives the facts of one room, all of a kind, their verdicts: done where a
// tombstone says that the room was ended, later where none does, until a fact is older
// than kept. Its error says that Redis is out of reach.
func (u *unknown) judge(ctx context.Context, name room.Name, kind string, kept time.Duration, made []time.Time, verdicts []*events.Verdict) error {
	s := u.service
	found, looked := u.looks[name]
	if !looked {
		found.stands, found.err = s.line.Deleted(ctx, name)
		u.looks[name] = found
	}
	if found.err != nil {
		err := fmt.Errorf("redis: tombstone of room %s: %w", name, found.err)
		for _, verdict := range verdicts {
			*verdict = events.Verdict{Fate: events.Later, Err: err}
		}
		return err
	}
	if found.stands {
		s.count(name, "ignored", len(verdicts))
		return nil
	}
	waits := fmt.Errorf("%s in room %s, which redis does not know and nobody has deleted: %w", kind, name, room.ErrRecovering)
	vain := 0
	for i, verdict := range verdicts {
		// A shop's clock that is far ahead must not hold a fact for as long.
		if time.Since(made[i]).Abs() < kept {
			*verdict = events.Verdict{Fate: events.Later, Err: waits}
		} else {
			vain++
		}
	}
	s.count(name, "recovering", len(verdicts)-vain)
	if vain > 0 {
		s.count(name, "lost", vain)
		s.log.Error("booking facts of a room that redis lost have waited in vain and are passed over",
			zap.String("room", string(name)), zap.String("fact", kind), zap.Int("facts", vain), zap.Duration("waited", kept))
	}
	return nil
}
