package line

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"waitroom/internal/room"
)

const (
	// laneLife is how long a lane's last batch can be repeated. A caller gives a
	// batch up long before.
	laneLife = time.Hour
	// closedLife is how long a closed room can still be looked at and opened.
	closedLife = 30 * 24 * time.Hour
	// netLife is how much later the keys of a closed room expire by themselves, if no
	// process ran Expire meanwhile. Redis frees what expires in the midst of its work:
	// 275 ms for a million waiting.
	netLife = 24 * time.Hour
	// tombstoneLife is how long a room is known to have been ended, and its acts can
	// be read: a day more than pages keep a place.
	tombstoneLife = 31 * 24 * time.Hour
)

// Lines are the lines of all rooms in one Redis. Safe for concurrent use.
type Lines struct {
	// Set once.
	rdb   redis.UniversalClient
	clock func() int64 // µs; nil: the clock of Redis

	mu sync.Mutex
	// When the outbox of a room was last searched for entries that nobody
	// acknowledged; a room that was never searched is missing. At most
	// room.MaxRooms, then all are forgotten and searched once more. Guarded by mu.
	searched map[room.Name]time.Time
}

// Option changes what New returns.
type Option func(*Lines)

// WithClock replaces the clock of Redis by one in µs since 1970, for tests.
func WithClock(clock func() int64) Option { return func(l *Lines) { l.clock = clock } }

// New returns the lines in rdb, which stays the caller's to close.
func New(rdb redis.UniversalClient, options ...Option) *Lines {
	l := &Lines{rdb: rdb, searched: map[room.Name]time.Time{}}
	for _, option := range options {
		option(l)
	}
	return l
}

// now is the argument of scripts that overrides the clock of Redis: 0 does not.
func (l *Lines) now() int64 {
	if l.clock == nil {
		return 0
	}
	return l.clock()
}

func micros(us int64) time.Time { return time.UnixMicro(us).UTC() }
